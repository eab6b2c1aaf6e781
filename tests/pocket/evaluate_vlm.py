"""Ask the pocket vision-language model unseen items, through Bifocal's engine and in torch.

Run ``python tests/pocket/evaluate_vlm.py``: 500 items at Q8_0 and Q4_0, and how often
``transformers``, with the very weights of each file, gives the same answer (greedy). ``answers``,
``reference`` and ``score`` are what the tests use. Knows nothing of training.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from vlm_data import Dialogue, items
from vlm_export import PROJECTOR, TEXTS, load_reference, load_tokenizer
from vlm_model import pixels
from vlm_tokens import Encoder

FOLDER = Path(__file__).parent / "vlm"
LONGEST = 32  #: tokens of an answer; the longest right one has 18


def files(type_: str, folder: Path = FOLDER) -> str:
    """Return ``TEXT.gguf+PROJECTOR.gguf`` of the model, quantized as ``q8_0`` or ``q4_0``."""
    return f"{folder / f'pocket-{type_}.gguf'}+{folder / PROJECTOR}"


def answers(chat: Any, talks: Sequence[Dialogue]) -> Iterator[str]:
    """Yield what a chat model answers to each item."""
    for talk in talks:
        yield str(chat.invoke(talk.messages()).content)


def reference(type_: str, talks: Sequence[Dialogue], folder: Path = FOLDER) -> Iterator[str]:
    """Yield what ``transformers`` answers, with the weights of the same files."""
    text, projector = folder / f"pocket-{type_}.gguf", folder / PROJECTOR
    model, encoder = load_reference(text, projector), Encoder(load_tokenizer(text))
    for talk in talks:
        made = encoder.encode(talk, answered=False)
        given: dict[str, Any] = {"input_ids": torch.tensor([made.tokens])}
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        if made.shots:
            given["pixel_values"] = pixels([shot.paint() for shot in made.shots])
        with torch.no_grad():
            found = model.generate(
                **given, max_new_tokens=LONGEST, do_sample=False, pad_token_id=encoder.end
            )
        yield encoder.tokenizer.decode(found[0, len(made.tokens) :].tolist())


def score(talks: Sequence[Dialogue], given: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return by kind how many answers are right to the letter, and of how many; ``all`` too."""
    found: dict[str, tuple[int, int]] = {}
    for talk, answer in zip(talks, given, strict=True):
        for kind in (talk.kind, "all"):
            right, of = found.get(kind, (0, 0))
            found[kind] = (right + (answer == talk.answer), of + 1)
    return found


def main() -> None:
    """Print a table of both files."""
    from bot.models.llama import LocalVisionChat

    parser = argparse.ArgumentParser(description="evaluate the pocket vision-language model")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wrong", action="store_true", help="print what was answered wrongly")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    talks = items(given.seed, given.items)
    for type_ in TEXTS:
        chat = LocalVisionChat.open(
            files(type_, given.folder), threads=given.threads, max_tokens=LONGEST
        )
        began = time.monotonic()
        try:
            told = list(answers(chat, talks))
        finally:
            chat.close()
        took = time.monotonic() - began
        same = [a == b for a, b in zip(told, reference(type_, talks, given.folder), strict=True)]
        print(f"{type_}: {len(talks)} items in {took:.0f} s")
        for kind, (right, of) in score(talks, told).items():
            print(f"  {kind:20} {right:4d} of {of:4d}  {right / of:.1%}")
        share = sum(same) / len(same)
        print(f"  {'as transformers':20} {sum(same):4d} of {len(same):4d}  {share:.1%}")
        for talk, answer in zip(talks, told, strict=True):
            if given.wrong and answer != talk.answer:
                asked = str(talk.turns[-1].parts[-1]).splitlines()[-1]
                print(f"    {talk.kind}: {asked!r}: {answer!r}, not {talk.answer!r}")


if __name__ == "__main__":
    main()
