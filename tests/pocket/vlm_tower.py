"""The first stage of training: the vision tower alone, under linear heads.

Every patch must tell all that the text model may ask of it: what the single shape is (colour, kind,
place), or what stands in the row of the table that the patch lies in (colour, kind, digit), and
which row that is. So the text model has to choose a place in a picture, and need not gather
anything there. Without this stage kinds of shape are not learned from answers in any reasonable
time. Knows nothing of words.
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
#: Which row of a table each of the 64 patches shows most of
BAND_OF_PATCH = tuple(band for band in (0, 0, 0, 1, 1, 2, 2, 2) for _ in range(8))


class Heads(nn.Module):
    """Linear heads over each of a tower's features (n, 64, 128)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scene = nn.ModuleList(
            nn.Linear(width, n) for n in (len(_COLOURS), len(KINDS), len(_PLACES))
        )
        self.row = nn.ModuleList(
            nn.Linear(width, n) for n in (len(_COLOURS), len(KINDS), len(DIGITS), ROWS)
        )

    def forward(self, features: Tensor, tables: bool) -> list[Tensor]:
        """Return logits (n, 64, classes): three for scenes, four for tables."""
        return [head(features) for head in (self.row if tables else self.scene)]


def labels(what: Drawn) -> list[list[int]]:
    """Return the classes (64 patches) in the order of the logits of :class:`Heads`."""
    if isinstance(what, Scene):
        one = (
            _COLOURS.index(str(what.colour)),
            KINDS.index(str(what.kind)),
            _PLACES.index(str(what.place)),
        )
        return [[n] * len(BAND_OF_PATCH) for n in one]
    rows = [what.rows[band] for band in BAND_OF_PATCH]
    return [
        [_COLOURS.index(row.colour) for row in rows],
        [KINDS.index(row.kind) for row in rows],
        [DIGITS.index(row.digit) for row in rows],
        list(BAND_OF_PATCH),
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
            target = wanted[table][rows[table]]  # (48, heads, 64)
            for column, logits in enumerate(heads(part, bool(table))):
                told = logits.flatten(0, 1)
                loss = loss + nn.functional.cross_entropy(told, target[:, column].flatten())
                right.append((logits.argmax(2) == target[:, column]).float().mean().item())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rates.step()
        shown.append(right)
        if step % 100 == 0:
            mean = torch.tensor(shown).mean(0)
            print(
                f"tower {step:5d} loss {loss.item():.3f}"
                f" scenes: colour {mean[0]:.3f} kind {mean[1]:.3f} place {mean[2]:.3f}"
                f" tables: colour {mean[3]:.3f} kind {mean[4]:.3f} digit {mean[5]:.3f}"
                f" row {mean[6]:.3f} {time.monotonic() - began:.0f} s",
                flush=True,
            )
            shown.clear()
            torch.save(model.model.vision_tower.state_dict(), kept)
