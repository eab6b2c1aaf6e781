"""What one tab of a browser may do, and is doing: the page's only way to bots and libraries.

Each step asks anew what the session opens, and counts against the key's rate, its budget and the
queue as a request over HTTP does. Knows nothing of NiceGUI.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bot.events import Answer, Event
from bot.sent import SentPicture
from bot.service.access.rights import Access
from bot.service.flow.streams import held
from bot.service.http.problems import Problem, invalid, not_found
from bot.service.http.requests import within
from bot.service.page.drawing import drawn
from bot.service.page.sessions import Sessions
from bot.service.served.bot import ServedBot, stored_answer
from bot.service.served.bots import DEFAULT
from bot.service.served.names import LibraryNames
from memory.feedback import Feedback, Said
from memory.messages import Conversation, Summary, Turn
from memory.redis_history import RedisHistory
from retrievers.evidence import Box, Evidence
from retrievers.library import Library

SHOWN = 30  #: turns of a conversation that are shown
LISTED = 100  #: conversations in the list


@dataclass(frozen=True)
class Waiting:
    """A picture that waits for its question: where it is kept, its name, and how it is shown."""

    id: str
    name: str
    shown: str


class Tab:
    """A tab: whose it is, its library and its conversation."""

    def __init__(self, state: Any, cookie: str) -> None:
        self.state = state
        self._cookie = cookie
        self.library = DEFAULT
        self.conversation: str | None = None

    async def access(self, *, counts: bool = False) -> Access:
        """Return what may be done now; a problem when the session is over."""
        access = await Sessions(self.state).access(self._cookie)
        if access is None:
            raise Problem(401, "unauthorized", "the session is over; load the page to sign in")
        if counts and self.state.limiter is not None:
            await within(self.state.limiter.hit_request(access))
        return access

    # asking

    async def keep(self, data: bytes, name: str) -> Waiting:
        """Keep a picture for a question; not here, since there are many tabs."""
        access = await self.access(counts=True)
        shown = await drawn(self.state.drawing, data)
        id = hashlib.sha256(data).hexdigest()
        await self.state.uploads.save(access.tenant, id, data)
        return Waiting(id, name[:200], shown)

    async def ask(self, text: str, waiting: Sequence[Waiting]) -> AsyncGenerator[Event, None]:
        """Return the events of a turn; they begin when it has its place in the queue."""
        bot = await self._for_turn()
        tenant = (await self.access()).tenant
        pictures = []
        for one in waiting:
            data = await self.state.uploads.read(tenant, one.id)
            if data is None:
                raise invalid("pictures", "one waited too long and is gone; add it again")
            pictures.append(SentPicture(data, name=one.name))
        name = self.conversation = self.conversation or f"c-{secrets.token_hex(6)}"
        return self._flow(lambda: bot.stream(text, images=pictures, conversation=name))

    async def ask_again(self, turn: str, text: str | None = None) -> AsyncGenerator[Event, None]:
        """Return the events of a turn that is answered again, or asked in other words."""
        bot = await self._for_turn()
        name = self._named()
        return self._flow(lambda: bot.stream_again(name, turn, text))

    async def _for_turn(self) -> ServedBot:
        access = await self.access(counts=True)
        bot = await self._bot(access)
        if self.state.limiter is not None:
            await within(self.state.limiter.hit_turn(access))
        return bot

    def _flow(
        self, events: Callable[[], AsyncGenerator[Event, None]]
    ) -> AsyncGenerator[Event, None]:
        return held(self.state.admission.turn, lambda: self.state.seen.turn(events()))

    async def _bot(self, access: Access) -> ServedBot:
        if not access.may_read(self.library):
            raise not_found("library of that name")
        bot: ServedBot = await self.state.bots.bot(access.tenant, self.library)
        return bot

    def _named(self) -> str:
        if self.conversation is None:
            raise not_found("conversation of that name")
        return self.conversation

    # what was said

    async def _history(self, *, counts: bool = True) -> RedisHistory:
        access = await self.access(counts=counts)
        history: RedisHistory = self.state.bots.history_of(access.tenant)
        return history

    async def conversations(self, words: str = "") -> list[Summary]:
        """Return the last conversations, or those in which all the words stand."""
        history = await self._history()
        if not words.strip():
            return await history.conversations(0, LISTED)
        result = await history.search(words.strip()[:200], LISTED)
        found = {one.conversation: one for one in reversed(result.found)}
        titled = await history.conversations(0, 1000)
        wanted = words.casefold().strip()
        return [s for s in titled if s.id in found or wanted in s.title.casefold()][:LISTED]

    async def opened(self, name: str) -> Conversation:
        """Return the last turns of a conversation, which is this tab's from now on."""
        found = await (await self._history()).load(name[:256], last=SHOWN)
        if not found.total:
            raise not_found("conversation of that name")
        self.conversation = name
        return found

    async def answer(self, turn: Turn) -> Answer:
        """Return the answer of a stored turn."""
        bot = await self._bot(await self.access())
        names = await asyncio.to_thread(bot.names.now)
        return stored_answer(turn, self._named(), bot.parts, names)

    async def turn(self, id: str) -> Turn:
        """Return a stored turn of this conversation."""
        return await (await self._history(counts=False)).turn(self._named(), id)

    async def rename(self, name: str, title: str) -> None:
        """Give a conversation another title."""
        await (await self._history()).rename(name, title)

    async def forget(self, name: str) -> None:
        """Forget a conversation, and what was said of its answers."""
        access = await self.access(counts=True)
        await (await self._bot(access)).forget(name)
        await self.state.feedback.forget(access.tenant, name)

    async def delete_turn(self, turn: str) -> None:
        """Take a turn out, with what was said of it."""
        await (await self._bot(await self.access(counts=True))).delete_turn(self._named(), turn)

    async def rate(self, turn: str, rating: Literal["up", "down"] | None) -> None:
        """Say what an answer is worth; ``None`` takes it back."""
        access = await self.access(counts=True)
        if rating is None:
            store: Feedback = self.state.feedback
            await store.drop(access.tenant, self._named(), turn, "")
            return
        said = Said(self._named(), turn, rating, at=time.time())
        await self.state.bots.history_of(access.tenant).give_feedback(said)

    # pictures and passages

    async def picture(self, number: int, side: int, box: Box | None = None) -> str:
        """Return a picture of the conversation, drawn."""
        data = await (await self._history(counts=False)).picture(self._named(), number)
        return await drawn(self.state.drawing, data, box, side)

    async def media(self, sha256: str, side: int, box: Box | None = None) -> str:
        """Return a picture of the library, drawn."""
        library = (await self._bot(await self.access())).parts.library
        data = await asyncio.to_thread(library.media, sha256)
        return await drawn(self.state.drawing, data, box, side)

    async def passages(self, id: str) -> list[tuple[Evidence, bool]]:
        """Return a passage or picture among its neighbours; whether each is the one meant."""
        library = (await self._bot(await self.access(counts=True))).parts.library

        def read() -> list[tuple[Evidence, bool]]:
            found = library.evidence([*library.neighbours(id, 1), id])
            if id not in found:
                raise not_found("passage of that name any more")
            names = LibraryNames(library).now()
            ordered = sorted(found, key=lambda one: int(one.partition(":")[2]))
            return [(replace(found[one], source=names.shown(found[one].source)), one == id)
                    for one in ordered]  # fmt: skip

        return await asyncio.to_thread(read)

    # libraries

    async def libraries(self) -> list[str]:
        """Return the libraries that may be asked."""
        access = await self.access()
        names: list[str] = await asyncio.to_thread(self.state.bots.libraries)
        return [name for name in names if access.may_read(name)]

    async def writable(self) -> tuple[Access, Library]:
        """Return this tab's library when files may be added to it."""
        access = await self.access(counts=True)
        if not access.may_write(self.library):
            raise not_found("library of that name")
        library: Library = (await self.state.bots.shelf(self.library)).library
        return access, library
