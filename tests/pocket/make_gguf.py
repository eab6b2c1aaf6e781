"""Makes a tiny GGUF pair by hand: a text model whose every answer can be foretold, and its eyes.

No training: the weights are written down. The text model (architecture qwen2, one block, width
384, 3.4 MB) is a chain of words with one look around. Each token points to the one that follows
(``I -> see -> COLOUR -> 😀 -> .``), and attention, uniform over all that was read, adds up how
much of each colour there was: as words (`` red``) or as pixels. The colour that was seen most
decides what follows ``see``; when there was none, it is `` nothing``. The emoji comes as four
tokens of one byte each. With ``endless`` the chain never ends.

The vision tower (architecture clip, projector mlp, 64x64 pixels in 16-pixel patches, no class
token: llama.cpp puts it last where it should come first) turns each patch into "how much more
red than anything else", likewise green and blue. Of its two blocks the last one is never run:
llama.cpp's mlp graph stops at the second to last layer.

Run ``python tests/pocket/make_gguf.py FOLDER`` to write ``tiny.gguf`` and ``mmproj-tiny.gguf``.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

COLOURS = ("red", "green", "blue")
CHAIN = ("I", "Ġsee", "Ġnothing", "Ġ", "ð", "Ł", "ĺ", "Ģ", ".")  # " 😀" is Ġ + 4 bytes
EMOJI = "😀"
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_pad|>")
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: llama.cpp's name of each part of a vision layer, and that of ``transformers``' CLIP and SigLIP
VISION_PARTS = {
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.out_proj",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
WIDTH, HEADS, FEED = 384, 4, 32
VISION_WIDTH, IMAGE, PATCH = 16, 64, 16


def byte_alphabet() -> list[str]:
    """Return GPT-2's printable stand-in for each of the 256 bytes, by byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {b: chr(b) for b in plain}
    spare = (b for b in range(256) if b not in alphabet)
    alphabet.update({b: chr(256 + n) for n, b in enumerate(spare)})
    return [alphabet[b] for b in range(256)]


def make_vocabulary(
    extra: Sequence[tuple[str, int]] = (),
) -> tuple[list[str], list[int], list[str]]:
    """Return tokens, their types and the merges: bytes, whole words, then special tokens.

    ``extra`` adds tokens by text and type, for tests of odd vocabularies.
    """
    tokens = byte_alphabet()
    merges: list[tuple[str, str]] = []
    words = ["Ġ" + c for c in COLOURS] + ["Ġsee", "Ġnothing", "user", "assistant", "system"]
    for word in words:
        pieces = _apply(list(word), merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            if pieces[0] + pieces[1] not in tokens:
                tokens.append(pieces[0] + pieces[1])
            pieces = _apply(pieces, merges[-1:])
    types = [NORMAL] * len(tokens) + [CONTROL] * len(SPECIALS) + [t for _, t in extra]
    return [*tokens, *SPECIALS, *(t for t, _ in extra)], types, [f"{a} {b}" for a, b in merges]


def _apply(pieces: list[str], merges: Sequence[tuple[str, str]]) -> list[str]:
    for left, right in merges:
        at = 0
        while at < len(pieces) - 1:
            if (pieces[at], pieces[at + 1]) == (left, right):
                pieces[at : at + 2] = [left + right]
            else:
                at += 1
    return pieces


def add_vocabulary(
    out: Any, tokens: Sequence[str], types: Sequence[int], merges: Sequence[str]
) -> None:
    """Add what :func:`make_vocabulary` returned to a ``gguf.GGUFWriter``."""
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(tokens)
    out.add_token_types(types)
    out.add_token_merges(merges)
    out.add_eos_token_id(tokens.index("<|im_end|>"))
    out.add_pad_token_id(tokens.index("<|endoftext|>"))
    out.add_add_bos_token(False)


def make_text_model(
    path: Path,
    *,
    endless: bool = False,
    template: str | None = TEMPLATE,
    trained_on: int = 4096,
    extra: Sequence[tuple[str, int]] = (),
) -> Path:
    """Write the text model to ``path`` and return it."""
    import gguf

    tokens, types, merges = make_vocabulary(extra)
    out = gguf.GGUFWriter(path, "qwen2")
    _add_sizes(out, "tiny", trained_on)
    add_vocabulary(out, tokens, types, merges)
    if template is not None:
        out.add_chat_template(template)
    for name, tensor in _text_tensors(tokens, endless).items():
        out.add_tensor(name, tensor)
    finish(out)
    return path


def make_spelling_model(path: Path) -> Path:
    """Write a model with a SentencePiece vocabulary that can spell ``</s>`` out of its pieces.

    Architecture and sizes are the text model's; the weights are zeros: it is for its tokenizer.
    """
    import gguf

    pieces = ["▁", "<", "/", "s", ">", "</", "</s", "h", "i", "hi"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    types = [2, CONTROL, CONTROL] + [6] * 256 + [NORMAL] * len(pieces)  # unknown, bytes
    out = gguf.GGUFWriter(path, "qwen2")
    _add_sizes(out, "speller", 512)
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(pieces))])
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_chat_template("{% for m in messages %}{{ m.content }}</s>{% endfor %}")
    idle = _zeros(WIDTH, WIDTH)
    rows = _zeros(len(tokens), WIDTH)
    for name, tensor in _block(rows, idle, idle, rows).items():
        out.add_tensor(name, tensor)
    finish(out)
    return path


