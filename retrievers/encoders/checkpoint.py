"""A model's folder before any of it is loaded: where it is, whether it is safe, what it says.

A hub name becomes a folder of the local cache. Only safetensors weights are accepted (a pickle can
run code), and the folder's fingerprint tells one set of weights from another. Knows nothing of
torch; the sentence-transformers files are read here, not interpreted.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrievers.errors import EncoderError

INDEX = "model.safetensors.index.json"
SMALL_FILES = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
UNWANTED = ["onnx/*", "openvino/*", "coreml/*", "*/onnx/*", "*/openvino/*"]
BACKBONES = ("Transformer", "CLIPModel")  # the first step of a sentence model
SAMPLE = 64 * 1024
SAMPLES = 64
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class SentenceModule:
    """One step of a sentence model: its ``kind`` (``Pooling``, ``Dense`` ...), folder, settings."""

    kind: str
    folder: Path
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's folder. ``label`` names it for people, ``fingerprint`` tells its weights apart.

    ``weights`` is the folder that holds ``config.json`` and the weights of the transformer.
    """

    label: str
    folder: Path
    weights: Path
    fingerprint: str
    steps: tuple[SentenceModule, ...]
    prompts: dict[str, str]
    max_tokens: int | None


def find_checkpoint(model: str, *, local_files_only: bool = False) -> Checkpoint:
    """Return the checkpoint of a folder or a hub name.

    A hub name is looked for in the local cache first, and fetched if it is not there and
    ``local_files_only`` is false. Raises ``EncoderError`` when there is none, it has no config, or
    its weights are not safetensors.
    """
    folder = Path(model).expanduser()
    label = model
    if folder.is_dir():
        label = folder.resolve().name
    elif _HUB_NAME.fullmatch(model):
        folder = _from_hub(model, local_files_only=local_files_only)
    else:
        raise EncoderError(
            f"transformers:{model}: there is no such folder, and it is not a hub name either"
            " (OWNER/NAME)"
        )
    modules = _sentence_modules(folder, label)
    first = modules[0].folder if modules and modules[0].kind in BACKBONES else folder
    files = _weight_files(first, label)
    sentence = read_json(folder / "config_sentence_transformers.json")
    default = sentence.get("default_prompt_name")
    prompts = {str(k): str(v) for k, v in (sentence.get("prompts") or {}).items()}
    if default in prompts:
        prompts["default"] = prompts[default]
    limit = read_json(first / "sentence_bert_config.json").get("max_seq_length")
    return Checkpoint(
        label=label,
        folder=folder,
        weights=first,
        fingerprint=_fingerprint(folder, first, modules, files),
        steps=tuple(step for step in modules if step.kind not in BACKBONES),
        prompts=prompts,
        max_tokens=limit if isinstance(limit, int) and limit > 0 else None,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, or an empty one when there is no such file."""
    found = _json(path)
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path}: not readable as JSON ({error}); fetch it again") from error


def _from_hub(model: str, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    def snapshot(*, local: bool) -> Path:
        return Path(
            snapshot_download(
                model,
                allow_patterns=WANTED,
                ignore_patterns=UNWANTED,
                local_files_only=local,
            )
        )

    try:
        kept = snapshot(local=True)
        if any(kept.rglob("*.safetensors")):
            return kept
    except Exception as error:  # not in the cache; the hub's own errors share no base
        missing: Exception | None = error
    else:
        missing = None
    if not local_files_only:
        try:
            return snapshot(local=False)
        except Exception as error:  # refused, offline, or no such model
            missing = error
    raise EncoderError(
        f"transformers:{model}: no such folder, not in the local cache, and not fetched"
        f" ({first_line(missing) if missing else 'only part of it is there'}); check the name and"
        " the network, or give a folder that holds the model"
    ) from missing


def first_line(error: BaseException, most: int = 160) -> str:
    """Return the beginning of an error's message, on one line."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else type(error).__name__
    return text if len(text) <= most else text[: most - 1] + "…"


def _sentence_modules(folder: Path, label: str) -> tuple[SentenceModule, ...]:
    listed = _json(folder / "modules.json")
    if not isinstance(listed, list):
        return ()
    found = []
    for entry in listed:
        path = _inside(folder, str(entry.get("path", "")), label)
        kind = str(entry.get("type", "")).rpartition(".")[2]
        found.append(SentenceModule(kind, path, read_json(path / "config.json")))
    return tuple(found)


def _inside(folder: Path, name: str, label: str) -> Path:
    """Return ``folder/name``; a name that leads out of the folder is refused."""
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts:
        raise EncoderError(f"transformers:{label}: the file name {name!r} leads out of its folder")
    return folder / name


def _weight_files(folder: Path, label: str) -> tuple[Path, ...]:
    """Return the safetensors files; an error says what is there instead."""
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"transformers:{label}: no config.json in {folder}; give the folder that holds the"
            " model"
        )
    if (folder / INDEX).is_file():
        names = sorted(set(map(str, (read_json(folder / INDEX).get("weight_map") or {}).values())))
        files = tuple(_inside(folder, name, label) for name in names)
    else:
        files = (folder / "model.safetensors",)
    absent = [file.name for file in files if not file.is_file()]
    if not absent and files:
        return files
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    if pickled:
        raise EncoderError(
            f"transformers:{label}: only pickled weights ({pickled[0]}), which can run code; use a"
            " version of the model with model.safetensors, or convert it with save_pretrained"
        )
    raise EncoderError(
        f"transformers:{label}: {', '.join(absent) or 'model.safetensors'} is missing in {folder};"
        " fetch the model again"
    )


def _fingerprint(
    folder: Path, first: Path, modules: tuple[SentenceModule, ...], files: tuple[Path, ...]
) -> str:
    """Return 12 hex digits over the settings, the tokenizer and samples of the weights.

    Reads at most 4 MB of each file of weights, so it takes the same time for every model. It
    tells models apart; it does not prove that nobody tampered with them.
    """
    digest = hashlib.sha256()
    small = [root / name for root in dict.fromkeys((folder, first)) for name in SMALL_FILES]
    for step in modules:
        small.append(step.folder / "config.json")
        files += tuple(sorted(step.folder.glob("*.safetensors"))) if step.folder != first else ()
    for path in dict.fromkeys(small):
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for path in files:
        for piece in _samples(path):
            digest.update(piece)
    return digest.hexdigest()[:12]


def _samples(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield f"{path.name} {size}".encode()
    with path.open("rb") as file:
        if size <= SAMPLE * SAMPLES:
            yield file.read()
            return
        for number in range(SAMPLES):
            file.seek(number * (size - SAMPLE) // (SAMPLES - 1))
            yield file.read(SAMPLE)
