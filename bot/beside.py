"""Work that is done beside the turns, never in their way: a short list, and one task at a time.

The list is worked off in its order, and the task ends when it is empty. A model is asked for
it only while it writes no answer, and is let go when one begins. Nothing waits for this work, and
what goes wrong with it is told with the conversation's next turn. Knows nothing of what is done.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

from bot.models.explain import explain

T = TypeVar("T")

WAITING = 64  #: pieces of work on the list at most; the oldest is struck off
LET_GO = 5.0  #: seconds that a model's client may take to end a call that was cancelled


class Interrupted(Exception):
    """The model was needed for an answer."""


class Troubles:
    """What went wrong with the last work for a conversation, told once."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    def note(self, conversation: str, trouble: str) -> None:
        """Keep it until it is told; the oldest go first."""
        self._known[conversation] = trouble
        while len(self._known) > WAITING:
            self._known.popitem(last=False)

    def tell(self, conversation: str) -> str:
        """Return it, once; empty when nothing went wrong."""
        return self._known.pop(conversation, "")


class Beside:
    """The list and its task. Belongs to the event loop in which :meth:`offer` is called."""

    def __init__(self) -> None:
        self._list: OrderedDict[tuple[str, str], Callable[[], Awaitable[None]]] = OrderedDict()
        self._failed: dict[tuple[str, str], Callable[[str], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Future[Any] | None = None
        self._answers = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False

    def offer(
        self,
        kind: str,
        conversation: str,
        work: Callable[[], Awaitable[None]],
        failed: Callable[[str], None],
    ) -> None:
        """Put work for a conversation on the list, in place of older work of its ``kind``; returns
        at once, and never fails. ``failed`` is told in a line when it raises."""
        if self._closed:
            return
        name = (kind, conversation)
        self._list.pop(name, None)
        self._list[name] = work
        self._failed[name] = failed
        while len(self._list) > WAITING:
            gone, _ = self._list.popitem(last=False)
            self._failed.pop(gone)
        if self._task is None or self._task.done():
            # not in the turn's own context: LangChain's callbacks of that turn are over
            self._task = asyncio.create_task(self._work(), context=Context())

    @contextmanager
    def standing_back(self) -> Iterator[None]:
        """While this is open the model is left to an answer; what it was asked is broken off."""
        self._answers += 1
        self._quiet.clear()
        if self._asking is not None:
            self._asking.cancel()
        try:
            yield
        finally:
            self._answers -= 1
            if not self._answers:
                self._quiet.set()

    async def ask(self, asked: Callable[[], Awaitable[T]]) -> T:
        """Ask a model while it writes no answer; ``Interrupted`` when one begins."""
        await self._quiet.wait()
        asking = asyncio.ensure_future(asked())
        self._asking = asking
        try:
            await asyncio.wait({asking})
        finally:
            self._asking = None
            if not asking.done():  # this task itself is ended, or its time is up
                asking.cancel()
                await asyncio.wait({asking}, timeout=LET_GO)
        if asking.cancelled():
            raise Interrupted("an answer came in between")
        return asking.result()

    async def settled(self) -> None:
        """Wait until the list is worked off."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Give up what is left; what was stored stays. Nothing runs afterwards."""
        self._closed = True
        self._list.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while self._list:
            name, work = self._list.popitem(last=False)
            failed = self._failed.pop(name)
            try:
                await work()
            except Exception as error:  # said with the conversation's next turn, which asks again
                failed(f"it was not made ({explain(error, f'the {name[0]}')})")