def _add_sizes(out: Any, name: str, trained_on: int) -> None:
    out.add_name(name)
    out.add_context_length(trained_on)
    out.add_embedding_length(WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(FEED)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_freq_base(10000.0)


def _text_tensors(tokens: list[str], endless: bool) -> dict[str, Array]:
    """Return the weights. Dimension t is "this is token t"; the last six are colours.

    Of those six, three say "this has that colour" and three "that colour was seen before".
    """
    has, seen = WIDTH - 6, WIDTH - 3
    assert len(tokens) <= has
    index = {token: n for n, token in enumerate(tokens)}
    embedding = _zeros(len(tokens), WIDTH)
    embedding[range(len(tokens)), range(len(tokens))] = 1.0
    value, mix = _zeros(WIDTH, WIDTH), _zeros(WIDTH, WIDTH)
    for n, colour in enumerate(COLOURS):
        embedding[index["Ġ" + colour], has + n] = 1.0
        value[n, has + n] = 1.0
        mix[seen + n, n] = 0.01  # less than a step of the chain, however much there is
    output = _zeros(len(tokens), WIDTH)
    steps = [*pairwise(CHAIN), ("Ċ", CHAIN[0])]
    steps += [("Ġ" + colour, "Ġ") for colour in COLOURS]
    steps.append((".", CHAIN[0] if endless else "<|im_end|>"))
    for before, after in steps:
        output[index[after], index[before]] = 3.0
    for n, colour in enumerate(COLOURS):
        output[index["Ġ" + colour], index["Ġsee"]] = 3.0
        output[index["Ġ" + colour], seen + n] = 1.0
    output[index["Ġnothing"], index["Ġsee"]] += 1e-5
    return _block(embedding, value, mix, output)


def _block(embedding: Array, value: Array, mix: Array, output: Array) -> dict[str, Array]:
    """Return a model of one block whose attention is uniform and whose feed-forward is idle."""
    square = (WIDTH, WIDTH)
    return {
        "token_embd.weight": embedding,
        "output_norm.weight": _ones(WIDTH),
        "output.weight": output,
        "blk.0.attn_norm.weight": _ones(WIDTH),
        "blk.0.ffn_norm.weight": _ones(WIDTH),
        "blk.0.attn_q.weight": _zeros(*square),
        "blk.0.attn_q.bias": _zeros(WIDTH),
        "blk.0.attn_k.weight": _zeros(*square),
        "blk.0.attn_k.bias": _zeros(WIDTH),
        "blk.0.attn_v.weight": value,
        "blk.0.attn_v.bias": _zeros(WIDTH),
        "blk.0.attn_output.weight": mix,
        "blk.0.ffn_gate.weight": _zeros(FEED, WIDTH),
        "blk.0.ffn_up.weight": _zeros(FEED, WIDTH),
        "blk.0.ffn_down.weight": _zeros(WIDTH, FEED),
    }


def make_projector(path: Path) -> Path:
    """Write the vision tower and its projector to ``path`` and return it."""
    sizes = {
        "image_size": IMAGE,
        "patch_size": PATCH,
        "embedding_length": VISION_WIDTH,
        "feed_forward_length": VISION_WIDTH,
        "projection_dim": WIDTH,
        "attention.head_count": 2,
        "block_count": 2,
    }
    return write_eyes(path, "tiny eyes", sizes, _vision_tensors())


def write_eyes(
    path: Path,
    name: str,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Array],
    *,
    projector: str = "mlp",
    epsilon: float = 1e-5,
    licence: str = "",
) -> Path:
    """Write a vision tower to ``path`` and return it: ``sizes`` are its ``clip.vision`` numbers.

    Weights become float16; positions, biases and norms stay float32.
    """
    import gguf

    out = gguf.GGUFWriter(path, "clip")
    out.add_name(name)
    if licence:
        out.add_license(licence)
    out.add_bool("clip.has_vision_encoder", True)
    out.add_string("clip.projector_type", projector)
    out.add_bool("clip.use_gelu", True)
    for key, number in sizes.items():
        out.add_uint32(f"clip.vision.{key}", number)
    out.add_float32("clip.vision.attention.layer_norm_epsilon", epsilon)
    out.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    out.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    for tensor_name, tensor in tensors.items():
        half = tensor.ndim > 1 and "position" not in tensor_name
        out.add_tensor(tensor_name, tensor.astype(np.float16) if half else tensor)
    finish(out)
    return path


