"""Train the pocket vision-language model: about 2.5 million weights, on drawn pictures.

Run ``python tests/pocket/train_vlm.py`` (two cores; see ``vlm/README.md`` for how long it took); it
writes the GGUF files of ``vlm/`` beside this file. Two stages: the vision tower alone under linear
heads (``vlm_tower``), then, the tower frozen, projector and text model together on the answers of
dialogues (``vlm_data``). The second stage begins without pictures, with telling what was named
last; then one head that looks it up is written down (``vlm_lookup``), and training goes on.
"""

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vlm_data import Dialogue, dialogue, items
from vlm_draw import some_scene, some_table
from vlm_export import export
from vlm_lookup import write_lookup
from vlm_model import make_model, pixels, see
from vlm_questions import GOODS, Shot
from vlm_tokens import IGNORED, Encoded, Encoder, make_tokenizer
from vlm_tower import train_tower

FOLDER = Path(__file__).parent / "vlm"
#: How often each kind is asked first in a dialogue
WEIGHTS: Mapping[str, float] = {
    "colour": 0.7,
    "shape": 1.0,
    "place": 0.7,
    "description": 1.0,
    "two pictures": 3.0,
    "table": 2.5,
    "source": 1.5,
    "picture and source": 4.0,
    "not in the sources": 1.5,
    "follow-up": 2.5,
    "quotation": 0.3,
    "drill": 0.1,
}
BLIND: Mapping[str, float] = {
    "source": 2.5,
    "not in the sources": 1.5,
    "follow-up": 2.0,
    "quotation": 2.0,
    "drill": 2.0,
}
BATCH_TOKENS = 4096
ANSWER_TOKENS = 175  #: about how many are learned from in a batch; the loss is a sum over it


@dataclass(frozen=True, slots=True)
class Batch:
    """Dialogues of about one length, padded at the right.

    ``tokens`` and ``labels`` are (n, t) int64, ``rows`` (pictures,) int64 of the pool, in the order
    in which the pictures stand in ``tokens``. ``named`` (2, n, t) int64 is, at each token, the good
    and the source that were named last.
    """

    tokens: Tensor
    labels: Tensor
    rows: Tensor
    named: Tensor


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
    found = torch.empty(len(shots), 64, 128, dtype=torch.float16)
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
    for n, e in enumerate(encoded):
        tokens[n, : len(e.tokens)] = torch.tensor(e.tokens)
        labels[n, : len(e.labels)] = torch.tensor(e.labels)
    named = torch.full((2, len(encoded), longest), IGNORED)
    for n, e in enumerate(encoded):
        named[:, n, : len(e.tokens)] = torch.tensor([e.goods, e.sources])
    rows = torch.tensor([s.seed for e in encoded for s in e.shots]).long()
    return Batch(tokens, labels, rows, named)


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of the second stage: which dialogues, for how many batches at most.

    ``longest`` is in tokens. With ``name``, the text model's second layer also learns to tell at
    every token which good and which source were named last. ``look_up`` has the head of
    ``vlm_lookup`` written before it begins.
    """

    batches: int
    bot: float
    turns: int
    longest: int
    blind: bool = False
    name: bool = False
    look_up: bool = False


def phases(given: argparse.Namespace) -> list[Phase]:
    """Return the phases: what was named last, looking it up, then everything."""
    blind = Phase(given.blind_steps, bot=0.2, turns=6, longest=320, blind=True, name=True)
    return [
        blind,
        replace(blind, batches=150, look_up=True),
        Phase(given.steps, bot=0.4, turns=4, longest=640),
    ]


def batches(encoder: Encoder, pool: Pool, rng: random.Random, phase: Phase) -> Iterator[Batch]:
    """Yield the batches of a phase, of about ``BATCH_TOKENS`` each."""
    left = phase.batches
    while left > 0:
        part = _group(encoder, pool, rng, phase)[:left]
        left -= len(part)
        yield from (collate(encoded, encoder.end) for encoded in part)


def _group(encoder: Encoder, pool: Pool, rng: random.Random, phase: Phase) -> list[list[Encoded]]:
    """Return about a dozen batches, each of dialogues of about one length."""
    kinds = list(BLIND if phase.blind else WEIGHTS)
    weights = [(BLIND if phase.blind else WEIGHTS)[kind] for kind in kinds]
    group: list[Encoded] = []
    while sum(len(e.tokens) for e in group) < 12 * BATCH_TOKENS:
        made = encoder.encode(
            dialogue(
                rng,
                rng.choices(kinds, weights)[0],
                pool.pick,
                most_turns=phase.turns,
                bot=phase.bot,
                blind=phase.blind,
            )
        )
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


def logits_of(
    model: Any, body: Any, batch: Batch, features: Tensor, heads: nn.Module | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (m, vocabulary) of the tokens to be learned, and those tokens (m,).

    The third is the loss of ``heads``, which tell from the second layer what was named last.
    """
    inner = model.model
    embedded = inner.language_model.embed_tokens(batch.tokens)
    if len(features):
        shown = inner.multi_modal_projector(features.float())
        where = (batch.tokens == model.config.image_token_id).unsqueeze(-1)
        embedded = embedded.masked_scatter(where, shown.flatten(0, 1))
    out = body(inputs_embeds=embedded, use_cache=False, output_hidden_states=heads is not None)
    naming = torch.zeros(())
    if heads is not None:
        goods, sources = heads(out.hidden_states[2]).split((len(GOODS), 10), -1)
        for told, wanted in zip((goods, sources), batch.named, strict=True):
            naming = naming + nn.functional.cross_entropy(
                told.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED
            )
    wanted = batch.labels[:, 1:]
    learned = wanted != IGNORED
    return model.lm_head(out.last_hidden_state[:, :-1][learned]), wanted[learned], naming


