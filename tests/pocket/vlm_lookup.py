"""One attention head of the pocket model is written down: look the good up, bring price and source.

Training alone learns to name, at each token, which good and which source were named last (linear
heads see to that), but in 8 million tokens not to compare them. So, once the second layer tells
goods apart, the first head of the third layer gets weights that do: queries and keys are one
linear map of "the good named last" (found by ridge regression), keys prefer numbers, values carry
the number and its source, outputs are the directions of those tokens' embeddings. A hundred steps
of training later prices are looked up rightly. Knows nothing of pictures.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vlm_data import dialogue, new_shot
from vlm_questions import GOODS
from vlm_tokens import IGNORED, Encoder, token_id

LAYER, HEAD, SIZE = 2, 0, 32
#: Of a head's 32 dimensions, those that rotary positions hardly turn within 60 tokens
_SLOW = (*range(8, 15), *range(24, 32))
_IS_NUMBER = 15
_NUMBERS, _SOURCES = 20, 9  # dimensions of values: what number it is, and which source's
_GOOD_SCALE, _NUMBER_SCALE, _GAIN = 7.1, 6.7, 6.0  # logits of about 9, 8 and 6


@dataclass(frozen=True, slots=True)
class Seen:
    """What the third layer takes, token by token: (n, 160), and what is known of each, (n,)."""

    inputs: Tensor
    tokens: Tensor
    goods: Tensor
    sources: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map found by regression: weight (m, 160), bias (m,)."""

    weight: Tensor
    bias: Tensor


def write_lookup(model: Any, encoder: Encoder, dialogues: int = 500) -> None:
    """Write the head's weights; 500 dialogues take about a minute on one core."""
    text = model.model.language_model
    with torch.no_grad():
        _write(text, encoder, _look(text, encoder, dialogues))


def _look(text: Any, encoder: Encoder, dialogues: int) -> Seen:
    rng = random.Random(3)
    inputs, tokens, goods, sources, scales = [], [], [], [], []
    norm = text.layers[LAYER].input_layernorm
    last: list[Tensor] = []
    hook = text.norm.register_forward_pre_hook(lambda _, given: last.append(given[0]))
    for _ in range(dialogues):
        talk = dialogue(rng, "source", new_shot, most_turns=2, bot=0.35, blind=True)
        made = encoder.encode(talk)
        embedded = text.embed_tokens(torch.tensor([made.tokens]))
        out = text(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
        inputs.append(norm(out.hidden_states[LAYER][0]))
        tokens += made.tokens
        goods += made.goods
        sources += made.sources
        scales.append(last.pop().pow(2).mean().sqrt().item())
    hook.remove()
    scale = sum(scales) / len(scales) / text.norm.weight.mean().item()
    return Seen(
        torch.cat(inputs), torch.tensor(tokens), torch.tensor(goods), torch.tensor(sources), scale
    )


def _write(text: Any, encoder: Encoder, seen: Seen) -> None:
    attention = text.layers[LAYER].self_attn
    embedding = text.embed_tokens.weight
    numbers = torch.tensor([token_id(encoder.tokenizer, str(n)) for n in range(10, 100)])
    digits = torch.tensor([token_id(encoder.tokenizer, str(n)) for n in range(1, 1 + _SOURCES)])
    number = torch.isin(seen.tokens, numbers)
    known = seen.goods != IGNORED
    sourced = number & (seen.sources >= 1) & (seen.sources <= _SOURCES)

    good = ridge(seen.inputs[known], _codes(len(GOODS), len(_SLOW))[seen.goods[known]])
    is_number = ridge(seen.inputs, number.float()[:, None])
    apart = embedding[numbers] - embedding[numbers].mean(0)
    main = torch.linalg.svd(apart)[2][:_NUMBERS]  # (20, 160)
    row_of = {int(token): n for n, token in enumerate(numbers)}
    which = torch.tensor([row_of[int(token)] for token in seen.tokens[number]])
    value = ridge(seen.inputs[number], (apart @ main.T)[which])
    one_hot = torch.nn.functional.one_hot(seen.sources[sourced] - 1, _SOURCES).float()
    source = ridge(seen.inputs[sourced], one_hot)
    marks = embedding[digits] - embedding[digits].mean(0)

    first = HEAD * SIZE
    own = slice(first, first + SIZE)
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj):
        layer.weight[own] = 0.0
        layer.bias[own] = 0.0
    attention.o_proj.weight[:, own] = 0.0
    slow = [first + n for n in _SLOW]
    for layer in (attention.q_proj, attention.k_proj):
        layer.weight[slow] = _GOOD_SCALE * good.weight
        layer.bias[slow] = _GOOD_SCALE * good.bias
    attention.q_proj.bias[first + _IS_NUMBER] = _NUMBER_SCALE
    attention.k_proj.weight[first + _IS_NUMBER] = _NUMBER_SCALE * is_number.weight[0]
    attention.k_proj.bias[first + _IS_NUMBER] = _NUMBER_SCALE * is_number.bias[0]
    for at, found, out, spread in (
        (first, value, main, apart),
        (first + _NUMBERS, source, marks, marks),
    ):
        rows = slice(at, at + len(out))
        attention.v_proj.weight[rows] = found.weight
        attention.v_proj.bias[rows] = found.bias
        gain = _GAIN * seen.scale / spread.pow(2).sum(1).mean()
        attention.o_proj.weight[:, rows] = gain * out.T


def ridge(inputs: Tensor, wanted: Tensor, penalty: float = 20.0) -> Linear:
    """Return the ridge regression of ``wanted`` (n, m) on ``inputs`` (n, 160)."""
    extended = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    square = extended.T @ extended + penalty * torch.eye(extended.shape[1]).double()
    found = torch.linalg.solve(square, extended.T @ wanted.double()).float()
    return Linear(found[:-1].T.contiguous(), found[-1])


def _codes(count: int, dimensions: int) -> Tensor:
    """Return ``count`` unit vectors that are about equally far from each other."""
    random_ = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(0))
    corners = torch.eye(count) - 1 / count
    codes = corners @ torch.linalg.qr(random_)[0]
    found: Tensor = codes / codes.norm(dim=1, keepdim=True)
    return found
