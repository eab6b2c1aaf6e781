"""``AsyncRemoteChatBot``: a served bot, with the methods, events and errors of one in this process.

Knows nothing of how answers come about.
"""

import hashlib
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bot.edits import Callbacks, answer_in
from bot.errors import BifocalError, TurnError
from bot.events import Answer, Citation, Event
from bot.remote import conversations as talks
from bot.remote.events import Media, Reading
from bot.remote.pictures import upload
from bot.remote.problems import Meaning
from bot.remote.wire import Wire, segment
from bot.sent import SentPicture
from memory.errors import TurnOvertaken
from memory.feedback import Rating, Said
from memory.found import SearchResult
from memory.messages import Conversation, Summary
from retrievers.errors import LibraryNotFound, PictureRefused
from retrievers.imaging import PictureLike

if TYPE_CHECKING:
    from memory.archive import Carried
    from retrievers.ingest.pipeline import IngestEvent, Report

SECONDS = 120.0  #: for which nothing may arrive; a service says every 15 that it is there
_MOST_PICTURES = 64  #: that any service takes in one turn


class AsyncRemoteChatBot:
    """A bot behind a service: ``async with AsyncRemoteChatBot("https://…", key) as bot:``.

    ``library`` is one of the service's by name. ``timeout`` is for how many seconds nothing may
    arrive. ``allow_http`` lets the key go unencrypted to another machine. Raises what
    :class:`bot.AsyncChatBot` does, and ``ServiceError`` when the service cannot be reached, does
    not take the key, or has too much to do.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        library: str = "default",
        timeout: float = SECONDS,
        allow_http: bool = False,
    ) -> None:
        self._wire = Wire(url, key, timeout, allow_http)
        self.library = library

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wire.url!r}, library={self.library!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    # turns

    async def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> AsyncGenerator[Event, None]:
        """Ask, and yield the turn's events as they come. See :meth:`bot.AsyncChatBot.stream`.

        A connection that breaks is taken up again where it broke. Whoever stops reading ends the
        turn. The evidence has no text, which stays with the service. ``callbacks`` are refused.
        """
        _check_no_callbacks(callbacks)
        if len(images) > _MOST_PICTURES:
            raise TurnError("load", f"{len(images)} pictures in one turn, too many by far")
        try:
            pictures = await upload(self._wire, images)
        except PictureRefused as error:
            raise TurnError("load", str(error)) from error
        asked = {
            "text": text,
            "pictures": pictures,
            **({"conversation": conversation} if conversation else {}),
            "library": self.library,
            "sender": sender,
            "stream": True,
            "resumable": True,
        }
        headers = {"Idempotency-Key": _header(idempotency_key or uuid.uuid4().hex)}
        meaning = Meaning(absent=self._absent, conflict=TurnOvertaken, turn=True)
        async with aclosing(self._read("POST", "/v1/turns", meaning, asked, headers)) as events:
            async for event in events:
                yield event

    async def ask(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> Answer:
        """Ask, and return the whole answer. Takes and raises what :meth:`stream` does."""
        return await answer_in(
            self.stream(
                text,
                images=images,
                conversation=conversation,
                sender=sender,
                idempotency_key=idempotency_key,
                callbacks=callbacks,
            )
        )

    async def stream_again(
        self,
        conversation: str,
        turn: str | None = None,
        text: str | None = None,
        *,
        callbacks: Callbacks = (),
    ) -> AsyncGenerator[Event, None]:
        """Answer a turn again, and yield the events. See :meth:`bot.AsyncChatBot.stream_again`.

        A connection that breaks in the midst of it is an error: look what became of the turn.
        """
        _check_no_callbacks(callbacks)
        if turn is None:
            turn = await talks.last_turn(self._wire, conversation)
        meaning = replace(talks.of_turn(conversation, turn), conflict=TurnOvertaken, turn=True)
        address = talks.turn_at(conversation, turn)
        asked: dict[str, Any] = {"library": self.library, "stream": True}
        if text is None:
            flow = self._read("POST", f"{address}/regenerate", meaning, asked, {})
        else:
            flow = self._read("PATCH", address, meaning, {**asked, "text": text}, {})
        async with aclosing(flow) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, conversation: str, turn: str | None = None, *, callbacks: Callbacks = ()
    ) -> Answer:
        """Answer a turn again, and return the new answer. See :meth:`stream_again`."""
        return await answer_in(self.stream_again(conversation, turn, callbacks=callbacks))

    async def edit(
        self,
        conversation: str,
        turn: str,
        text: str,
        *,
        answer: bool = True,
        callbacks: Callbacks = (),
    ) -> Answer | None:
        """Replace the words of a turn's question. See :meth:`bot.AsyncChatBot.edit`."""
        if not answer:
            await self.delete_turn(conversation, turn)
            return None
        return await answer_in(self.stream_again(conversation, turn, text, callbacks=callbacks))

    def _read(
        self, method: str, path: str, meaning: Meaning, asked: Any, headers: dict[str, str]
    ) -> AsyncGenerator[Event, None]:
        return Reading(self._wire, meaning, self._media).events(
            method,
            path,
            content=talks.json_body(asked),
            headers={"Content-Type": "application/json", **headers},
        )

    def _absent(self, said: str) -> Exception:
        if "library" in said:
            return LibraryNotFound(f"there is no library {self.library!r} that this key may read")
        return PictureRefused(said)  # an upload that was kept for too short

    def _media(self, answer: Answer) -> Media:
        """Return how a cited picture is fetched, from any thread and without the event loop."""

        def fetch(citation: Citation) -> bytes:
            return self._wire.fetch(*self._cited(answer, citation))

        return fetch

    def _cited(self, answer: Answer, citation: Citation) -> tuple[str, Meaning]:
        if citation.picture is not None:
            number = citation.picture
            return talks.picture_at(answer.conversation, number), talks.of_picture(number)
        if citation.media is None:
            raise PictureRefused(f"citation [{citation.mark}] of {citation.source} has no picture")
        return f"/v1/libraries/{segment(self.library)}/media/{segment(citation.media)}", Meaning()

    # the service

    async def libraries(self) -> list[str]:
        """Return the names of the libraries that the key may read."""
        return await talks.libraries(self._wire)

    # conversations

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn by its id; ``TurnNotFound`` when there is none."""
        address = talks.turn_at(conversation, turn)
        await self._wire.data("DELETE", address, talks.of_turn(conversation, turn))

    async def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """Return the answer of a stored turn. See :meth:`bot.AsyncChatBot.stored_answer`."""
        if turn is None:
            turn = await talks.last_turn(self._wire, conversation)
        answer = await talks.stored_answer(self._wire, conversation, turn, self.library)
        return replace(answer, media=self._media(answer))

    async def give_feedback(
        self, conversation: str, turn: str, rating: Rating, *, comment: str = "", sender: str = ""
    ) -> None:
        """Tell the service what an answer is worth. See :meth:`bot.AsyncChatBot.give_feedback`."""
        said = Said(conversation, turn, rating, comment, sender)
        await talks.give_feedback(self._wire, said)

    async def fork(
        self, conversation: str, name: str | None = None, *, turn: str | None = None
    ) -> str:
        """Copy a conversation up to a turn; return its name. See :meth:`bot.AsyncChatBot.fork`."""
        return await talks.fork(self._wire, conversation, name, turn)

    async def conversation(self, name: str) -> Conversation:
        """Return a conversation; empty when there is none of that name.

        Its turns have citations and no ledger, which :meth:`stored_answer` has; of more than 5,000
        turns it has the last ones, and says so.
        """
        return await talks.read(self._wire, name)

    async def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """Return a line for each conversation, the last written first, or for a page of them."""
        return await talks.listed(self._wire, offset, limit)

    async def rename(self, conversation: str, title: str) -> None:
        """Give a conversation another title; ``ConversationNotFound`` when there is none."""
        await talks.rename(self._wire, conversation, title)

    async def search(self, words: str, limit: int = 20) -> SearchResult:
        """Return the last turns of all conversations in which every word stands; 200 at most."""
        return await talks.search(self._wire, words, limit)

    async def forget(self, conversation: str) -> None:
        """Remove a conversation; ``ConversationNotFound`` when there is none of that name."""
        address = f"/v1/conversations/{segment(conversation)}"
        await self._wire.data("DELETE", address, talks.of_conversation(conversation))

    async def picture(self, conversation: str, number: int) -> bytes:
        """Return the encoded bytes of a conversation's picture; ``PictureNotFound`` if none."""
        address = talks.picture_at(conversation, number)
        return await self._wire.data("GET", address, talks.of_picture(number))

    async def drop(self, conversation: str, number: int) -> None:
        """Take a picture out of a conversation; ``PictureNotFound`` when there is none."""
        address = talks.picture_at(conversation, number)
        await self._wire.data("DELETE", address, talks.of_picture(number))

    async def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the encoded bytes of the picture that a citation of ``answer`` points at."""
        return await self._wire.data("GET", *self._cited(answer, citation))

    async def export_conversation(self, conversation: str, file: str | Path) -> "Carried":
        """Write a conversation to one file. See :meth:`bot.AsyncChatBot.export_conversation`."""
        from bot.remote.carrying import export

        return await export(self._wire, conversation, Path(file))

    async def import_conversation(self, file: str | Path, name: str | None = None) -> "Carried":
        """Take in an exported conversation. See :meth:`bot.AsyncChatBot.import_conversation`."""
        from bot.remote.carrying import take_in

        return await take_in(self._wire, Path(file), name)

    async def ingest(
        self,
        *paths: str | Path,
        prune: bool = False,
        on_event: "Callable[[IngestEvent], None] | None" = None,
    ) -> "Report":
        """Upload files, and those of folders, into the library, and wait until they are taken in.

        A file replaces an earlier upload of its name, which is its last part: of two files of one
        name the second is skipped. ``prune`` is refused: what lies where is the service's.
        """
        from bot.remote.ingesting import ingest

        if prune:
            raise BifocalError("prune looks at folders of this machine; a service has its own")
        return await ingest(self._wire, self.library, paths, on_event or (lambda event: None))


def _check_no_callbacks(callbacks: Callbacks) -> None:
    if callbacks:
        raise BifocalError(
            "callbacks see the steps of a bot in this process; a served bot's steps run elsewhere"
        )


def _header(key: str) -> str:
    """Return an idempotency key that a header can carry: another for every other key."""
    if re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
