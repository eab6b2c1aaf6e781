"""The local model as a LangChain ``BaseChatModel``: messages in, text as it comes out.

Joins the parts of this package; knows nothing of native code, evidence or conversations.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from bot.errors import ModelError
from bot.models.llama.content import read_messages
from bot.models.llama.engine import Engine, Outcome, Request
from bot.models.llama.files import parse_files
from bot.models.llama.native import Sampling

_MOST_PICTURES = 16
_SETTINGS = ("temperature", "top_p", "top_k", "seed", "max_tokens")

Item = str | Outcome | None  # text, how it went, or: the work has ended


class LocalVisionChat(BaseChatModel):
    """A GGUF model, with or without eyes. Make one with :meth:`open`, end it with :meth:`close`.

    ``stop``, ``seed``, ``temperature``, ``top_p``, ``top_k`` and ``max_tokens`` may be given with
    any call; the fields are what holds otherwise. ``temperature`` 0 always gives the same answer.
    Safe from any number of threads and tasks; answers are written one after another.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine = Field(exclude=True, repr=False)
    model_name: str
    max_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(40, ge=0)
    seed: int | None = Field(None, ge=0)

    @classmethod
    def open(
        cls,
        files: str,
        *,
        context_tokens: int = 4096,
        threads: int | None = None,
        gpu_layers: int | None = None,
        batch: int = 512,
        **settings: Any,
    ) -> "LocalVisionChat":
        """Load ``TEXT.gguf`` or ``TEXT.gguf+PROJECTOR.gguf``; ``settings`` are this class's fields.

        ``context_tokens`` is the prompt and the answer together, at most what the model was trained
        on. ``threads`` None: as many as the process may use. ``gpu_layers`` None: all with a GPU
        build, else none. Raises ``ModelError`` for files and values that cannot be used.
        """
        for name, value in (("context_tokens", context_tokens), ("batch", batch)):
            if value < 1:
                raise ModelError(f"{name} is {value}; it must be at least 1")
        _known(settings)
        found = parse_files(files)
        engine = Engine.open(
            found, context=context_tokens, threads=threads, gpu_layers=gpu_layers, batch=batch
        )
        try:
            return cls(engine=engine, model_name=found.text.stem, **settings)
        except ValueError as error:
            engine.close()
            raise ModelError(f"llama: {_first_line(error)}") from error

    def close(self) -> None:
        """Stop what is being written and free the model; safe to call twice."""
        self.engine.close()

    # what it can do: see bot.models.choose.capabilities

    @property
    def pictures(self) -> bool:
        """Whether pictures can be shown to it."""
        return self.engine.sees

    @property
    def context_tokens(self) -> int:
        """Tokens of the prompt and the answer together."""
        return self.engine.context_tokens

    @property
    def max_pictures(self) -> int:
        """How many pictures of 1024x1024 fill half of the context, 16 at most."""
        if not self.engine.sees:
            return 0
        return min(_MOST_PICTURES, self.context_tokens // 2 // max(1, self.engine.picture_tokens))

    @property
    def picture_tokens(self) -> int:
        """Tokens of one picture of 1024x1024, as measured when it was opened."""
        return self.engine.picture_tokens

    @property
    def counts_tokens(self) -> bool:
        """Its ``get_num_tokens`` are its own, not an estimate."""
        return True

    @property
    def reads_evidence(self) -> bool:
        """It reads messages; evidence must be written into them."""
        return False

    # counting

    def get_token_ids(self, text: str) -> list[int]:
        """Return the model's tokens of plain text, in which nothing is a control token."""
        return self.engine.tokens_of(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return the tokens of the whole prompt, its template's and its pictures' included."""
        return self.engine.count(self.engine.template.render(read_messages(messages)))

    # answering

    @property
    def _llm_type(self) -> str:
        return "bifocal-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        files = self.engine.files
        return {
            "model": str(files.text),
            "projector": str(files.projector or ""),
            "context_tokens": self.context_tokens,
            **{name: getattr(self, name) for name in _SETTINGS},
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = [c async for c in self._astream(messages, stop, run_manager, **kwargs)]
        return generate_from_stream(iter(chunks))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        items: SimpleQueue[Item] = SimpleQueue()
        cancelled = threading.Event()
        work = self._submit(self._request(messages, stop, kwargs), items.put, cancelled)
        try:
            while (item := items.get()) is not None:
                chunk = self._chunk(item)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            cancelled.set()
            if not work.cancel():
                wait([work])
        self._check(work)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Item] = asyncio.Queue()
        cancelled = threading.Event()

        def put(item: Item) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        request = await asyncio.to_thread(self._request, messages, stop, kwargs)
        work = self._submit(request, put, cancelled)
        try:
            while (item := await items.get()) is not None:
                chunk = self._chunk(item)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            cancelled.set()  # looked at between tokens: the model is free soon after
            work.cancel()
        self._check(work)

    def _submit(
        self, request: Request, put: Callable[[Item], Any], cancelled: threading.Event
    ) -> "Future[None]":
        work = self.engine.submit(request, put, cancelled)
        work.add_done_callback(lambda _: None if cancelled.is_set() else put(None))
        return work

    def _check(self, work: "Future[None]") -> None:
        if work.cancelled():
            raise ModelError(f"{self.model_name} was closed before it answered; open it again")
        work.result()

    def _chunk(self, item: str | Outcome) -> ChatGenerationChunk:
        if isinstance(item, str):
            return ChatGenerationChunk(message=AIMessageChunk(content=item))
        message = AIMessageChunk(
            content="",
            usage_metadata={
                "input_tokens": item.read,
                "output_tokens": item.written,
                "total_tokens": item.read + item.written,
            },
            response_metadata={"model_name": self.model_name, "finish_reason": item.reason},
            chunk_position="last",
        )
        info = {"finish_reason": item.reason}
        return ChatGenerationChunk(message=message, generation_info=info)

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> Request:
        _known(given)
        values = {name: given.get(name, getattr(self, name)) for name in _SETTINGS}
        if values["max_tokens"] < 1 or values["temperature"] < 0 or not 0 < values["top_p"] <= 1:
            raise ModelError(f"llama: {given} holds a value out of range")
        return Request(
            pieces=self.engine.template.render(read_messages(messages)),
            max_tokens=values.pop("max_tokens"),
            sampling=Sampling(**values),
            stops=tuple(stop or ()),
        )


def _known(given: dict[str, Any]) -> None:
    unknown = sorted(set(given) - set(_SETTINGS))
    if unknown:
        raise ModelError(f"llama: unknown {', '.join(unknown)}; known: {', '.join(_SETTINGS)}")


def _first_line(error: Exception) -> str:
    """Return what pydantic found wrong, on one line."""
    return " ".join(str(error).split())[:200]
