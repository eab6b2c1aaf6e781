"""Makes tiny GGUF models with random weights, of the kinds that remember in different ways.

A text model answers noise, but its numbers hang on every token before them and on where each one
stands, so that whatever an engine keeps, copies, cuts or splits wrongly shows in them:

- ``qwen2``: plain attention, whose memory can be cut anywhere,
- ``gemma2``: every other layer looks at the last 32 tokens only (a sliding window),
- ``mamba``: recurrent, its memory is one state that cannot be cut,
- ``qwen2vl``: M-RoPE, where a picture takes fewer positions than tokens.

The eyes have the projector ``mlp`` (64 tokens for any picture), ``qwen2vl_merger`` (a token for
each 16x16 pixels, at least eight) or ``internvl`` (tiles of 16 tokens, and it encodes several at
once). Vocabulary and template are those of ``make_gguf``.
"""

from pathlib import Path

import numpy as np
from make_gguf import TEMPLATE, Array, add_vocabulary, finish, make_vocabulary, write_eyes

WIDTH, LAYERS, HEADS, FEED, WINDOW = 64, 2, 4, 96, 32
STATE, INNER, RANK, KERNEL = 8, 2 * WIDTH, 4, 4  # of a recurrent layer
VISION_WIDTH, VISION_FEED, IMAGE, PATCH = 32, 48, 64, 8
SECTIONS = (2, 3, 3, 0)  # of a head's 8 pairs: time, height, width


def make_text_model(path: Path, architecture: str, *, trained_on: int = 4096) -> Path:
    """Write a text model to ``path`` and return it."""
    import gguf

    tokens, types, merges = make_vocabulary()
    out = gguf.GGUFWriter(path, architecture)
    out.add_name(f"odd {architecture}")
    out.add_context_length(trained_on)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_feed_forward_length(0 if architecture == "mamba" else FEED)
    if architecture == "mamba":
        out.add_ssm_conv_kernel(KERNEL)
        out.add_ssm_inner_size(INNER)
        out.add_ssm_state_size(STATE)
        out.add_ssm_time_step_rank(RANK)
    else:
        out.add_head_count(HEADS)
        out.add_head_count_kv(HEADS)
        out.add_rope_freq_base(10000.0)
    if architecture == "gemma2":
        out.add_sliding_window(WINDOW)
    if architecture == "qwen2vl":
        out.add_rope_dimension_sections(list(SECTIONS))
    add_vocabulary(out, tokens, types, merges)
    out.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(7)
    spread = 0.2 if architecture == "gemma2" else 1.0  # which multiplies it by 8 itself
    tensors = {
        "token_embd.weight": _random(rng, len(tokens), WIDTH, spread=spread),
        "output_norm.weight": _ones(WIDTH),
    }
    if architecture != "gemma2":  # its embedding is its output
        tensors["output.weight"] = _random(rng, len(tokens), WIDTH)
    for layer in range(LAYERS):
        made = _recurrent(rng) if architecture == "mamba" else _attending(rng, architecture)
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in made.items()}
    for name, tensor in tensors.items():
        out.add_tensor(name, tensor)
    finish(out)
    return path


