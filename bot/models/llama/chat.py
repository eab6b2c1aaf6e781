"""The local model as a LangChain ``BaseChatModel``: messages in, text as it comes out.

Joins the parts of this package that live beside the model's process; knows nothing of native code,
evidence or conversations.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from bot.errors import ModelError
from bot.models.llama.asked import Asked, Settings, asked, told_wrong, tool_forms
from bot.models.llama.chunks import Chunks
from bot.models.llama.content import Pictures, read_messages
from bot.models.llama.files import parse_files
from bot.models.llama.process import ModelProcess
from bot.models.llama.structured import structured
from bot.models.llama.values import Delta, Line, Options, Outcome, Pixels

_MOST_PICTURES = 16
#: The largest picture that is shown by default: what it costs is what pictures are budgeted at
_PROBE = (1024, 1024)

Item = Delta | Outcome | ModelError


class LocalVisionChat(Settings, BaseChatModel):
    """A GGUF model, with or without eyes. Make one with :meth:`open`, end it with :meth:`close`.

    Every field of :class:`~bot.models.llama.asked.Settings` may be given with any call too, beside
    ``stop``, ``grammar`` (GBNF), ``response_format`` (as OpenAI's), ``logprobs`` and
    ``top_logprobs``. Safe from any number of threads and tasks; answers are written at once, as
    many as ``parallel`` says. The model lives in a process of its own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    process: ModelProcess = Field(exclude=True, repr=False)
    model_name: str
    _pictures: Pictures = PrivateAttr()
    _costs: Callable[[int, int], int] = PrivateAttr()

    @classmethod
    def open(
        cls,
        files: str,
        *,
        context_tokens: int = 4096,
        verify: Callable[[], object] | None = None,
        **settings: Any,
    ) -> "LocalVisionChat":
        """Load ``TEXT.gguf`` or ``TEXT.gguf+PROJECTOR.gguf``.

        ``context_tokens`` is the prompt and the answer together, at most what the model was trained
        on. ``settings`` are this class's fields and those of
        :class:`~bot.models.llama.values.Options` (``parallel``, ``threads``, ``gpu_layers``,
        ``cache`` ...). ``verify`` is called before the files are loaded again after a crash, and
        raises ``ModelError`` if they must not be. Raises ``ModelError`` for files and values that
        cannot be used.
        """
        names = {option.name for option in fields(Options)}
        options = {n: settings.pop(n) for n in list(settings) if n in names}
        known = {*Settings.model_fields, *names}
        if unknown := sorted(set(settings) - known):
            names_known = ", ".join(sorted(known))
            raise ModelError(f"llama: unknown {', '.join(unknown)}; known: {names_known}")
        if isinstance(options.get("cache"), str):
            options["cache"] = Path(options["cache"])
        try:
            Settings(**settings)
        except ValidationError as error:
            raise ModelError(f"llama: {told_wrong(error, Settings)}") from error
        found = parse_files(files)
        given = Options(context_tokens=context_tokens, **options)
        process = ModelProcess.open(found, given, verify=verify)
        return cls(process=process, model_name=found.text.stem, **settings)

    def model_post_init(self, context: Any, /) -> None:
        """Make what is kept beside the process, and tell LangChain what the model can do."""
        super().model_post_init(context)
        info = self.process.info
        self._pictures = Pictures(max(1, info.picture_side))
        self._costs = lru_cache(256)(self._measure)
        if self.profile is None:
            self.profile = {
                "max_input_tokens": info.context_tokens,
                "image_inputs": info.sees,
                "tool_calling": info.tools,
                "structured_output": True,
            }

    def close(self) -> None:
        """Stop what is being written and end the process; safe to call twice."""
        self.process.close()

    @property
    def ready(self) -> bool:
        """Whether it can answer now."""
        return self.process.ready

    def for_tenant(self, tenant: str) -> "LocalVisionChat":
        """Return the same model, in the same process, whose prompts and pictures are kept apart
        from those of other tenants. Close only one of them."""
        return self.model_copy(update={"tenant": tenant})

    def forget(self, tenant: str) -> None:
        """Drop all that is kept of a tenant's prompts and pictures, in memory and on disk."""
        self.process.forget(tenant)

    # what it can do: see bot.models.choose.capabilities

    @property
    def pictures(self) -> bool:
        """Whether pictures can be shown to it."""
        return self.process.info.sees

    @property
    def context_tokens(self) -> int:
        """Tokens of the prompt and the answer together."""
        return self.process.info.context_tokens

    @property
    def max_pictures(self) -> int:
        """How many pictures of 1024x1024 fill half of the context, 16 at most."""
        if not self.pictures:
            return 0
        return min(_MOST_PICTURES, self.context_tokens // 2 // max(1, self.picture_tokens))

    @property
    def picture_tokens(self) -> int:
        """Tokens of one picture of 1024x1024."""
        return self.picture_cost(*_PROBE) if self.pictures else 0

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
        return self.process.tokens_of(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return the tokens of the whole prompt: its template's, tools' and pictures' included."""
        lines = read_messages(messages, self._pictures)
        return self.process.count(lines, tool_forms(tools or ()))

    def picture_cost(self, width: int, height: int) -> int:
        """Return the tokens that a picture of so many pixels takes in a prompt."""
        return self._costs(width, height)

    def _measure(self, width: int, height: int) -> int:
        share = min(1.0, self._pictures.side / max(width, height))
        size = (max(1, round(width * share)), max(1, round(height * share)))
        with_it = [Line("user", ("?", Pixels(*size, b"")))]
        return self.process.count(with_it) - self.process.count([Line("user", ("?",))])

    # answering

    @property
    def _llm_type(self) -> str:
        return "bifocal-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        info = self.process.info
        return {
            "model": info.name,
            "fingerprint": info.fingerprint,
            "context_tokens": info.context_tokens,
            **{name: getattr(self, name) for name in Settings.model_fields},
        }

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call.

        ``tool_choice``: ``"auto"`` (as None), ``"none"``, ``"any"`` (it must call one) or a tool's
        name; where it must, its answer is held to the schemas of the tools. Raises ``ModelError``
        for a model whose template has no tools.
        """
        made = tool_forms(tools, strict=strict)
        if made and not self.process.info.tools:
            raise ModelError(
                f"{self.model_name}: its chat template takes no tools; use a model that has them,"
                " or with_structured_output"
            )
        return self.bind(tools=made, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Literal["json_schema", "json_mode", "function_calling"] = "json_schema",
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return the model with answers that are values of ``schema``, as LangChain has it.

        With ``json_schema`` no token is written that the schema does not allow; ``json_mode``
        allows any JSON object; ``function_calling`` needs a model with tools. An answer that was
        cut before its end raises ``OutputParserException``.
        """
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        kwargs.pop("strict", None)  # it always is
        return structured(self, schema, method, include_raw=include_raw, **kwargs)

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
        given = asked(self, kwargs)
        chunks = Chunks(self.model_name, given.told)
        ticket = self._submit(messages, stop, given, items.put)
        try:
            while not chunks.ended:
                for chunk in chunks.of(items.get()):
                    if run_manager is not None:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        finally:
            if not chunks.ended:
                self.process.cancel(ticket)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Item] = asyncio.Queue()

        def put(item: Item) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        given = asked(self, kwargs)
        chunks = Chunks(self.model_name, given.told)
        starting = loop.run_in_executor(None, self._submit, messages, stop, given, put)
        try:
            ticket = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._abandon)
            raise
        try:
            while not chunks.ended:
                for chunk in chunks.of(await items.get()):
                    if run_manager is not None:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        finally:
            if not chunks.ended:
                self.process.cancel(ticket)

    def _submit(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        given: Asked,
        put: Callable[[Item], None],
    ) -> int:
        lines = read_messages(messages, self._pictures)
        return self.process.submit(given.request(lines, stop), put)

    def _abandon(self, starting: "asyncio.Future[int]") -> None:
        """End an answer that nobody waited for until it had begun."""
        if not starting.cancelled() and starting.exception() is None:
            self.process.cancel(starting.result())
