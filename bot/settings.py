"""Settings: one frozen value, made from a TOML file, the environment and keyword arguments.

Knows nothing of what the settings are used for. :meth:`Settings.load` reads only the environment
and the file that it is given; :meth:`Settings.usual` gives it the person's own. Later wins: file,
environment (``BIFOCAL_MODEL`` sets ``model``), keywords.
"""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_config_path, user_data_path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from bot.channels.settings import DiscordSettings, SlackSettings, WebhookSettings
from bot.errors import SettingsError
from bot.models.store import usual_folder
from bot.service.settings import ServeSettings
from retrievers.fusion import FUSIONS, RUNS

PREFIX = "BIFOCAL_"
CONFIG = "BIFOCAL_CONFIG"
#: Where a served bot is, and the key to it: not settings of a bot in this process
SERVED = ("BIFOCAL_URL", "BIFOCAL_KEY", "BIFOCAL_ALLOW_HTTP")


class Settings(BaseModel):
    """Everything that can be chosen. Unknown names are refused, with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    library: Path = Field(default_factory=lambda: user_data_path("bifocal") / "library")
    """Folder of the index: what was ingested, its pictures, and (without ``redis_url``) the
    conversations. In the user's data folder unless set."""
    model: str = "auto"
    """Who writes the answer: ``auto`` (the local model that there is, else ``extractive``),
    ``extractive``, ``llama:NAME``, ``llama:MODEL.gguf`` or ``provider:model``."""
    models: Path = Field(default_factory=usual_folder)
    """Folder of the local models that have a name, as ``bifocal models`` lists them."""
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
    summary_chars: int = Field(default=2000, ge=200, le=100_000)
    """Characters of the summary that stands for turns that are not put before the model."""
    summary_seconds: float = Field(default=60, gt=0)
    """Seconds that the model may take to write it, between answers; after that the turns' own
    sentences are the summary."""
    caption_seconds: float = Field(default=30, ge=0)
    """Seconds that a model which sees pictures may take, between answers, for the caption of one
    that came without words; with 0 none are written."""
    condense_seconds: float = Field(default=1.0, ge=0)
    """Seconds that the model may take to make a follow-up question stand alone; after that, and
    with 0 always, the words of earlier turns do."""
    question_chars: int = Field(default=8000, ge=1)
    """Characters of a question at most; longer ones are refused."""
    pictures_per_turn: int = Field(default=8, ge=0, le=64)
    redis_url: SecretStr | None = None
    """``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or ``redis+cluster://`` (see
    docs/redis.md); without it a private Redis is started."""
    redis_fsync: Literal["everysec", "always"] = "everysec"
    """When the private Redis writes to disk: with ``everysec`` a power cut may take the last
    second, with ``always`` nothing that was answered."""
    busy_seconds: float = Field(default=30, ge=0)
    """Seconds that a turn waits for another one of its conversation, before it is refused."""
    idempotency_seconds: float = Field(default=86_400, ge=1)
    """Seconds for which a question with an idempotency key is known: a day."""
    turns_ttl: float | None = Field(default=None, gt=0, le=1e10)
    """How long turns are kept after they were said, in seconds or as ``30d``, ``12h``, ``5m``; for
    ever unless set. Handles of pictures live with their turns."""
    captions_ttl: float | None = Field(default=None, gt=0, le=1e10)
    """How long captions of pictures are kept after they were sent."""
    pictures_ttl: float | None = Field(default=None, gt=0, le=1e10)
    """How long the pixels of pictures are kept after they were sent; their handles and captions
    stay."""
    tenant: str = "default"
    prompts: Path | None = None
    """A folder whose files replace the prompts of the same name."""
    ingest_workers: int | None = Field(default=None, ge=1, le=256)
    """Processes that read files; one a core unless set."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """What ``bifocal serve`` needs: the table ``[serve]``, or ``BIFOCAL_SERVE_PORT`` and so on."""
    slack: SlackSettings = Field(default_factory=SlackSettings)
    """What ``bifocal slack`` needs: the table ``[slack]``, or ``BIFOCAL_SLACK_BOT_TOKEN`` …"""
    discord: DiscordSettings = Field(default_factory=DiscordSettings)
    """What ``bifocal discord`` needs: the table ``[discord]``, or ``BIFOCAL_DISCORD_TOKEN`` …"""
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    """What the webhook of ``bifocal serve`` needs: ``[webhook]``, or ``BIFOCAL_WEBHOOK_SECRET`` …
    """

    @classmethod
    def usual(cls, **given: Any) -> "Settings":
        """Return what the command and ``ChatBot.open`` take: the person's own environment and
        settings file (``BIFOCAL_CONFIG``, or ``bifocal.toml`` in their configuration folder), and
        keywords."""
        named = os.environ.get(CONFIG)
        usual = user_config_path("bifocal") / "bifocal.toml"
        file = Path(named) if named else usual if usual.is_file() else None
        return cls.load(environ=os.environ, file=file, **given)

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
            if not name.startswith(PREFIX) or name in (CONFIG, *SERVED) or value == "":
                continue
            field = name.removeprefix(PREFIX).lower()
            table, _, inner = field.partition("_")
            if table in TABLES and inner:
                _table(values, table)[inner] = _listed(field, value)
            else:
                values[field] = _READ.get(field, str)(value)
        values.update({k: v for k, v in given.items() if v is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_first(error)) from error

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := weights.keys() - RUNS:
            raise ValueError(f"no run is named {min(unknown)}; there are {', '.join(RUNS)}")
        if any(not isfinite(w) or w < 0 for w in weights.values()):
            raise ValueError("each weight must be a number, 0 or more")
        return weights

    @field_validator("turns_ttl", "captions_ttl", "pictures_ttl", mode="before")
    @classmethod
    def _read_lifetime(cls, value: Any) -> Any:
        """Read ``30d``, ``12h``, ``5m`` or ``10s`` as seconds."""
        if not isinstance(value, str):
            return value
        number, unit = value.strip(), 1
        if number[-1:] in _UNITS:
            number, unit = number[:-1], _UNITS[number[-1]]
        try:
            return float(number) * unit
        except ValueError:
            raise ValueError("give seconds, or a number with s, m, h or d: 30d") from None

    @field_validator("fusion")
    @classmethod
    def _check_fusion(cls, fusion: str) -> str:
        if fusion not in FUSIONS:
            raise ValueError(f"there is {', '.join(FUSIONS)}")
        return fusion

    @model_validator(mode="after")
    def _check_tokens(self) -> "Settings":
        if 2 * self.answer_tokens > self.context_tokens:
            raise ValueError(
                f"answer_tokens ({self.answer_tokens}) leaves no room for a prompt in"
                f" context_tokens ({self.context_tokens}); it may be half of it"
            )
        return self


#: Settings that are tables of their own
TABLES: Mapping[str, type[BaseModel]] = {
    "serve": ServeSettings,
    "slack": SlackSettings,
    "discord": DiscordSettings,
    "webhook": WebhookSettings,
}
_LISTS = ("serve_origins", "serve_hosts", "slack_file_hosts", "discord_file_hosts")


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a table in ``values``, which may be written to."""
    given = values.get(name, {})
    if isinstance(given, Mapping):  # else the check of the values says what is wrong
        values[name] = given = dict(given)
    return given if isinstance(given, dict) else {}


