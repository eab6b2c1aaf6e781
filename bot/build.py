"""Every part of a bot, made once from the settings.

The one place that knows which class stands behind which seam. What is slow to start (Redis, the
encoders, the model) is started side by side.
"""

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from bot.beside import Beside
from bot.captioner import Captioner
from bot.compose import Prompts
from bot.settings import Settings
from bot.summariser import Summariser
from memory.lifetimes import Lifetimes
from memory.redis_history import RedisHistory
from prompts import load_prompt
from retrievers.evidence import Line
from retrievers.imaging import DecodedPicture
from retrievers.library import Library

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bot.turn_state import Parts
    from retrievers.encoders import Encoder
    from retrievers.ingest.pipeline import Ingestor
    from retrievers.picture import PictureRetriever
    from retrievers.text import TextRetriever


@dataclass(frozen=True)
class Engines:
    """What bots of several libraries and tenants share: the encoders and the model."""

    text: "Encoder"
    look: "Encoder"
    model: "BaseChatModel"
    model_name: str


@dataclass(frozen=True)
class Shelf:
    """A library with its retrievers; what several tenants may share."""

    library: Library
    text: "TextRetriever"
    pictures: "PictureRetriever"


async def build(settings: Settings, stack: AsyncExitStack) -> "Parts":
    """Return the parts; closing ``stack`` gives them back.

    Raises one of ``bot.errors.KNOWN_ERRORS`` for a setting that cannot be used, a library that is
    not there or was made with other encoders, a Redis or a model that cannot be reached.
    """
    library = stack.enter_context(Library.open(settings.library))
    opened = await open_shared(settings, stack, library)
    return assemble(settings, *opened, stack)


