"""Which messages and files of Slack are which turn, and how those of an answer are taken away.

A question of which there is no turn is known by a name of its own, so that its edit and its
deletion find what was shown of it. Knows nothing of how a question is answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.slack_draft import SlackDraft, delete
from bot.channels.slack_events import Note
from bot.channels.slack_files import delete_file
from bot.channels.working import Turns

__all__ = ["SlackTurns", "is_turn", "no_turn"]

_NONE = "failed/"  #: before a question's id, in the place of a turn that there is not


def no_turn(note: Note) -> str:
    """Return what stands in the place of a turn where there is none of a question."""
    return f"{_NONE}{note.id}"


def is_turn(turn: str) -> bool:
    """Tell whether it is a turn that a question was kept as."""
    return not turn.startswith(_NONE)


@dataclass(frozen=True, slots=True)
class SlackTurns:
    """The turns of messages, over ``Turns``, where also the ids of files are kept."""

    client: AsyncWebClient
    turns: Turns

    async def of(self, note: Note) -> str | None:
        """Return which turn a message is."""
        return await self.turns.turn(note.conversation, note.id)

    async def given(self, note: Note, turn: str) -> set[str]:
        """Return the ids of the files that came with a turn's question."""
        known = await self.turns.messages(note.conversation, turn)
        return {m.removeprefix("given/") for m in known if m.startswith("given/")}

    async def shown(self, note: Note, turn: str) -> tuple[list[str], list[str]]:
        """Return the time stamps of a turn's answer, and the ids of its pictures."""
        known = await self.turns.messages(note.conversation, turn)
        place = f"{note.team}/{note.channel}/"
        shown = sorted(m.removeprefix(place) for m in known
                       if m.startswith(place) and m != note.id)  # fmt: skip
        return shown, [m.removeprefix("file/") for m in known if m.startswith("file/")]

    async def remember(self, note: Note, draft: SlackDraft, turn: str) -> None:
        """Note which messages a turn is."""
        shown = [f"{note.team}/{note.channel}/{ts}" for ts in draft.messages]
        files = [f"file/{id}" for id in draft.files] + [f"given/{id}" for id in note.given]
        await self.turns.save(note.conversation, turn, note.id, *shown, *files)

    async def drop(
        self, note: Note, shown: Sequence[str], files: Sequence[str], keep: Sequence[str] = ()
    ) -> None:
        """Take away what was shown of an answer."""
        for ts in shown:
            if ts not in keep:
                await delete(self.client, note.channel, ts)
                await self.turns.drop(note.conversation, f"{note.team}/{note.channel}/{ts}")
        for id in files:
            await delete_file(self.client, id)
            await self.turns.drop(note.conversation, f"file/{id}")
