"""Conversations in Redis as LangChain's ``BaseChatMessageHistory``, pictures included.

``RedisHistory.as_langchain(conversation)`` in a program that has a history (or a bot) open;
``ChatHistories.open(…)`` in one that has none. Both faces work, the synchronous and the
asynchronous, from any thread and any event loop: the work is done in the loop that opened the
history. How messages become turns is ``memory/langchain_messages.py``'s.

What is given is stored turn by turn, each whole or not at all; a question is stored when it comes,
and its answer completes that turn. LangChain's interface has no place for notices, so they are
logged, and kept in ``notices``. Knows nothing of Redis.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from memory.errors import ConversationNotFound, HistoryDamaged, HistoryError, HistoryUnavailable
from memory.history import History
from memory.langchain_messages import (
    Taken,
    draft,
    follow,
    goes_on,
    groups,
    messages_of,
    numbers_in,
    take_in,
)
from memory.launching import Fsync
from memory.messages import Conversation, PictureRef

if TYPE_CHECKING:
    from memory.redis_history import RedisHistory

T = TypeVar("T")

PIXELS = 8  #: pictures that come back with their pixels unless told
TRIES = 8  #: attempts at completing a turn that others keep changing

_log = logging.getLogger(__name__)


class RedisChatMessageHistory(BaseChatMessageHistory):
    """One conversation for LangChain. Made by ``RedisHistory.as_langchain`` or ``ChatHistories``.

    ``pixels`` is how many pictures, the last ones, come back as ``image`` blocks with their bytes
    (all when ``None``); the others come back as a line of text with number, name, size and caption,
    and :meth:`picture` has their bytes. ``last`` is how many turns are read (all when ``None``).
    Every method raises ``HistoryError`` in one line.
    """

    def __init__(
        self,
        history: History,
        conversation: str,
        loop: asyncio.AbstractEventLoop,
        *,
        last: int | None = None,
        pixels: int | None = PIXELS,
    ) -> None:
        super().__init__()
        self.conversation = conversation
        self.notices: tuple[str, ...] = ()  #: what could not be read, as of the last reading
        self._history = history
        self._loop = loop
        self._last = last
        self._pixels = pixels

    # the asynchronous face

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages, oldest first; damaged turns are left out and logged.

        ``HistoryDamaged`` when nothing of a conversation can be read: it is not shown as empty.
        """
        return await self._in_loop(self._get)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages with their pictures; nothing is stored when one cannot be."""
        await self._in_loop(lambda: self._add(messages))

    async def aclear(self) -> None:
        """Forget the conversation; again is harmless."""
        await self._in_loop(self._clear)

    async def apicture(self, number: int) -> bytes:
        """Return the encoded bytes of the picture of a number."""
        return await self._in_loop(lambda: self._history.picture(self.conversation, number))

    # the synchronous face

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """See :meth:`aget_messages`."""
        return self._wait(self._get)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """See :meth:`aadd_messages`."""
        self._wait(lambda: self._add(messages))

    def clear(self) -> None:
        """See :meth:`aclear`."""
        self._wait(self._clear)

    def picture(self, number: int) -> bytes:
        """See :meth:`apicture`."""
        return self._wait(lambda: self._history.picture(self.conversation, number))

    # the work, in the history's own event loop

    async def _get(self) -> list[BaseMessage]:
        found = await self._history.load(self.conversation, last=self._last)
        self._tell(found)
        if not found.turns and (found.total or found.notices) and self._last != 0:
            raise HistoryDamaged(
                f"nothing of conversation {self.conversation!r} can be read: {found.notices[0]}"
                if found.notices
                else f"nothing of conversation {self.conversation!r} can be read"
            )
        show = await self._blocks(found)
        return [message for turn in found.turns for message in messages_of(turn, show)]

    def _tell(self, found: Conversation) -> None:
        self.notices = found.notices
        for notice in found.notices:
            _log.warning("%s", notice)

    async def _blocks(self, found: Conversation) -> dict[int, dict[str, Any]]:
        """Return a block for the number of each picture that the turns show."""
        known = {ref.number: ref for ref in found.pictures}
        shown = list(dict.fromkeys(reversed([n for t in found.turns for n in numbers_in(t)])))
        wanted = shown if self._pixels is None else shown[: max(0, self._pixels)]
        blocks: dict[int, dict[str, Any]] = {}
        for number in shown:
            ref = known.get(number)
            if ref is None:
                blocks[number] = _text(f"(picture {number}, no longer kept)")
            elif number not in wanted:
                blocks[number] = _text(f"({_described(ref)})")
            else:
                blocks[number] = await self._block(ref)
        return blocks

    async def _block(self, ref: PictureRef) -> dict[str, Any]:
        try:
            data = await self._history.picture(self.conversation, ref.number)
        except HistoryDamaged as error:
            self.notices = (*self.notices, str(error))
            _log.warning("%s", error)
            return _text(f"({_described(ref)}; its pixels are gone)")
        extras = {"picture": ref.number, "name": ref.name, "caption": ref.caption}
        return {
            "type": "image",
            "base64": base64.b64encode(data).decode("ascii"),
            "mime_type": ref.media_type,
            "extras": {key: value for key, value in extras.items() if value},
        }

    async def _add(self, messages: Sequence[BaseMessage]) -> None:
        if not messages:
            return
        taken = await asyncio.to_thread(take_in, messages)
        for place, group in enumerate(groups(taken)):
            await self._store(group, may_go_on=place == 0)

    async def _store(self, group: Sequence[Taken], may_go_on: bool) -> None:
        """Store one turn, or what completes the last one."""
        for _ in range(TRIES):
            found = await self._history.load(self.conversation, last=1)
            first = 1 + max((ref.number for ref in found.pictures), default=0)
            before = found.turns[-1] if found.turns and may_go_on else None
            if before is None or not goes_on(before, group):
                made = draft(group, found.pictures, first)
                await self._history.save(
                    self.conversation, made.turn, made.pictures, made.blobs, follow
                )
                return
            made = draft(group, found.pictures, first, before)
            if await self._history.complete(
                self.conversation, before, made.turn, made.pictures, made.blobs, follow
            ):
                return
        raise HistoryUnavailable(
            f"conversation {self.conversation!r} is being written to by too many at once: try again"
        )

    async def _clear(self) -> None:
        with contextlib.suppress(ConversationNotFound):
            await self._history.forget(self.conversation)

    # between threads and event loops

    async def _in_loop(self, work: Callable[[], Awaitable[T]]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await work()
        self._check_loop()
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(_coroutine(work), self._loop)
        )

    def _wait(self, work: Callable[[], Awaitable[T]]) -> T:
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                raise HistoryError(
                    "the synchronous face would stop the event loop that its work needs: use "
                    "aget_messages, aadd_messages and aclear, or ainvoke"
                )
        self._check_loop()
        running = asyncio.run_coroutine_threadsafe(_coroutine(work), self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def _check_loop(self) -> None:
        if not self._loop.is_running():
            raise HistoryUnavailable(
                "the event loop that opened this history has ended: open another one"
            )


class ChatHistories:
    """Opens conversations by name for programs that have no event loop of their own.

    ``with ChatHistories.open(folder=…) as histories:``, and ``histories.of`` is what
    ``RunnableWithMessageHistory`` asks for.
    """

    def __init__(self, history: "RedisHistory", **options: Any) -> None:
        self.history = history
        self._options = options

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        url: str | None = None,
        *,
        folder: Path | str | None = None,
        tenant: str = "default",
        fsync: Fsync = "everysec",
        last: int | None = None,
        pixels: int | None = PIXELS,
    ) -> "Iterator[ChatHistories]":
        """Connect to ``url``, or to a Redis kept in ``folder``, in a thread of its own.

        See ``RedisHistory.open`` for these, and :class:`RedisChatMessageHistory` for ``last`` and
        ``pixels``.
        """
        from anyio.from_thread import start_blocking_portal

        from memory.redis_history import RedisHistory

        place = Path(folder) if folder is not None else None

        async def connect() -> RedisHistory:
            return await RedisHistory.open(url, folder=place, tenant=tenant, fsync=fsync)

        with start_blocking_portal() as portal:
            history = portal.call(connect)
            try:
                yield cls(history, last=last, pixels=pixels)
            finally:
                portal.call(history.aclose)

    def of(self, conversation: str) -> RedisChatMessageHistory:
        """Return the conversation of that name; it need not exist."""
        return self.history.as_langchain(conversation, **self._options)


async def _coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _described(ref: PictureRef) -> str:
    name = f", {ref.name}" if ref.name else ""
    caption = f": {ref.caption}" if ref.caption else ""
    return f"picture {ref.number}{name}, {ref.width}x{ref.height}{caption}"