def _vision_tensors() -> dict[str, Array]:
    """Return the weights: a patch's mean colour, and its negative; the blocks change nothing."""
    patch = _zeros(VISION_WIDTH, 3, PATCH, PATCH)
    first, second = _zeros(VISION_WIDTH, VISION_WIDTH), _zeros(WIDTH, VISION_WIDTH)
    for n in range(3):
        patch[n, n] = 1.0 / PATCH**2
        patch[n + 3, n] = -1.0 / PATCH**2
        first[n, :3] = -1.0
        first[n, n] = 1.0
        second[WIDTH - 6 + n, n] = 1.0
    tensors = {
        "v.patch_embd.weight": patch,
        "v.position_embd.weight": _zeros((IMAGE // PATCH) ** 2, VISION_WIDTH),
        "mm.0.weight": first,
        "mm.0.bias": _zeros(VISION_WIDTH) - 3.0,
        "mm.2.weight": second,
        "mm.2.bias": _zeros(WIDTH),
    }
    norms = ["v.pre_ln"] + [f"v.blk.{b}.{norm}" for b in range(2) for norm in ("ln1", "ln2")]
    for name in norms:
        tensors[f"{name}.weight"] = _ones(VISION_WIDTH)
        tensors[f"{name}.bias"] = _zeros(VISION_WIDTH)
    layers = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")
    for name in [f"v.blk.{b}.{layer}" for b in range(2) for layer in layers]:
        tensors[f"{name}.weight"] = _zeros(VISION_WIDTH, VISION_WIDTH)
        tensors[f"{name}.bias"] = _zeros(VISION_WIDTH)
    return tensors


def finish(out: Any) -> None:
    """Write what was added to a ``gguf.GGUFWriter``."""
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def main() -> None:
    """Write both files into the folder that is named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folder.mkdir(parents=True, exist_ok=True)
    for made in (
        make_text_model(folder / "tiny.gguf"),
        make_projector(folder / "mmproj-tiny.gguf"),
    ):
        print(f"{made}: {made.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
