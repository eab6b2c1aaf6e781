"""A service's bots as its channels have them: their turns are counted, traced and logged, too.

Knows nothing of any channel.
"""

from collections.abc import AsyncGenerator, Sequence

from bot.channels.backend import Backend, OpenLibrary
from bot.events import Answer, Citation, Event
from bot.sent import SentPicture
from bot.service.observability.seen import Seen
from bot.service.served.bots import Bots
from memory.feedback import Rating
from memory.messages import Conversation
from retrievers.imaging import PictureLike


def opens_seen(bots: Bots, tenant: str, seen: Seen) -> OpenLibrary:
    """Return what opens a tenant's bots, seen."""

    async def opened(library: str) -> Backend:
        return SeenBot(await bots.bot(tenant, library), seen)

    return opened


class SeenBot:
    """See ``bot.channels.backend.Backend``."""

    def __init__(self, bot: Backend, seen: Seen) -> None:
        self._bot, self._seen = bot, seen

    def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Ask, seen."""
        flow = self._bot.stream(
            text,
            images=images,
            conversation=conversation,
            sender=sender,
            idempotency_key=idempotency_key,
        )
        return self._seen.turn(flow)

    def stream_again(
        self, conversation: str, turn: str | None = None, text: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a turn again, seen."""
        return self._seen.turn(self._bot.stream_again(conversation, turn, text))

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn."""
        await self._bot.delete_turn(conversation, turn)

    async def forget(self, conversation: str) -> None:
        """Remove a conversation."""
        await self._bot.forget(conversation)

    async def conversation(self, name: str) -> Conversation:
        """Return a whole conversation."""
        return await self._bot.conversation(name)

    async def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the picture that a citation points at."""
        return await self._bot.cited_picture(answer, citation)

    async def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """Return an answer as it was given."""
        return await self._bot.stored_answer(conversation, turn)

    async def give_feedback(
        self, conversation: str, turn: str, rating: Rating, *, comment: str = "", sender: str = ""
    ) -> None:
        """Keep what somebody says of an answer."""
        await self._bot.give_feedback(conversation, turn, rating, comment=comment, sender=sender)
