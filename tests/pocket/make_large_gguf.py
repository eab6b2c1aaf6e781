"""Makes a GGUF pair of a realistic size with random weights: for measuring speed, not sense.

The text model has SmolLM2-135M's sizes (architecture qwen2, 30 layers, tied embeddings, 135M
weights, Q8_0), the vision tower those of a ViT-B (12 layers, 86M weights, float16, 224x224 pixels
in patches of 14: 256 tokens a picture, no class token) with one layer more that llama.cpp's mlp
graph never runs.

What comes out is random, but foreseeable in form: an answer is made of whole words only, and no
end token is ever drawn, so it has exactly as many tokens as were asked for. Every token is given a
constant by the first layer's value bias (whatever attention looks at, its weights add up to one),
and a token that must not be drawn has a strongly negative weight there.

The vocabulary's words are made of syllables, " ba", " badu" or " baduki"; each is one token, so
:func:`words` makes text of any number of tokens.

Run ``python tests/pocket/make_large_gguf.py FOLDER`` to write ``large.gguf`` and
``mmproj-large.gguf`` (about 320 MB).
"""

import random
import re
import sys
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import numpy as np
from make_gguf import (
    CONTROL,
    NORMAL,
    SPECIALS,
    TEMPLATE,
    Array,
    add_vocabulary,
    byte_alphabet,
    finish,
    write_eyes,
)
from numpy.typing import NDArray

VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, FEED = 49_152, 576, 30, 9, 3, 1536
TRAINED_ON = 32_768
VISION_WIDTH, VISION_LAYERS, VISION_HEADS, VISION_FEED = 768, 12, 12, 3072
IMAGE, PATCH = 224, 14
PICTURE_TOKENS = (IMAGE // PATCH) ** 2
SYLLABLES = ["".join(pair) for pair in product("bcdfghjklmnpqrstvwxz", "aeiou")]
_ROLES = ("user", "assistant", "system")
_SPREAD = 0.02  # standard deviation of the weights
_CONSTANT, _LIFT, _BAN = 0, 8.0, -4.0  # a dimension, what the first layer adds to it, a ban


def make_vocabulary() -> tuple[list[str], list[int], list[str]]:
    """Return tokens, their types and the merges: bytes, roles, syllables, words, special tokens."""
    tokens = byte_alphabet()
    room = VOCABULARY - len(SPECIALS)
    merges = [(s[0], s[1]) for s in SYLLABLES] + [("Ġ", s) for s in SYLLABLES]
    for role in _ROLES:  # after the syllables, which would else be torn: "bu" + "su" by "us"
        pieces = re.findall("[^aeiou][aeiou]|.", role)
        merges += [("".join(pieces[:n]), pieces[n]) for n in range(1, len(pieces))]
    known = dict.fromkeys(chain(tokens, (a + b for a, b in merges)))
    twos = [(f"Ġ{a}", b) for a, b in product(SYLLABLES, repeat=2)]
    threes = ((f"Ġ{a}{b}", c) for a, b, c in product(SYLLABLES, repeat=3))
    merges += twos
    known.update(dict.fromkeys(a + b for a, b in twos))
    merges += islice(threes, room - len(known))
    known.update(dict.fromkeys(a + b for a, b in merges))
    tokens = [*known, *SPECIALS]
    types = [NORMAL] * len(known) + [CONTROL] * len(SPECIALS)
    return tokens, types, [f"{a} {b}" for a, b in merges]


def words(count: int, seed: int) -> str:
    """Return text of exactly ``count`` tokens, each a word behind a blank."""
    draw = random.Random(seed)
    return "".join(f" {draw.choice(SYLLABLES)}{draw.choice(SYLLABLES)}" for _ in range(count))


def make_text_model(path: Path, seed: int = 0) -> Path:
    """Write the text model to ``path`` and return it."""
    import gguf

    tokens, types, merges = make_vocabulary()
    out = gguf.GGUFWriter(path, "qwen2")
    out.add_name("large, random")
    out.add_context_length(TRAINED_ON)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(FEED)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV_HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_freq_base(100_000.0)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    add_vocabulary(out, tokens, types, merges)
    out.add_chat_template(TEMPLATE)
    for name, tensor in _text_tensors(tokens, np.random.default_rng(seed)).items():
        _add_quantized(out, name, tensor)
    finish(out)
    return path


def _text_tensors(tokens: list[str], draw: np.random.Generator) -> dict[str, Array]:
    """Return the weights. No layer but the first writes to the constant's dimension."""
    embedding = _random(draw, len(tokens), WIDTH)
    banned = [not (token.startswith("Ġ") and len(token) > 1) for token in tokens]
    embedding[:, _CONSTANT] = np.where(banned, _BAN, 0.0)
    tensors = {"token_embd.weight": embedding, "output_norm.weight": np.ones(WIDTH, np.float32)}
    kv_width = WIDTH // HEADS * KV_HEADS
    for n in range(LAYERS):
        attention, down = _random(draw, WIDTH, WIDTH), _random(draw, WIDTH, FEED)
        attention[_CONSTANT] = down[_CONSTANT] = 0.0
        value_bias = np.zeros(kv_width, np.float32)
        if n == 0:
            value_bias[0] = 1.0
            attention[_CONSTANT, 0] = _LIFT
        tensors |= {
            f"blk.{n}.attn_norm.weight": np.ones(WIDTH, np.float32),
            f"blk.{n}.ffn_norm.weight": np.ones(WIDTH, np.float32),
            f"blk.{n}.attn_q.weight": _random(draw, WIDTH, WIDTH),
            f"blk.{n}.attn_q.bias": np.zeros(WIDTH, np.float32),
            f"blk.{n}.attn_k.weight": _random(draw, kv_width, WIDTH),
            f"blk.{n}.attn_k.bias": np.zeros(kv_width, np.float32),
            f"blk.{n}.attn_v.weight": _random(draw, kv_width, WIDTH),
            f"blk.{n}.attn_v.bias": value_bias,
            f"blk.{n}.attn_output.weight": attention,
            f"blk.{n}.ffn_gate.weight": _random(draw, FEED, WIDTH),
            f"blk.{n}.ffn_up.weight": _random(draw, FEED, WIDTH),
            f"blk.{n}.ffn_down.weight": down,
        }
    return tensors


def make_projector(path: Path, seed: int = 1) -> Path:
    """Write the vision tower and its projector to ``path`` and return it."""
    sizes = {
        "image_size": IMAGE,
        "patch_size": PATCH,
        "embedding_length": VISION_WIDTH,
        "feed_forward_length": VISION_FEED,
        "projection_dim": WIDTH,
        "attention.head_count": VISION_HEADS,
        "block_count": VISION_LAYERS + 1,
    }
    tensors = _vision_tensors(np.random.default_rng(seed))
    return write_eyes(path, "large eyes, random", sizes, tensors)


def _vision_tensors(draw: np.random.Generator) -> dict[str, Array]:
    tensors = {
        "v.patch_embd.weight": _random(draw, VISION_WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": _random(draw, PICTURE_TOKENS, VISION_WIDTH),
        "mm.0.weight": _random(draw, WIDTH, VISION_WIDTH),
        "mm.2.weight": _random(draw, WIDTH, WIDTH),
    }
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (VISION_WIDTH, VISION_WIDTH))
    shapes |= {"ffn_up": (VISION_FEED, VISION_WIDTH), "ffn_down": (VISION_WIDTH, VISION_FEED)}
    norms = ["v.pre_ln"]
    for n in range(VISION_LAYERS + 1):
        norms += [f"v.blk.{n}.ln1", f"v.blk.{n}.ln2"]
        tensors |= {f"v.blk.{n}.{k}.weight": _random(draw, *shape) for k, shape in shapes.items()}
    tensors |= {f"{name}.weight": np.ones(VISION_WIDTH, np.float32) for name in norms}
    biases = {f"v.blk.{n}.{k}": s[0] for n in range(VISION_LAYERS + 1) for k, s in shapes.items()}
    biases |= dict.fromkeys(norms, VISION_WIDTH) | {"mm.0": WIDTH, "mm.2": WIDTH}
    return tensors | {f"{name}.bias": np.zeros(size, np.float32) for name, size in biases.items()}


def _random(draw: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return draw.standard_normal(shape, np.float32) * np.float32(_SPREAD)


def _add_quantized(out: Any, name: str, tensor: Array) -> None:
    """Add a matrix as Q8_0, a vector as float32."""
    import gguf

    if tensor.ndim == 1:
        out.add_tensor(name, tensor)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    out.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)


def make_pair(folder: Path) -> tuple[Path, Path]:
    """Write both files into ``folder``, where they are not there yet; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, make in (("large.gguf", make_text_model), ("mmproj-large.gguf", make_projector)):
        path = folder / name
        if not path.exists():
            make(path.with_suffix(".part")).rename(path)
        made.append(path)
    return made[0], made[1]


def main() -> None:
    """Write both files into the folder that is named on the command line."""
    for made in make_pair(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(f"{made}: {made.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
