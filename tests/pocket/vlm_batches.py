"""Dialogues as batches for training the pocket vision-language model, pictures from a pool.

Pictures are drawn and seen by the frozen tower once, at the beginning. Knows nothing of losses.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vlm_data import dialogue
from vlm_draw import some_scene, some_table
from vlm_model import PICTURE_TOKENS, pixels, see
from vlm_questions import Shot
from vlm_tokens import IGNORED, Encoded, Encoder

BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """Dialogues of about one length, padded at the right.

    ``tokens`` and ``labels`` are (n, t) int64, ``rows`` (pictures,) int64 of the pool, in the order
    in which the pictures stand in ``tokens``. ``named`` (4, n, t) int64 is, at each token, the good
    and the source that were named last, that good's price, and the picture that it is of.
    """

    tokens: Tensor
    labels: Tensor
    rows: Tensor
    named: Tensor


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of the second stage: which dialogues, for how many batches.

    ``weights`` says how often each kind is asked first in a dialogue, ``bot`` how many dialogues
    are Bifocal's own; ``longest`` is in tokens.
    """

    batches: int
    weights: Mapping[str, float]
    bot: float
    turns: int
    longest: int


class Pool:
    """Training pictures and what the frozen tower sees in them: (n, 64, 128) float16."""

    def __init__(self, model: Any, scenes: int, tables: int, seed: int) -> None:
        rng = random.Random(seed)
        shots = [Shot(some_scene(rng, training=True), n) for n in range(scenes)]
        shots += [Shot(some_table(rng), scenes + n) for n in range(tables)]
        self.shots, self._scenes = shots, scenes
        self.features = features_of(model, shots)

    def pick(self, rng: random.Random, table: bool) -> Shot:
        """Return any picture of the pool; its seed is its row."""
        first, last = (self._scenes, len(self.shots)) if table else (0, self._scenes)
        return self.shots[rng.randrange(first, last)]


def features_of(model: Any, shots: Sequence[Shot]) -> Tensor:
    """Return what the tower sees in the pictures: (n, 64, 128) float16."""
    width = model.config.vision_config.hidden_size
    found = torch.empty(len(shots), PICTURE_TOKENS, width, dtype=torch.float16)
    with torch.no_grad():
        for at in range(0, len(shots), 256):
            part = shots[at : at + 256]
            found[at : at + len(part)] = see(model, pixels([s.paint() for s in part])).half()
    return found


def collate(encoded: Sequence[Encoded], pad: int) -> Batch:
    """Return the dialogues as a batch; the rows are the pictures' seeds."""
    longest = max(len(e.tokens) for e in encoded)
    longest += -longest % 32
    tokens = torch.full((len(encoded), longest), pad)
    labels = torch.full((len(encoded), longest), IGNORED)
    named = torch.full((4, len(encoded), longest), IGNORED)
    for n, e in enumerate(encoded):
        tokens[n, : len(e.tokens)] = torch.tensor(e.tokens)
        labels[n, : len(e.labels)] = torch.tensor(e.labels)
        named[:, n, : len(e.tokens)] = torch.tensor([e.goods, e.sources, e.prices, e.pictures])
    rows = torch.tensor([s.seed for e in encoded for s in e.shots]).long()
    return Batch(tokens, labels, rows, named)


def batches(encoder: Encoder, pool: Pool, rng: random.Random, phase: Phase) -> Iterator[Batch]:
    """Yield the batches of a phase, of about ``BATCH_TOKENS`` each."""
    left = phase.batches
    while left > 0:
        part = _group(encoder, pool, rng, phase)[:left]
        left -= len(part)
        yield from (collate(encoded, encoder.end) for encoded in part)


def _group(encoder: Encoder, pool: Pool, rng: random.Random, phase: Phase) -> list[list[Encoded]]:
    """Return about a dozen batches, each of dialogues of about one length."""
    kinds, weights = list(phase.weights), list(phase.weights.values())
    group: list[Encoded] = []
    while sum(len(e.tokens) for e in group) < 12 * BATCH_TOKENS:
        kind = rng.choices(kinds, weights)[0]
        made = encoder.encode(dialogue(rng, kind, pool.pick, most_turns=phase.turns, bot=phase.bot))
        if len(made.tokens) <= phase.longest:
            group.append(made)
    group.sort(key=lambda e: len(e.tokens))
    cut: list[list[Encoded]] = [[]]
    for e in group:
        if cut[-1] and (len(cut[-1]) + 1) * len(e.tokens) > BATCH_TOKENS:
            cut.append([])
        cut[-1].append(e)
    rng.shuffle(cut)
    return cut
