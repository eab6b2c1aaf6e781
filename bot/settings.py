"""Settings: one frozen value, made from a TOML file, the environment and keyword arguments.

Knows nothing of what the settings are used for. Both the environment and the file are passed in;
:meth:`Settings.load` reads nothing else. Later wins: file, environment (``BIFOCAL_MODEL`` sets
``model``), keywords.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from bot.errors import SettingsError

PREFIX = "BIFOCAL_"


class Settings(BaseModel):
    """Everything that can be chosen. Unknown names are refused, with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    library: Path = Field(default_factory=lambda: user_data_path("bifocal") / "library")
    """Folder of the index: what was ingested, its pictures, and (without ``redis_url``) the
    conversations. In the user's data folder unless set."""
    model: str = "extractive"
    """Who writes the answer: ``extractive``, ``llama:MODEL.gguf`` or ``provider:model``."""
    model_url: str | None = None
    """Address of an OpenAI-compatible server, for ``openai:NAME``."""
    model_key: SecretStr | None = None
    """Key for that server."""
    model_options: Mapping[str, Any] = Field(default_factory=dict)
    """What else the model takes, as it is: ``{temperature = 0.2}``."""
    model_sees_pictures: bool | None = None
    """Whether the model takes pictures, where it cannot be asked."""
    context_tokens: int = Field(default=8192, ge=512)
    """Tokens that a prompt and its answer may take together, for models that do not say."""
    answer_tokens: int = Field(default=512, ge=16)
    """Tokens an answer may take at most."""
    answer_seconds: float = Field(default=300, gt=0)
    """Seconds that the model may take for an answer."""
    text_encoder: str = "wordllama"
    picture_encoder: str = "descriptor"
    distance: Literal["cosine", "euclidean"] = "cosine"
    fusion: str = "weighted_average"
    """``reciprocal_rank``, ``weighted_average``, ``concatenation`` or ``attention``."""
    weights: Mapping[str, float] = Field(default_factory=dict)
    """Weights of single retrieval runs (``bm25``, ``dense``, ``words``, ``look`` ...) that replace
    the default ones."""
    evidence: int = Field(default=8, ge=1, le=100)
    """Pieces of evidence that the model is given, at most."""
    candidates: int = Field(default=100, ge=1, le=10_000)
    """Candidates that each retrieval run brings into the fusion."""
    pictures_shown: int = Field(default=4, ge=0, le=32)
    """Pictures whose pixels the model is shown in one turn, at most."""
    picture_side: int = Field(default=1024, ge=64, le=4096)
    """Longer side, in pixels, of a picture that the model is shown."""
    history_turns: int = Field(default=8, ge=0, le=1000)
    """Earlier turns that are loaded and may be put before the model."""
    question_chars: int = Field(default=8000, ge=1)
    """Characters of a question at most; longer ones are refused."""
    pictures_per_turn: int = Field(default=8, ge=0, le=64)
    redis_url: SecretStr | None = None
    """``redis://``, ``rediss://`` or ``unix://``; without it a private Redis is started."""
    tenant: str = "default"
    prompts: Path | None = None
    """A folder whose files replace the prompts of the same name."""
    ingest_workers: int | None = Field(default=None, ge=1, le=256)
    """Processes that read files; one a core unless set."""

    @classmethod
    def load(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        **given: Any,
    ) -> "Settings":
        """Return settings from a TOML file, ``BIFOCAL_*`` of ``environ`` and keywords.

        A keyword of ``None`` counts as not given. Raises ``SettingsError`` in one line.
        """
        values: dict[str, Any] = {}
        if file is not None:
            values.update(_read_toml(file))
        for name, value in (environ or {}).items():
            field = name.removeprefix(PREFIX).lower()
            if name.startswith(PREFIX) and field in cls.model_fields and value != "":
                values[field] = _read_weights(value) if field == "weights" else value
        values.update({k: v for k, v in given.items() if v is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_first(error)) from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: no such settings file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: not a readable TOML file ({error})") from error


def _read_weights(text: str) -> dict[str, str]:
    """Read ``bm25=0.8,dense=0.2``; the numbers are checked with all other values."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _first(error: ValidationError) -> str:
    from difflib import get_close_matches

    detail = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(Settings.model_fields)}"
        return f"setting {name}: unknown; {known}"
    secret = Settings.model_fields.get(name)
    shown = "" if secret and "Secret" in str(secret.annotation) else f" {detail['input']!r}"
    return f"setting {name}:{shown} {detail['msg'][:1].lower()}{detail['msg'][1:]}"