def _attending(rng: np.random.Generator, architecture: str) -> dict[str, Array]:
    tensors = {
        "attn_norm.weight": _ones(WIDTH),
        "ffn_norm.weight": _ones(WIDTH),
        "ffn_gate.weight": _random(rng, FEED, WIDTH),
        "ffn_up.weight": _random(rng, FEED, WIDTH),
        "ffn_down.weight": _random(rng, WIDTH, FEED),
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensors[f"{name}.weight"] = _random(rng, WIDTH, WIDTH)
    if architecture == "gemma2":
        tensors["post_attention_norm.weight"] = _ones(WIDTH)
        tensors["post_ffw_norm.weight"] = _ones(WIDTH)
    else:
        for name in ("attn_q", "attn_k", "attn_v"):
            tensors[f"{name}.bias"] = _random(rng, WIDTH)
    return tensors


def _recurrent(rng: np.random.Generator) -> dict[str, Array]:
    return {
        "attn_norm.weight": _ones(WIDTH),
        "ssm_in.weight": _random(rng, 2 * INNER, WIDTH),
        "ssm_conv1d.weight": _random(rng, INNER, KERNEL, spread=0.5),
        "ssm_conv1d.bias": _random(rng, INNER),
        "ssm_x.weight": _random(rng, RANK + 2 * STATE, INNER),
        "ssm_dt.weight": _random(rng, INNER, RANK),
        "ssm_dt.bias": _random(rng, INNER) - 3.0,  # small steps: a long memory
        "ssm_a": -np.exp(_random(rng, INNER, STATE)),
        "ssm_d": _ones(INNER),
        "ssm_out.weight": _random(rng, WIDTH, INNER),
    }


def make_projector(path: Path, projector: str) -> Path:
    """Write eyes whose projector is one of the three to ``path`` and return it."""
    sizes = {
        "image_size": IMAGE,
        "patch_size": PATCH,
        "embedding_length": VISION_WIDTH,
        "feed_forward_length": VISION_FEED,
        "projection_dim": WIDTH,
        "attention.head_count": 2,
        "block_count": LAYERS,
    }
    if projector == "internvl":
        sizes["projector.scale_factor"] = 2
    name, tensors = f"odd eyes, {projector}", _vision_tensors(projector)
    return write_eyes(path, name, sizes, tensors, projector=projector)


def _vision_tensors(projector: str) -> dict[str, Array]:
    rng = np.random.default_rng(8)
    joined = VISION_WIDTH * (1 if projector == "mlp" else 4)  # 2x2 patches become one token
    first, second = ("model.mlp.1", "model.mlp.3") if projector == "internvl" else ("0", "2")
    tensors = {
        "v.patch_embd.weight": _random(rng, VISION_WIDTH, 3, PATCH, PATCH),
        f"mm.{first}.weight": _random(rng, joined, joined),
        f"mm.{first}.bias": _random(rng, joined),
        f"mm.{second}.weight": _random(rng, WIDTH, joined),
        f"mm.{second}.bias": _random(rng, WIDTH),
    }
    patches = (IMAGE // PATCH) ** 2
    if projector == "qwen2vl_merger":
        tensors["v.patch_embd.weight.1"] = _random(rng, VISION_WIDTH, 3, PATCH, PATCH)
    elif projector == "mlp":
        tensors["v.position_embd.weight"] = _random(rng, patches, VISION_WIDTH)
    else:
        tensors["v.class_embd"] = _random(rng, VISION_WIDTH)
        tensors["v.position_embd.weight"] = _random(rng, patches + 1, VISION_WIDTH)
        tensors["mm.model.mlp.0.weight"] = _ones(joined)
        tensors["mm.model.mlp.0.bias"] = _random(rng, joined)
    norms = ["v.post_ln" if projector == "qwen2vl_merger" else "v.pre_ln"]
    norms += [f"v.blk.{n}.{norm}" for n in range(LAYERS) for norm in ("ln1", "ln2")]
    for name in norms:
        tensors[f"{name}.weight"] = _ones(VISION_WIDTH)
        tensors[f"{name}.bias"] = _random(rng, VISION_WIDTH)
    shapes = dict.fromkeys(
        ("attn_q", "attn_k", "attn_v", "attn_out"), (VISION_WIDTH, VISION_WIDTH)
    ) | {"ffn_up": (VISION_FEED, VISION_WIDTH), "ffn_down": (VISION_WIDTH, VISION_FEED)}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            tensors[f"v.blk.{layer}.{name}.weight"] = _random(rng, *shape)
            tensors[f"v.blk.{layer}.{name}.bias"] = _random(rng, shape[0])
    return tensors


def _random(rng: np.random.Generator, *shape: int, spread: float = 0.2) -> Array:
    return (rng.standard_normal(shape) * spread).astype(np.float32)


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)
