"""Train the pocket vision-language model: about 2.5 million weights, on drawn pictures.

Run ``python tests/pocket/train_vlm.py`` (two cores; see ``vlm/README.md`` for how long it took); it
writes the GGUF files of ``vlm/`` beside this file. Two stages: the vision tower alone under linear
heads (``vlm_tower``), then, the tower frozen, projector and text model together on the answers of
dialogues (``vlm_data``), of which the first are drills (``vlm_drills``).
"""

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vlm_batches import Batch, Phase, Pool, batches, collate, features_of
from vlm_data import Dialogue, items
from vlm_export import export
from vlm_model import make_model
from vlm_questions import GOODS, Shot
from vlm_tokens import IGNORED, NO_PRICE, Encoder, make_tokenizer
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
    "source": 2.5,
    "picture and source": 4.0,
    "not in the sources": 2.0,
    "follow-up": 3.0,
    "quotation": 0.1,
    "prices": 1.0,
    "survey": 0.5,
    "rows": 0.5,
}
FIRST_WEIGHTS: Mapping[str, float] = {
    **dict.fromkeys(WEIGHTS, 0.3),
    "prices": 4.0,
    "survey": 3.0,
    "rows": 2.0,
}
ANSWER_TOKENS = 175  #: about how many are learned from in a batch; the loss is a sum over it
#: Classes of what was named last: goods, sources, prices, pictures
NAMED = (len(GOODS), 10, NO_PRICE + 1, 4)


def phases(given: argparse.Namespace) -> list[Phase]:
    """Return the phases: short dialogues and drills, then everything."""
    return [
        Phase(given.first_steps, FIRST_WEIGHTS, bot=0.2, turns=6, longest=448),
        Phase(given.steps, WEIGHTS, bot=0.4, turns=5, longest=640),
    ]


