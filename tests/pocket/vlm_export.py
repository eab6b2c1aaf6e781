"""The pocket vision-language model as GGUF files for llama.cpp, and back into ``transformers``.

``export`` writes ``pocket-q8_0.gguf``, ``pocket-q4_0.gguf`` and ``mmproj-pocket.gguf``.
``load_reference`` makes the torch model of the very weights that stand in those files, so that both
can be compared answer by answer; ``load_tokenizer`` its tokenizer. Knows nothing of training.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from make_gguf import CONTROL, NORMAL, TEMPLATE, VISION_PARTS, finish, write_eyes
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer
from vlm_draw import SIDE
from vlm_model import LAYERS_RUN, PATCH, make_model
from vlm_tokens import END, PAD, PICTURE, SPECIALS, new_tokenizer, token_id

PROJECTOR = "mmproj-pocket.gguf"
TEXTS = {"q8_0": Type.Q8_0, "q4_0": Type.Q4_0}
TRAINED_ON = 4096  #: tokens that the file admits; dialogues of at most 640 were trained on

#: llama.cpp's name of each part of a text layer, and torch's
_TEXT_PARTS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def names_of(model: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return GGUF's names of the text's and the vision's tensors with torch's names."""
    states = set(model.state_dict())
    tower = "model.vision_tower."
    if f"{tower}vision_model.embeddings.position_embedding.weight" in states:
        tower += "vision_model."
    text = {
        "token_embd.weight": "model.language_model.embed_tokens.weight",
        "output_norm.weight": "model.language_model.norm.weight",
    }
    vision = {
        "v.patch_embd.weight": f"{tower}embeddings.patch_embedding.weight",
        "v.patch_embd.bias": f"{tower}embeddings.patch_embedding.bias",
        "v.position_embd.weight": f"{tower}embeddings.position_embedding.weight",
    }
    for end in ("weight", "bias"):
        for n in range(model.config.text_config.num_hidden_layers):
            for ours, theirs in _TEXT_PARTS.items():
                text[f"blk.{n}.{ours}.{end}"] = f"model.language_model.layers.{n}.{theirs}.{end}"
        for n in range(LAYERS_RUN + 1):
            for ours, theirs in VISION_PARTS.items():
                vision[f"v.blk.{n}.{ours}.{end}"] = f"{tower}encoder.layers.{n}.{theirs}.{end}"
        vision[f"mm.0.{end}"] = f"model.multi_modal_projector.linear_1.{end}"
        vision[f"mm.2.{end}"] = f"model.multi_modal_projector.linear_2.{end}"
    return (
        {ours: theirs for ours, theirs in text.items() if theirs in states},
        {ours: theirs for ours, theirs in vision.items() if theirs in states},
    )


def export(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, type_ in TEXTS.items():
        _write_text(model, tokenizer, folder / f"pocket-{name}.gguf", type_)
    _write_projector(model, folder / PROJECTOR)


def _write_text(model: Any, tokenizer: Tokenizer, path: Path, type_: Type) -> None:
    config = model.config.text_config
    out = gguf.GGUFWriter(path, "qwen2")
    out.add_name(path.stem)
    out.add_license("Apache-2.0")
    out.add_context_length(TRAINED_ON)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_file_type({Type.Q8_0: 7, Type.Q4_0: 2}[type_])
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    tokens = [str(tokenizer.id_to_token(n)) for n in range(tokenizer.get_vocab_size())]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("llama-bpe")
    out.add_token_list(tokens)
    out.add_token_types([CONTROL if token in SPECIALS else NORMAL for token in tokens])
    out.add_token_merges(_merges(tokenizer))
    out.add_eos_token_id(tokens.index(END))
    out.add_pad_token_id(tokens.index(PAD))
    out.add_add_bos_token(False)
    out.add_chat_template(TEMPLATE)
    for ours, tensor in _tensors(model, names_of(model)[0]).items():
        if tensor.ndim == 1:
            out.add_tensor(ours, tensor)
        else:  # the embeddings, which are the output layer too, stay at eight bits
            to = Type.Q8_0 if ours == "token_embd.weight" else type_
            out.add_tensor(ours, gguf.quants.quantize(tensor, to), raw_dtype=to)
    finish(out)


def _merges(tokenizer: Tokenizer) -> list[str]:
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in found]


def _write_projector(model: Any, path: Path) -> None:
    config = model.config.vision_config
    sizes = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "projection_dim": model.config.text_config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        "block_count": LAYERS_RUN + 1,
    }
    write_eyes(
        path,
        "pocket eyes",
        sizes,
        _tensors(model, names_of(model)[1]),
        epsilon=config.layer_norm_eps,
        licence="Apache-2.0",
    )


def _tensors(model: Any, names: dict[str, str]) -> dict[str, NDArray[np.float32]]:
    state = model.state_dict()
    return {ours: state[theirs].float().numpy() for ours, theirs in names.items()}


def load_tokenizer(text: Path) -> Tokenizer:
    """Return the tokenizer that stands in a text model's file."""
    fields = gguf.GGUFReader(text).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    pairs = (m.partition(" ") for m in fields["tokenizer.ggml.merges"].contents())
    merges = [(left, right) for left, _, right in pairs]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = new_tokenizer(vocabulary, merges)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    return tokenizer


def load_reference(text: Path, projector: Path) -> Any:
    """Return the ``transformers`` model of the weights in the files, as float32."""
    tokenizer = load_tokenizer(text)
    model = make_model(
        tokenizer.get_vocab_size(), token_id(tokenizer, PICTURE), token_id(tokenizer, END)
    )
    state = model.state_dict()
    for path, names in zip((text, projector), names_of(model), strict=True):
        for tensor in gguf.GGUFReader(path).tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            target = state[names[tensor.name]]
            target.copy_(torch.from_numpy(values.astype(np.float32)).view_as(target))
    return model.eval()
