"""Known faults of llama.cpp, each pinned down so that the day it is mended is noticed."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPVisionConfig, CLIPVisionModel

from bot.models.llama.files import ModelFiles
from bot.models.llama.native import Native
from bot.models.llama.values import Options, Pixels

SIDE, PATCH, WIDTH, HEADS, FEED, TEXT_WIDTH = 64, 16, 64, 2, 128, 384

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def tower() -> Any:
    """A random CLIP vision tower with a class token: two layers, of which llama.cpp runs one."""
    torch.manual_seed(5)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=FEED,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        hidden_act="gelu_pytorch_tanh",
        initializer_range=0.1,
        initializer_factor=1.0,
    )
    model: Any = CLIPVisionModel(config)
    model.eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embedding" in name:
                weight.normal_(std=1.0)
    return getattr(model, "vision_model", model)


@pytest.fixture(scope="module")
def projection() -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The two layers between the tower and the text."""
    torch.manual_seed(6)
    return torch.nn.Linear(WIDTH, TEXT_WIDTH), torch.nn.Linear(TEXT_WIDTH, TEXT_WIDTH)


@pytest.fixture(scope="module")
def picture() -> Pixels:
    """A picture of exactly the size that the tower takes, so that nothing is resized."""
    return Pixels(
        SIDE, SIDE, np.random.default_rng(7).integers(0, 256, SIDE * SIDE * 3, np.uint8).tobytes()
    )


@pytest.fixture(scope="module")
def seen(
    tower: Any,
    projection: tuple[torch.nn.Linear, torch.nn.Linear],
    picture: Pixels,
    pocket: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
) -> Array:
    """What llama.cpp makes of the picture with that tower: 16 rows."""
    folder = tmp_path_factory.mktemp("classy")
    text = pocket.make_text_model(folder / "text.gguf")
    sizes = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED,
        "projection_dim": TEXT_WIDTH,
        "attention.head_count": HEADS,
        "block_count": 2,
    }
    tensors = _tensors(tower, projection, pocket.VISION_PARTS)
    pocket.write_eyes(folder / "mmproj.gguf", "classy", sizes, tensors)
    native = Native.open(
        ModelFiles(text, folder / "mmproj.gguf"), Options(context_tokens=256), threads=1
    )
    try:
        assert native.eyes is not None
        ((rows,),) = native.eyes.encode([picture])
        return rows
    finally:
        native.close()


def test_a_class_token_is_still_read_in_the_wrong_place(
    tower: Any,
    projection: tuple[torch.nn.Linear, torch.nn.Linear],
    picture: Pixels,
    seen: Array,
) -> None:
    """llama.cpp appends the class token after the patches, but numbers them as if it came first.

    When this fails at its last line, upstream has mended it: take the known issue out of
    docs/local-model.md, and let LLaVA 1.5's family into the catalogue.
    """
    with torch.no_grad():
        right = _reference(tower, projection, picture, class_first=True)
        wrong = _reference(tower, projection, picture, class_first=False)
    assert _difference(seen, wrong) < 0.01
    assert _difference(seen, right) > 0.1


def _difference(found: Array, wanted: torch.Tensor) -> float:
    reference = wanted.numpy()
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def _reference(
    tower: Any,
    projection: tuple[torch.nn.Linear, torch.nn.Linear],
    picture: Pixels,
    *,
    class_first: bool,
) -> torch.Tensor:
    """Return the rows (16, width of the text) with the class token first, or after the patches."""
    raw = np.frombuffer(picture.data, np.uint8).reshape(SIDE, SIDE, 3)
    pixels = torch.from_numpy(raw.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1.0
    embeddings = tower.embeddings
    patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    token = embeddings.class_embedding.view(1, 1, -1)
    parts = [token, patches] if class_first else [patches, token]
    state = torch.cat(parts, 1) + embeddings.position_embedding.weight[None]
    state = tower.pre_layrnorm(state)
    found = tower.encoder.layers[0](state, attention_mask=None)
    state = (found[0] if isinstance(found, tuple) else found)[0, 1:]  # without the first row
    first, second = projection
    rows: torch.Tensor = second(torch.nn.functional.gelu(first(state), approximate="tanh"))
    return rows


def _tensors(
    tower: Any, projection: tuple[torch.nn.Linear, torch.nn.Linear], parts: Mapping[str, str]
) -> dict[str, Array]:
    names = {
        "v.class_embd": "embeddings.class_embedding",
        "v.patch_embd.weight": "embeddings.patch_embedding.weight",
        "v.position_embd.weight": "embeddings.position_embedding.weight",
    }
    for end in ("weight", "bias"):
        names[f"v.pre_ln.{end}"] = f"pre_layrnorm.{end}"
        for n in range(2):
            for ours, theirs in parts.items():
                names[f"v.blk.{n}.{ours}.{end}"] = f"encoder.layers.{n}.{theirs}.{end}"
    state = tower.state_dict()
    tensors = {ours: state[theirs] for ours, theirs in names.items()}
    for n, layer in zip((0, 2), projection, strict=True):
        tensors |= {f"mm.{n}.weight": layer.weight, f"mm.{n}.bias": layer.bias}
    return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
