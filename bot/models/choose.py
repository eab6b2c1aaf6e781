"""Who writes the answer: a LangChain chat model by its name, and what it can do.

Four forms of name: ``auto``, the local model that there is, else ``extractive``; ``extractive``;
``llama:NAME``, a model that was pulled or added, or ``llama:TEXT.gguf`` or
``llama:TEXT.gguf+PROJECTOR.gguf``; and ``provider:model``, which is LangChain's ``init_chat_model``
(``openai:NAME`` with an address is any OpenAI-compatible server). Knows nothing of settings,
prompts or turns, and imports a model's own packages only when that model is chosen.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from bot.errors import ModelError
from bot.models.catalog import find
from bot.models.explain import NO_KEY, explain, one_line, redact
from bot.models.store import ModelStore, is_name, usual_folder

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

__all__ = ["Capabilities", "capabilities", "explain", "load_model", "pick"]

AUTO, EXTRACTIVE = "auto", "extractive"
FORMS = (
    "extractive, auto, llama:NAME (`bifocal models` lists them), llama:MODEL.gguf,"
    " or provider:model (such as openai:gpt-5)"
)
REMOTE_PICTURES = 8  #: pictures put into one prompt of a model that does not say how many it takes
PICTURE_TOKENS = 1100  #: what one costs there: about a 1024-pixel picture at OpenAI or Anthropic
_NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do.

    ``pictures``: it can be shown pixels, ``max_pictures`` at once, each about ``picture_tokens``.
    ``context_tokens``: prompt and answer together. ``counts_tokens``: its ``get_num_tokens`` is
    exact and local (others may estimate, or fetch a tokenizer). ``reads_evidence``: it takes the
    evidence itself beside the messages.
    """

    pictures: bool
    context_tokens: int
    max_pictures: int
    counts_tokens: bool
    reads_evidence: bool
    picture_tokens: int = 0


def pick(name: str, models: Path | None = None) -> tuple[str, str]:
    """Return the model that ``name`` stands for, and why: itself, or what ``auto`` comes to with
    the local models in the folder ``models`` (the usual one unless given).

    Raises ``ModelError`` for a folder of models that cannot be read.
    """
    if name.strip() != AUTO:
        return name, "set in the settings"
    found, why = ModelStore(models or usual_folder()).choose()
    return (EXTRACTIVE if found is None else f"llama:{found.name}"), why


def load_model(
    name: str,
    *,
    models: Path | None = None,
    context_tokens: int = 4096,
    max_tokens: int = 512,
    base_url: str | None = None,
    api_key: SecretStr | None = None,
    options: Mapping[str, object] = _NONE,
    local: Mapping[str, object] = _NONE,
) -> "BaseChatModel":
    """Return the chat model of that name; a local one is loaded, a remote one is not called.

    ``models`` is the folder of local models with a name (the usual one unless given); their files
    are loaded only if they are still those that were pulled or added. ``context_tokens`` (prompt
    and answer) sizes a local model, and is believed of a remote one that does not say.
    ``max_tokens`` is the longest answer. ``options`` go to the model as they are, but for
    ``pictures`` (bool): whether a remote model takes them, where it does not say. A model of
    ``llama:`` gets what is in ``local`` too, where ``options`` do not say otherwise. With
    ``base_url`` only ``api_key`` is sent to that address, never a key from the environment.

    Raises ``ModelError``, one line, for a name, file, package, key or option that does not do.
    """
    given = dict(options)
    name, _ = pick(name, models)
    kind, colon, rest = name.strip().partition(":")
    if name.strip() == EXTRACTIVE:
        return _extractive(given)
    if not colon or not rest:
        raise ModelError(f"model {name!r}: {_suggest(name.strip())}")
    if kind == "llama":
        store = ModelStore(models or usual_folder())
        verify = partial(store.resolve, rest) if is_name(rest) else None
        if verify is not None:  # before anything of llama.cpp is loaded
            rest = verify()
        from bot.models.llama import LocalVisionChat

        values: dict[str, Any] = {
            "context_tokens": context_tokens,
            "max_tokens": max_tokens,
            **local,
            **given,
        }
        values.pop("pictures", None)  # its projector says
        return LocalVisionChat.open(rest, verify=verify, **values)
    return _remote(kind, rest, context_tokens, max_tokens, base_url, api_key, given)


