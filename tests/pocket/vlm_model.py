"""The pocket vision-language model in torch: a ``LlavaForConditionalGeneration`` of 2.4 million.

Its parts are those that llama.cpp runs: a SigLIP tower without a class token (64-pixel pictures,
8-pixel patches, width 128), of whose four layers the last is never run (llama.cpp's ``mlp`` graph
stops at the second to last, and so does ``vision_feature_layer=-2``), two layers of GELU between,
and Qwen2 (width 160, five layers, embeddings tied). Knows nothing of GGUF, of data or training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)
from vlm_draw import SIDE

PATCH = 8
PICTURE_TOKENS = (SIDE // PATCH) ** 2
LAYERS_RUN = 3  #: of the vision tower


def make_model(tokens: int, picture_token: int, end: int) -> Any:
    """Return an untrained model with a vocabulary of ``tokens``.

    ``picture_token`` is the token that pictures take the place of; ``end`` ends an answer.
    """
    vision = SiglipVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=LAYERS_RUN + 1,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=tokens,
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=5,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=4096,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=None,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=picture_token,
        projector_hidden_act="gelu_pytorch_tanh",
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        image_seq_length=PICTURE_TOKENS,
        tie_word_embeddings=True,
    )
    model: Any = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = end
    _ready_to_look_up(model.model.language_model)
    return model


def _ready_to_look_up(text: Any) -> None:
    """Let attention begin as "find what is like me, and copy it", from the second layer on.

    Keys start as queries and outputs as transposed values (Trockman and Kolter 2023,
    "Mimetic Initialization of Self-Attention Layers"). By AdamW and without it no price was looked
    up after 6 million tokens.
    """
    with torch.no_grad():
        for layer in text.layers[1:]:
            attention = layer.self_attn
            nn.init.normal_(attention.q_proj.weight, std=0.08)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.o_proj.weight.copy_(2 * attention.v_proj.weight.T)


def pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """Return (n, 3, 64, 64) float32 in [-1, 1]; what the tower takes."""
    stack = np.stack([np.asarray(p.convert("RGB"), np.float32) for p in pictures])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous() / 127.5 - 1.0


def see(model: Any, seen: Tensor) -> Tensor:
    """Return the tower's features (n, 64, 128) of ``pixels``, as the projector takes them."""
    vision = model.model.vision_tower
    vision = getattr(vision, "vision_model", vision)
    state: Tensor = vision.embeddings(seen)
    for layer in vision.encoder.layers[:LAYERS_RUN]:
        found = layer(state, attention_mask=None)
        state = found[0] if isinstance(found, tuple) else found
    return state
