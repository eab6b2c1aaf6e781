"""A FAISS index on disk: written so that a kill at any moment leaves the old or the new one whole,
and read only after its hash was checked.

Knows nothing of libraries or of what the vectors mean. Beside the manifest ``NAME.json`` lies
``NAME.<hash>.faiss``: the index file is written first, under the name of its hash, and renaming
the manifest over the old one is what switches. FAISS is not safe on damaged bytes, so the bytes
that were hashed are the very ones that it is given.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from retrievers.library_media import sync_folder, write_synced

FORMAT = 1
_HASH_CHARS = 16
_STALE_SECONDS = 3600.0


class Refused(Exception):
    """A file that is not there, not whole, or not what was asked for; the message says which."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index file holds, and which state of which library it was made from."""

    library: str
    generation: int
    version: int
    encoder: str
    dimension: int
    count: int
    distance: str
    shape: str
    probes: int
    recall: float
    trained_on: int
    sha256: str = ""
    faiss: str = ""
    format: int = FORMAT


def save(path: Path, index: Any, manifest: Manifest) -> None:
    """Write ``index`` and its manifest at ``path``; ``OSError`` when the disk does not take it."""
    import faiss

    data = faiss.serialize_index(index).tobytes()
    value = asdict(manifest)
    value |= {"sha256": hashlib.sha256(data).hexdigest(), "faiss": faiss.__version__}
    target = _index_path(path, value["sha256"])
    _replace(target, data)
    _replace(path, json.dumps(value, indent=1).encode())
    _drop_others(path, target)


def load(path: Path, distance: str) -> tuple[Any, Manifest]:
    """Return the index at ``path`` and its manifest.

    Raises ``Refused`` when there is none, or anything is not as it was written.
    """
    for attempt in (1, 2, 3):
        manifest = _read_manifest(path)
        try:
            data = _index_path(path, manifest.sha256).read_bytes()
            break
        except FileNotFoundError as error:  # another process may just have replaced it
            if attempt == 3:
                raise Refused("its index file is gone") from error
        except OSError as error:
            raise Refused(f"cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise Refused("its hash is not the one in the manifest")
    import faiss

    try:
        index = faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
    except RuntimeError as error:  # whole, but of another FAISS
        raise Refused("this version of FAISS cannot read it") from error
    metric = faiss.METRIC_INNER_PRODUCT if distance == "cosine" else faiss.METRIC_L2
    wanted = (manifest.count, metric, manifest.distance)
    if not isinstance(index, faiss.IndexIDMap2) or wanted != (
        index.ntotal,
        index.metric_type,
        distance,
    ):
        raise Refused("it holds something else than its manifest says")
    return index, manifest


def _read_manifest(path: Path) -> Manifest:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Refused("there is no file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise Refused("its manifest cannot be read") from error
    kinds = {field.name: field.type for field in fields(Manifest)}
    right = isinstance(value, dict) and value.keys() == kinds.keys()
    if not right or any(type(value[name]) is not kinds[name] for name in kinds):
        raise Refused("its manifest is not one")
    manifest = Manifest(**value)
    if manifest.format != FORMAT:
        raise Refused(f"its manifest is of format {manifest.format}, not {FORMAT}")
    if len(manifest.sha256) != 64 or not set(manifest.sha256) <= set("0123456789abcdef"):
        raise Refused("its manifest names no hash")
    return manifest


def _index_path(path: Path, sha256: str) -> Path:
    return path.with_name(f"{path.stem}.{sha256[:_HASH_CHARS]}.faiss")


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        write_synced(temporary, data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _drop_others(path: Path, kept: Path) -> None:
    """Delete older index files of this name, and what killed writers left an hour ago.

    A file that is younger may be another process's, whose manifest is about to come.
    """
    with contextlib.suppress(OSError):
        named = json.loads(path.read_bytes()).get("sha256", "")
        for other in [
            *path.parent.glob(f"{path.stem}.*.faiss"),
            *path.parent.glob(f".{path.stem}.*.tmp"),
        ]:
            old = other.stat().st_mtime < time.time() - _STALE_SECONDS
            if other not in (kept, _index_path(path, named)) and (old or other.suffix != ".tmp"):
                other.unlink(missing_ok=True)