def _listed(field: str, value: str) -> str | list[str]:
    return [part.strip() for part in value.split(",")] if field in _LISTS else value


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


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


def _read_options(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(
            'setting model_options: not JSON, such as {"temperature": 0.2}'
        ) from error


_READ: Mapping[str, Callable[[str], Any]] = {
    "weights": _read_weights,
    "model_options": _read_options,
}


def _first(error: ValidationError) -> str:
    from difflib import get_close_matches

    detail = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if not name:
        return f"settings: {message}"
    table = TABLES.get(str(detail["loc"][0]), Settings) if len(detail["loc"]) > 1 else Settings
    if detail["type"] == "extra_forbidden":
        prefix = f"{detail['loc'][0]}." if table is not Settings else ""
        fields = [prefix + field for field in table.model_fields]
        near = get_close_matches(name, fields, n=1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(fields)}"
        return f"setting {name}: unknown; {known}"
    field = table.model_fields.get(str(detail["loc"][table is not Settings]))
    secret = name.startswith("model_options") or (field and "Secret" in str(field.annotation))
    hidden = secret or isinstance(detail["input"], Mapping)  # a table may hold secrets
    shown = "" if hidden else f" {detail['input']!r}"
    return f"setting {name}:{shown} {message[:1].lower()}{message[1:]}"