def check(model: Any, encoder: Encoder, talks: Sequence[Dialogue], features: Tensor) -> str:
    """Return how much of each kind is right, token for token, with the right answer's start given.

    That is what greedy decoding gives: it is right just when every next token is.
    """
    right: dict[str, list[bool]] = {}
    at = 0
    for talk in talks:
        made = encoder.encode(talk)
        begin = len(encoder.encode(talk, answered=False).tokens)
        labels = [IGNORED if n < begin else label for n, label in enumerate(made.labels)]
        batch = collate([replace(made, labels=labels, shots=[])], encoder.end)
        shown = features[at : at + len(made.shots)]
        at += len(made.shots)
        with torch.no_grad():
            logits, wanted, _ = logits_of(model, model.model.language_model, batch, shown)
        right.setdefault(talk.kind, []).append(bool((logits.argmax(1) == wanted).all()))
    every = [r for of_kind in right.values() for r in of_kind]
    parts = [f"{kind} {sum(r)}/{len(r)}" for kind, r in right.items()]
    return f"{sum(every)}/{len(every)}: " + ", ".join(parts)


def train_answers(
    model: Any, encoder: Encoder, pool: Pool, plan: Sequence[Phase], given: argparse.Namespace
) -> None:
    """Stage 2: projector and text model, with the loss on answers only.

    The rate goes up over 40 steps, stays, and falls to nothing in the second half of the last
    phase.
    """
    parameters = [p for n, p in model.named_parameters() if "vision_tower" not in n]
    width = model.config.text_config.hidden_size
    heads = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(GOODS) + 10))
    parameters += heads.parameters()
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    plain = body = model.model.language_model
    if given.compile:
        body = torch.compile(body, dynamic=True)
    talks = items(99, 150)
    shots = [s for t in talks for a in t.turns for s in a.parts if isinstance(s, Shot)]
    seen = features_of(model, shots)
    rng = random.Random(given.seed)
    began, step = time.monotonic(), 0
    for phase in plan:
        if phase.look_up:
            write_lookup(model, encoder)
        losses: list[float] = []
        for at, batch in enumerate(batches(encoder, pool, rng, phase)):
            step += 1
            down = 2 * (1 - at / phase.batches) if phase is plan[-1] else 1.0
            for group in optimiser.param_groups:
                group["lr"] = given.rate * min(1.0, step / 40, down)
            logits, wanted, naming = logits_of(
                model,
                plain if phase.name else body,
                batch,
                pool.features[batch.rows],
                heads if phase.name else None,
            )
            answers = nn.functional.cross_entropy(logits, wanted)
            loss = answers * min(1.0, len(wanted) / ANSWER_TOKENS) + naming
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(answers.item())
            if step % 50 == 0:
                recent = sum(losses[-50:]) / len(losses[-50:])
                took = time.monotonic() - began
                print(
                    f"answers {step:5d} loss {recent:.4f} naming {naming.item():.3f} {took:.0f} s",
                    flush=True,
                )
            if step % (100 if phase.name else 400) == 0:
                _keep(model, encoder, talks, seen, given.work)
        _keep(model, encoder, talks, seen, given.work)


def _keep(
    model: Any, encoder: Encoder, talks: Sequence[Dialogue], features: Tensor, work: Path
) -> None:
    print(f"  right {check(model, encoder, talks, features)}", flush=True)
    torch.save(model.state_dict(), work / "model.pt")


def main() -> None:
    """Train both stages, or go on from what an earlier run left, and write the files."""
    parser = argparse.ArgumentParser(description="train the pocket vision-language model")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--work", type=Path, default=Path("build/vlm"), help="for checkpoints")
    parser.add_argument("--tower", type=Path, help="a trained tower.pt: skip the first stage")
    parser.add_argument("--start", type=Path, help="a model.pt to begin the second stage from")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--blind-steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--pool", type=int, default=32_000, help="pictures drawn for training")
    parser.add_argument("--seed", type=int, default=11, help="of the dialogues")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="a third faster; needs a compiler")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    given.work.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    encoder = Encoder(tokenizer)
    model = make_model(tokenizer.get_vocab_size(), encoder.picture, encoder.end)
    print(f"{sum(p.numel() for p in model.parameters()):,} weights", flush=True)
    if given.tower:
        model.model.vision_tower.load_state_dict(torch.load(given.tower))
    else:
        for steps, most, seed in ((3100, 1.2e-3, 7), (700, 8e-4, 9)):
            train_tower(model, steps, given.pool, given.work / "tower.pt", most=most, seed=seed)
    if given.start:
        model.load_state_dict(torch.load(given.start))
    model.model.vision_tower.requires_grad_(False)
    pool = Pool(model, given.pool * 3 // 4, given.pool // 4, seed=8)
    if given.steps:
        train_answers(model, encoder, pool, phases(given), given)
    export(model, tokenizer, given.out)


if __name__ == "__main__":
    main()