class Learner:
    """The text model and projector with what trains them.

    Matrices inside are trained by Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers
    in neural networks"), with AdamW's rate, the others by AdamW. Linear ``heads`` over the second
    layer tell, at every token, which good and source were named last, what that good costs, and of
    which picture the token is: what later layers have to compare and to copy.
    """

    def __init__(self, model: Any, given: argparse.Namespace) -> None:
        self.model = model
        self.rate: float = given.rate
        self._body = model.model.language_model
        if given.compile:
            self._body = torch.compile(self._body, dynamic=True)
        width = model.config.text_config.hidden_size
        self._heads = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(NAMED)))
        named = [(n, p) for n, p in model.named_parameters() if "vision_tower" not in n]
        hidden = [p for n, p in named if p.dim() == 2 and "embed_tokens" not in n]
        embedded = [p for n, p in named if "embed_tokens" in n]
        others = [p for n, p in named if p.dim() == 1] + list(self._heads.parameters())
        self._parameters = [*hidden, *embedded, *others]
        decayed: dict[str, Any] = {"params": embedded, "weight_decay": 0.05}
        undecayed: dict[str, Any] = {"params": others, "weight_decay": 0.0}
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(hidden, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW([decayed, undecayed], betas=(0.9, 0.98)),
        ]

    def learn(self, batch: Batch, features: Tensor, share: float) -> tuple[float, float]:
        """Take one step at ``share`` of the rate; return the losses of answers and of naming."""
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate * share
            optimiser.zero_grad()
        logits, wanted, second = self.logits(batch, features)
        answers = nn.functional.cross_entropy(logits, wanted)
        naming = torch.zeros(())
        for told, right in zip(self._heads(second).split(NAMED, -1), batch.named, strict=True):
            if (right != IGNORED).any():
                naming = naming + nn.functional.cross_entropy(
                    told.flatten(0, 1), right.flatten(), ignore_index=IGNORED
                )
        loss = answers * min(1.0, len(wanted) / ANSWER_TOKENS) + 0.5 * naming
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser in self._optimisers:
            optimiser.step()
        return answers.item(), naming.item()

    def logits(self, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (m, vocabulary) of the tokens to be learned, and those tokens (m,).

        The third is what the second layer gives, (n, t, width). Layers compute in bfloat16.
        """
        inner = self.model.model
        embedded = inner.language_model.embed_tokens(batch.tokens)
        with torch.autocast("cpu", torch.bfloat16):
            if len(features):
                shown = inner.multi_modal_projector(features.float()).float()
                where = (batch.tokens == self.model.config.image_token_id).unsqueeze(-1)
                embedded = embedded.masked_scatter(where, shown.flatten(0, 1))
            out = self._body(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
        wanted = batch.labels[:, 1:]
        learned = wanted != IGNORED
        last = out.last_hidden_state[:, :-1][learned].float()
        return self.model.lm_head(last), wanted[learned], out.hidden_states[2].float()


def check(learner: Learner, encoder: Encoder, talks: Sequence[Dialogue], features: Tensor) -> str:
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
            logits, wanted, _ = learner.logits(batch, shown)
        right.setdefault(talk.kind, []).append(bool((logits.argmax(1) == wanted).all()))
    every = [r for of_kind in right.values() for r in of_kind]
    parts = [f"{kind} {sum(r)}/{len(r)}" for kind, r in right.items()]
    return f"{sum(every)}/{len(every)}: " + ", ".join(parts)


def train_answers(
    model: Any, encoder: Encoder, pool: Pool, plan: Sequence[Phase], given: argparse.Namespace
) -> None:
    """Stage 2: projector and text model, with the loss on answers only.

    The rate goes up over 100 steps, stays, and falls to nothing in the last 60 % of all steps.
    """
    learner = Learner(model, given)
    talks = items(99, 200)
    shots = [s for t in talks for a in t.turns for s in a.parts if isinstance(s, Shot)]
    seen = features_of(model, shots)
    rng = random.Random(given.seed)
    began, step, every = time.monotonic(), 0, sum(phase.batches for phase in plan)
    losses: list[tuple[float, float]] = []
    for phase in plan:
        for batch in batches(encoder, pool, rng, phase):
            share = min(1.0, (step + 1) / 100, (1 - step / every) / 0.6)
            losses.append(learner.learn(batch, pool.features[batch.rows], share))
            step += 1
            if step % 50 == 0:
                answers, naming = torch.tensor(losses).mean(0).tolist()
                losses.clear()
                took = time.monotonic() - began
                print(
                    f"answers {step:5d} loss {answers:.4f} naming {naming:.3f} {took:.0f} s",
                    flush=True,
                )
            if step % 500 == 0 or step == every:
                print(f"  right {check(learner, encoder, talks, seen)}", flush=True)
                torch.save(model.state_dict(), given.work / "model.pt")


def main() -> None:
    """Train both stages, or go on from what an earlier run left, and write the files."""
    parser = argparse.ArgumentParser(description="train the pocket vision-language model")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--work", type=Path, default=Path("build/vlm"), help="for checkpoints")
    parser.add_argument("--tower", type=Path, help="a trained tower.pt: skip the first stage")
    parser.add_argument("--start", type=Path, help="a model.pt to begin the second stage from")
    parser.add_argument("--first-steps", type=int, default=2000, help="drills and short dialogues")
    parser.add_argument("--steps", type=int, default=5000, help="all dialogues")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--pool", type=int, default=24_000, help="pictures drawn for training")
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
        for steps, most, seed in ((2200, 1.2e-3, 7), (800, 8e-4, 9)):
            train_tower(model, steps, given.pool, given.work / "tower.pt", most=most, seed=seed)
    if given.start:
        model.load_state_dict(torch.load(given.start))
    model.model.vision_tower.requires_grad_(False)
    pool = Pool(model, given.pool * 3 // 4, given.pool // 4, seed=8)
    train_answers(model, encoder, pool, phases(given), given)
    export(model, tokenizer, given.out)


if __name__ == "__main__":
    main()