async def open_shared(
    settings: Settings, stack: AsyncExitStack, library: Library
) -> tuple[Prompts, Engines, Shelf, RedisHistory]:
    """Return what bots may share, opened side by side, and the shelf of ``library``; closing
    ``stack`` gives it back. Raises as :func:`build` does."""
    prompts = load_prompts(settings)
    opening = asyncio.create_task(open_history(settings))
    try:
        engines = await asyncio.to_thread(load_engines, settings, stack, library)
        shelf = await asyncio.to_thread(open_shelf, settings, library, engines)
    except BaseException:
        (opened,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(opened, RedisHistory):
            await opened.aclose()
        raise
    history = await opening
    stack.push_async_callback(history.aclose)
    return prompts, engines, shelf, history


def load_engines(settings: Settings, stack: AsyncExitStack, library: Library) -> Engines:
    """Load the encoders, check that ``library`` was made with them, and load the model: work for a
    thread. Closing ``stack`` ends the model."""
    text, look = load_encoders(settings)
    library.claim("text", text)
    library.claim("look", look)
    model, name = load_writer(settings)
    if hasattr(model, "close"):
        stack.callback(model.close)
    return Engines(text, look, model, name)


def open_shelf(settings: Settings, library: Library, engines: Engines) -> Shelf:
    """Return a library with its retrievers, its indexes loaded: work for a thread.

    Raises ``EncoderMismatch`` when it was made with other encoders.
    """
    from retrievers.picture import PictureRetriever
    from retrievers.text import TextRetriever

    library.claim("text", engines.text)
    library.claim("look", engines.look)
    options: dict[str, Any] = {
        "distance": settings.distance,
        "text_encoder": engines.text,
        "picture_encoder": engines.look,
        "candidates": settings.candidates,
        "fusion": settings.fusion,
        "weights": settings.weights,
    }
    texts = TextRetriever(library, **options)
    pictures = PictureRetriever(library, **options)
    for index in (texts.index, pictures.words_index, pictures.look_index):
        index.refresh()  # now, not in the first turn
    return Shelf(library, texts, pictures)


def assemble(
    settings: Settings,
    prompts: Prompts,
    engines: Engines,
    shelf: Shelf,
    history: RedisHistory,
    stack: AsyncExitStack,
) -> "Parts":
    """Return the parts of one tenant's bot over one library; closing ``stack`` ends what it does
    beside its turns."""
    from bot.models.choose import capabilities
    from bot.turn_state import Parts
    from retrievers.fusion import default_weights

    beside = Beside()
    stack.push_async_callback(beside.aclose)
    return Parts(
        settings=settings,
        history=history,
        library=shelf.library,
        text_encoder=engines.text,
        picture_encoder=engines.look,
        text_retriever=shelf.text,
        picture_retriever=shelf.pictures,
        weigh=partial(default_weights, engines.text, engines.look),
        read_words=QueryPictureReader(),
        model=engines.model,
        model_name=engines.model_name,
        capabilities=capabilities(engines.model),
        prompts=prompts,
        condense=load_prompt("condense", settings.prompts),
        summary=load_prompt("summary", settings.prompts),
        summarise=load_prompt("summarise", settings.prompts),
        caption=load_prompt("caption", settings.prompts),
        beside=beside,
        summariser=Summariser(history, beside, settings.summary_seconds),
        captioner=Captioner(history, beside, settings.caption_seconds, settings.captions_ttl),
    )


class QueryPictureReader:
    """Reads the writing in pictures that people send; what was read lately is kept by hash."""

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._read: OrderedDict[str, tuple[Line, ...]] = OrderedDict()

    def __call__(self, picture: DecodedPicture) -> tuple[Line, ...]:
        """Return the lines of writing in ``picture``; runs OCR, for seconds, the first time."""
        from retrievers.ingest.ocr import read_query_picture

        if (known := self._read.get(picture.sha256)) is not None:
            return known
        _, lines = read_query_picture(picture.image)
        self._read[picture.sha256] = lines
        while len(self._read) > self._keep:
            self._read.popitem(last=False)
        return lines

    def clear(self) -> None:
        """Forget what was read."""
        self._read.clear()


def engine_cache() -> Path:
    """Return the folder in which local models keep what they have read."""
    return user_cache_path("bifocal") / "engine"


def load_writer(settings: Settings) -> "tuple[BaseChatModel, str]":
    """Return the model that the settings name, and what it is called where they say ``auto``."""
    from bot.models.choose import load_model, pick

    options = dict(settings.model_options)
    if settings.model_sees_pictures is not None:
        options["pictures"] = settings.model_sees_pictures
    name, _ = pick(settings.model, settings.models)
    model = load_model(
        name,
        models=settings.models,
        context_tokens=settings.context_tokens,
        max_tokens=settings.answer_tokens,
        base_url=settings.model_url,
        api_key=settings.model_key,
        options=options,
        local={
            "tenant": settings.tenant,
            "seconds": settings.answer_seconds,
            "cache": engine_cache(),
        },
    )
    return model, name


def load_prompts(settings: Settings) -> Prompts:
    """Return the prompts of a turn, checked."""
    return Prompts(
        answer=load_prompt("answer", settings.prompts),
        question=load_prompt("question", settings.prompts),
        source=load_prompt("source", settings.prompts),
    )


def load_encoders(settings: Settings) -> "tuple[Encoder, Encoder]":
    """Return the text and the picture encoder; one model serves both where they are the same."""
    from retrievers.encoders.registry import load_encoder

    text = load_encoder(settings.text_encoder)
    if settings.picture_encoder == settings.text_encoder:
        return text, text
    return text, load_encoder(settings.picture_encoder)


async def open_history(settings: Settings) -> RedisHistory:
    """Return the conversations: in the Redis of the settings, or in a private one."""
    return await RedisHistory.open(
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        folder=settings.library.expanduser().absolute() / "redis",
        tenant=settings.tenant,
        fsync=settings.redis_fsync,
        remember=settings.idempotency_seconds,
        lifetimes=Lifetimes(settings.pictures_ttl, settings.captions_ttl, settings.turns_ttl),
    )


def ingestor(settings: Settings, library: Library) -> "Ingestor":
    """Return what takes files into the library, with the encoders of the settings."""
    from retrievers.ingest.pipeline import Ingestor

    text, look = load_encoders(settings)
    return Ingestor(library, text, look, workers=settings.ingest_workers)