def capabilities(model: "BaseChatModel") -> Capabilities:
    """Return what ``model`` can do: its own word, or its LangChain profile, or what is safe."""
    if hasattr(model, "reads_evidence"):
        return Capabilities(
            pictures=bool(getattr(model, "pictures", False)),
            context_tokens=int(getattr(model, "context_tokens", 4096)),
            max_pictures=int(getattr(model, "max_pictures", 0)),
            counts_tokens=bool(getattr(model, "counts_tokens", False)),
            reads_evidence=bool(model.reads_evidence),
            picture_tokens=int(getattr(model, "picture_tokens", 0)),
        )
    profile = getattr(model, "profile", None) or {}
    pictures = bool(profile.get("image_inputs", False))
    return Capabilities(
        pictures=pictures,
        context_tokens=int(profile.get("max_input_tokens") or 4096),
        max_pictures=REMOTE_PICTURES if pictures else 0,
        counts_tokens=False,
        reads_evidence=False,
        picture_tokens=PICTURE_TOKENS if pictures else 0,
    )


def _extractive(options: dict[str, object]) -> "BaseChatModel":
    from bot.models.extractive import ExtractiveChat

    options.pop("pictures", None)  # it reads their words
    try:
        model: BaseChatModel = ExtractiveChat(**options)
    except (TypeError, ValueError) as error:
        raise ModelError(f"extractive: {one_line(str(error))}") from error
    return model


def _suggest(name: str) -> str:
    if name.endswith(".gguf") or find(name) is not None:
        return f"did you mean llama:{name}?"
    near = get_close_matches(name.rstrip(":").lower(), [EXTRACTIVE, "llama"], n=1, cutoff=0.5)
    if near == [EXTRACTIVE]:
        return f"did you mean extractive? a model is {FORMS}"
    return f"unknown; a model is {FORMS}"


def _remote(
    provider: str,
    model: str,
    context_tokens: int,
    max_tokens: int,
    base_url: str | None,
    api_key: SecretStr | None,
    options: dict[str, Any],
) -> "BaseChatModel":
    from langchain.chat_models import init_chat_model

    name, pictures = f"{provider}:{model}", options.pop("pictures", None)
    provider = provider.replace("-", "_").lower()
    values: dict[str, Any] = {"max_tokens": max_tokens}
    if base_url is not None:
        values["base_url"] = base_url
        api_key = api_key or SecretStr(NO_KEY)
        if provider == "openai":  # what vLLM and llama-server speak
            values |= {"stream_usage": True, "use_responses_api": False}
    if api_key is not None:
        values["api_key"] = api_key
    try:
        made: BaseChatModel = init_chat_model(model, model_provider=provider, **(values | options))
    except ImportError as error:
        raise ModelError(f"{name}: {_package(error)}") from error
    except Exception as error:  # each integration has its own errors for what it is given
        raise ModelError(_refused(error, name, provider)) from error
    profile: dict[str, Any] = dict(made.profile or {})
    profile.setdefault("max_input_tokens", context_tokens)
    if sys.version_info < (3, 12) and getattr(made, "stream_chunk_timeout", None):
        # it waits with asyncio.wait_for, which before 3.12 can swallow a cancellation
        made.stream_chunk_timeout = options.get("stream_chunk_timeout")  # type: ignore[attr-defined]
    if pictures is not None:
        profile["image_inputs"] = bool(pictures)
    made.profile = profile  # type: ignore[assignment]
    return made


def _package(error: ImportError) -> str:
    found = re.search(r"pip install ([\w.-]+)", str(error))
    return f"needs a package; pip install {found[1]}" if found else one_line(str(error))


def _refused(error: Exception, name: str, provider: str) -> str:
    text = str(error)
    if "nsupported provider" in text:
        known = re.findall(r"\w+", text.partition(" are: ")[2])
        near = get_close_matches(provider, [*known, "llama"], n=1)
        hint = f"did you mean {near[0]}:? " if near else ""
        return f"{name}: unknown provider {provider!r}; {hint}known: {', '.join(sorted(known))}"
    if re.search(r"api_?key|credential", text, re.I):
        return f"{name}: needs a key; give one (model_key), or set the provider's own variable"
    return f"{name}: cannot be set up: {one_line(redact(text, error))}"
