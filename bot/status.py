"""What ``bifocal status`` tells, as a JSON value: the library, its indexes, who writes, and Redis.

Knows nothing of how it is printed.
"""

from pathlib import Path
from typing import Any

from bot.settings import Settings
from retrievers.encoders import Encoder
from retrievers.evidence import Kind
from retrievers.library import Library

NO_CROSS_MODAL = (
    "text finds pictures by their words only (writing in them, captions, metadata, file names and"
    " the prose beside them), not by what they look like: the picture encoder takes no text."
    " Set picture_encoder to a CLIP or SigLIP model (transformers:MODEL) and run `bifocal reencode`"
)


def read_status(settings: Settings) -> dict[str, Any]:
    """Return what is known of the settings' library and writer; starts no model and no Redis."""
    from bot.build import load_encoders
    from retrievers.vectors import VectorIndex

    with Library.open(settings.library) as library:
        text, look = load_encoders(settings)
        counts = library.counts()
        skipped = [s for s in library.sources() if s.state == "skipped"]
        indexes = []
        spaces: tuple[tuple[str, Kind, Encoder], ...] = (
            ("text", "passage", text),
            ("text", "picture", text),
            ("look", "picture", look),
        )
        for space, kind, encoder in spaces:
            if library.space(space) is not None:
                library.claim(space, encoder)
                index = VectorIndex(library, space, kind, distance=settings.distance)
                indexes.append(index.describe())
    cross_modal = "text" in look.modalities
    return {
        "library": str(settings.library.expanduser().absolute()),
        "sources": counts.sources,
        "skipped": len(skipped),
        "passages": counts.passages,
        "pictures": counts.pictures,
        "bytes": counts.bytes,
        "text_encoder": text.name,
        "picture_encoder": look.name,
        "text_finds_pictures": "by looks and by words" if cross_modal else NO_CROSS_MODAL,
        "fusion": settings.fusion,
        "indexes": indexes,
        "writer": _writer(settings),
        "conversations": _redis(settings),
    }


def _writer(settings: Settings) -> str:
    """Tell who writes, and why; files are looked for, not read."""
    from bot.models.choose import pick

    name, why = pick(settings.model, settings.models)
    missing = _missing(name.removeprefix("llama:"), settings) if name.startswith("llama:") else None
    if missing is not None:
        return f"{name}: not usable, {missing}"
    return f"{name}{' (quotes the sources)' if name == 'extractive' else ''}: {why}"


def _missing(rest: str, settings: Settings) -> str | None:
    from bot.models.store import ModelStore, is_name

    if is_name(rest):
        model = ModelStore(settings.models).get(rest)
        if model is None:
            return f"no model {rest} is on this machine; `bifocal models` lists those there are"
        paths = [file.path for file in model.files]
    else:
        paths = rest.split("+")
    gone = next((path for path in paths if not Path(path).expanduser().is_file()), None)
    return None if gone is None else f"{gone} is not there"


def _redis(settings: Settings) -> str:
    if settings.redis_url is None:
        return "a private Redis, started when needed; its data is in the library's folder"
    from memory.connect import shown_url

    return shown_url(settings.redis_url.get_secret_value())
