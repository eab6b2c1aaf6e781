"""The words of the pocket vision-language model, and dialogues as its tokens.

A byte-level vocabulary in which every word of the training dialogues is one token. Numbers too, and
without the space before them: a price is the same token in a source and in an answer, and copying
it is learned soon (it was not, where `` 41`` and ``41`` were two). Other text falls to its bytes.
Dialogues become tokens as Bifocal's engine makes them: the chat template's own text with control
tokens, contents without, each by itself. Knows nothing of models or weights.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from vlm_data import PROMPTS, Dialogue, dialogue, new_shot
from vlm_model import PICTURE_TOKENS
from vlm_questions import GOODS, KINDS_ASKED, Shot

PAD, START, END, PICTURE = SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image|>")
LLAMA_BPE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
IGNORED = -100  #: the label of what is not learned
LEAST_PRICE, NO_PRICE = 10, 90  #: prices have two digits


def new_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Return a tokenizer that cuts text up as llama.cpp's ``llama-bpe`` does.

    A number of up to three digits is one piece, without the space before it.
    """
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_BPE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def make_tokenizer() -> Tokenizer:
    """Return the tokenizer; the same each time. Special tokens come first, then bytes."""
    rng = random.Random(3)
    corpus = [PROMPTS.answer.text, "user\n", "assistant\n", "system\n"]
    corpus += [str(n) for n in range(100)]
    for n in range(4000):
        for turn in dialogue(rng, KINDS_ASKED[n % len(KINDS_ASKED)], new_shot, most_turns=3).turns:
            corpus += [p for p in (*turn.parts, turn.answer) if isinstance(p, str)]
    tokenizer = new_tokenizer({}, [])
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in SPECIALS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the number of a token that is there."""
    found = tokenizer.token_to_id(token)
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens with a run of ``PICTURE`` for each picture, and the labels of what is learned.

    ``labels[i]`` is ``tokens[i]`` where it is part of an answer (its end included), else
    ``IGNORED``. ``goods`` and ``sources`` tell which good (of ``GOODS``) and which source were
    named last, at each token; ``prices`` what that good costs (less ``LEAST_PRICE``), or
    ``NO_PRICE`` until that is said; ``pictures`` of which picture (from 0) a token is. Each is
    ``IGNORED`` where there is none.
    """

    tokens: list[int]
    labels: list[int]
    shots: list[Shot]
    goods: list[int]
    sources: list[int]
    prices: list[int]
    pictures: list[int]


_GOODS = {good: n for n, good in enumerate(GOODS)}


class Encoder:
    """Makes tokens of dialogues."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.picture, self.end = token_id(tokenizer, PICTURE), token_id(tokenizer, END)
        self._words: dict[str, list[int]] = {}

    def encode(self, talk: Dialogue, *, answered: bool = True) -> Encoded:
        """Return a dialogue's tokens; with its last answer, or up to where that begins."""
        found = Encoded([], [], [], [], [], [], [])
        if talk.system:
            self._add(found, "system", (talk.system,))
        for n, turn in enumerate(talk.turns):
            self._add(found, "user", _joined(turn.parts))
            if answered or n < len(talk.turns) - 1:
                self._add(found, "assistant", (turn.answer,), learn=turn.learn)
        if not answered:
            self._put(found, self._of(f"{START}assistant\n"))
        self._name(found)
        return found

    def _name(self, found: Encoded) -> None:
        good = source = price = IGNORED
        before = ["", ""]
        patches = 0
        for token in found.tokens:
            seen = token == self.picture
            found.pictures.append(patches // PICTURE_TOKENS if seen else IGNORED)
            patches += seen
            text = str(self.tokenizer.id_to_token(token))
            if (named := _GOODS.get(text.removeprefix("Ġ"))) is not None:
                good, price = named, NO_PRICE
            if text.isdigit() and (before[1] in ("[", "Ġ[") or before == ["Ġn", '="']):
                source = int(text) if int(text) < 10 else source
            elif text.isdigit() and LEAST_PRICE <= int(text) < 100 and good != IGNORED:
                price = int(text) - LEAST_PRICE
            before = [before[1], text]
            found.goods.append(good)
            found.sources.append(source)
            found.prices.append(price)

    def _add(
        self, found: Encoded, role: str, parts: Sequence[str | Shot], *, learn: bool = False
    ) -> None:
        """Add what one side says, as ``make_gguf.TEMPLATE`` writes it."""
        self._put(found, self._of(f"{START}{role}\n"))
        for part in parts:
            if isinstance(part, str):
                self._put(found, self._of(part), learn)
            else:
                self._put(found, [self.picture] * PICTURE_TOKENS)
                found.shots.append(part)
        self._put(found, [self.end], learn)
        self._put(found, self._of("\n"))

    def _put(self, found: Encoded, tokens: Sequence[int], learn: bool = False) -> None:
        found.tokens.extend(tokens)
        found.labels.extend(tokens if learn else [IGNORED] * len(tokens))

    def _of(self, text: str) -> list[int]:
        if len(text) > 400 or text not in self._words:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
            if len(self._words) < 100_000:
                self._words[text] = ids
            return ids
        return self._words[text]


def _joined(parts: Sequence[str | Shot]) -> tuple[str | Shot, ...]:
    """Join neighbouring words, as the engine does."""
    found: list[str | Shot] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] = f"{found[-1]}{part}"
        else:
            found.append(part)
    return tuple(found)
