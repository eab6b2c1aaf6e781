"""The first stage of training: the vision tower alone, under linear heads.

A single shape is read from the mean of all patches (colour, kind, place), each row of a table from
the patches of its two cells (colour and kind; digit). Without this stage kinds of shape are not
learned from answers in any reasonable time. Knows nothing of words.
"""

import random
import time
from pathlib import Path
from typing import Any

import torch
from clip_shapes import COLOURS, KINDS, PLACES, Scene
from torch import Tensor, nn
from vlm_draw import DIGITS, ROWS, Drawn, paint, some_scene, some_table
from vlm_model import pixels, see

_COLOURS, _PLACES = list(COLOURS), list(PLACES)
_BANDS = (slice(0, 3), slice(3, 5), slice(5, 8))  # rows of patches that a row of a table covers


class Heads(nn.Module):
    """Linear heads over a tower's features (n, 64, 128)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scene = nn.ModuleList(
            nn.Linear(width, n) for n in (len(_COLOURS), len(KINDS), len(_PLACES))
        )
        self.cell = nn.ModuleList(nn.Linear(width, n) for n in (len(_COLOURS), len(KINDS)))
        self.digit = nn.Linear(width, len(DIGITS))

    def forward(self, features: Tensor, tables: bool) -> list[Tensor]:
        """Return logits: three of (n, classes) for scenes, nine for tables."""
        if not tables:
            pooled = features.mean(1)
            return [head(pooled) for head in self.scene]
        grid = features.view(len(features), 8, 8, -1)
        logits: list[Tensor] = []
        for band in _BANDS:
            left, right = grid[:, band, :4].mean((1, 2)), grid[:, band, 4:].mean((1, 2))
            logits += [*(head(left) for head in self.cell), self.digit(right)]
        return logits


def labels(what: Drawn) -> list[int]:
    """Return the classes in the order of the logits of :class:`Heads`."""
    if isinstance(what, Scene):
        return [
            _COLOURS.index(str(what.colour)),
            KINDS.index(str(what.kind)),
            _PLACES.index(str(what.place)),
        ]
    return [
        n
        for row in what.rows
        for n in (_COLOURS.index(row.colour), KINDS.index(row.kind), DIGITS.index(row.digit))
    ]


def make_pool(count: int, seed: int) -> tuple[list[Drawn], Tensor]:
    """Return what is drawn and pixels (count, 3, 64, 64) float16; the second half are tables."""
    rng = random.Random(seed)
    drawn: list[Drawn] = [some_scene(rng, training=True) for _ in range(count // 2)]
    drawn += [some_table(rng) for _ in range(count - count // 2)]
    held = torch.empty(count, 3, 64, 64, dtype=torch.float16)
    for at in range(0, count, 256):
        batch = drawn[at : at + 256]
        held[at : at + len(batch)] = pixels([paint(what, rng) for what in batch])
    return drawn, held


def train_tower(model: Any, steps: int, pool: int, kept: Path, *, most: float, seed: int) -> None:
    """Train the tower of ``model`` in batches of 48 scenes and 48 tables; save it to ``kept``.

    ``pool`` pictures are drawn from ``seed``; ``most`` is the highest rate. Run it twice, with
    pictures of another seed: it learns those of one by heart in about 2,000 steps.
    """
    drawn, held = make_pool(pool, seed)
    half = pool // 2
    wanted = [torch.tensor([labels(d) for d in part]) for part in (drawn[:half], drawn[half:])]
    heads = Heads(128)
    parameters = [*model.model.vision_tower.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, most, steps, pct_start=0.08)
    began = time.monotonic()
    shown: list[list[float]] = []
    for step in range(1, steps + 1):
        rows = [torch.randint(half, (48,)), torch.randint(half, (48,))]
        features = see(model, torch.cat([held[rows[0]], held[rows[1] + half]]).float())
        loss = torch.zeros(())
        right: list[float] = []
        for table, part in enumerate(features.chunk(2)):
            target = wanted[table][rows[table]]
            for column, logits in enumerate(heads(part, bool(table))):
                loss = loss + nn.functional.cross_entropy(logits, target[:, column]) / (
                    3 if table else 1
                )
                right.append((logits.argmax(1) == target[:, column]).float().mean().item())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rates.step()
        shown.append(right)
        if step % 100 == 0:
            mean = torch.tensor(shown).mean(0)
            cells = mean[3:].view(ROWS, 3).mean(0)
            print(
                f"tower {step:5d} loss {loss.item():.3f}"
                f" scenes: colour {mean[0]:.3f} kind {mean[1]:.3f} place {mean[2]:.3f}"
                f" tables: colour {cells[0]:.3f} kind {cells[1]:.3f} digit {cells[2]:.3f}"
                f" {time.monotonic() - began:.0f} s",
                flush=True,
            )
            shown.clear()
            torch.save(model.model.vision_tower.state_dict(), kept)
