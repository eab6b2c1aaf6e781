"""What happens in Discord that concerns Bifocal, as values that wait in the inbox.

A message, a command, an edit or a deletion becomes a :class:`Happened`, read from what ``discord``
gives. Knows nothing of how it is answered.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import discord

Parts = Sequence[discord.Message | discord.MessageSnapshot]
NONE = "none/"  #: before a question's id, in the place of a turn that there is not (yet)
_SHOWN = 100  #: characters of names
_QUOTED = 2000  #: characters of a message that is replied to


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that came with a message, or with the one that it replies to (``theirs``). ``alt`` is
    what its sender says that it shows."""

    id: int
    name: str
    url: str
    size: int
    type: str = ""
    alt: str = ""
    theirs: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """A question, its edit or its deletion.

    ``message`` is the id of the message, or of the command's interaction; ``token`` is the
    command's. ``places`` are where it happened, the narrowest first, for the choice of a library.
    ``opens`` says that a thread may be opened for the answer, ``writes`` that the bot may write
    there by itself. ``edited`` is when an edit was made.
    """

    kind: Literal["ask", "edit", "delete"]
    conversation: str
    channel: int
    message: int
    places: Sequence[str] = ()
    person: int = 0
    name: str = ""
    text: str = ""
    files: Sequence[Attached] = ()
    unsupported: Sequence[str] = ()
    opens: bool = False
    writes: bool = True
    edited: str = ""
    token: str = ""

    @property
    def known(self) -> str:
        """The name of the question among the turns."""
        return known_as("q", self.channel, self.message)

    @property
    def unanswered(self) -> str:
        """What stands for its turn while there is none."""
        return f"{NONE}{self.message}"

    @property
    def given(self) -> set[str]:
        """The names of its own files among the turns."""
        own = (file for file in self.files if not file.theirs)
        return {known_as("f", self.channel, file.id) for file in own}

    @property
    def about(self) -> str | None:
        """The id of the message that this edits or deletes, if it does."""
        return None if self.kind == "ask" else str(self.message)

    def __repr__(self) -> str:
        return f"Happened({self.kind!r}, {self.conversation!r}, message={self.message})"

    def to_bytes(self) -> bytes:
        """Return the form in which it waits."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Happened":
        """Return what :meth:`to_bytes` wrote."""
        given: dict[str, Any] = json.loads(data)
        given["files"] = [Attached(**file) for file in given["files"]]
        return cls(**given)


def conversation_in(data: bytes) -> str:
    """Return the conversation of what waits."""
    return str(json.loads(data)["conversation"])


def known_as(kind: str, channel: int, message: int) -> str:
    """Return the name of a message among the turns: a question (q), an answer's words (a), or what
    the answer rests on (x); or of a file that came with a question (f)."""
    return f"{kind}:{channel}/{message}"


def last_of(channel: int, person: int) -> str:
    """Return the name under which the last answer to a person in a channel is known."""
    return f"last:{channel}/{person}"


def is_question(message: discord.Message) -> bool:
    """Return whether a person wrote this; bots are not answered, lest they talk for ever."""
    kinds = (discord.MessageType.default, discord.MessageType.reply)
    return not message.author.bot and message.webhook_id is None and message.type in kinds


def is_called(message: discord.Message, me: discord.abc.User) -> bool:
    """Return whether a message is for the bot by itself: in a direct channel, in a thread that the
    bot opened, by mention, or as a reply to it."""
    if message.guild is None:
        return True
    if any(user.id == me.id for user in message.mentions):
        return True
    role = message.guild.self_role
    if role is not None and role in message.role_mentions:
        return True
    if is_hidden(message):
        return False
    if isinstance(message.channel, discord.Thread) and message.channel.owner_id == me.id:
        return not message.mentions  # else it is for others
    answered = message.reference.resolved if message.reference else None
    return isinstance(answered, discord.Message) and answered.author.id == me.id


def is_hidden(message: discord.Message) -> bool:
    """Return whether Discord hides what is in a message, since it does not concern the bot."""
    parts: Parts = (message, *message.message_snapshots)
    return not (message.poll or any(p.content or p.attachments or p.stickers for p in parts))


def base_of(guild: int | None, channel: int) -> str:
    """Return how the names of a place's conversations begin."""
    return f"discord:dm:{channel}" if guild is None else f"discord:{guild}"


def places_of(guild: int | None, channel: object) -> tuple[str, ...]:
    """Return the places for which a library may be named: thread, channel, guild; or ``dm``."""
    if guild is None:
        return ("dm",)
    ids = [getattr(channel, "id", 0), getattr(channel, "parent_id", None)]
    return (*(f"{guild}/{id}" for id in ids if id), str(guild))


def question_of(message: discord.Message, me: discord.abc.User, conversation: str) -> Happened:
    """Return a message as a question."""
    guild = message.guild.id if message.guild else None
    parts: Parts = (message, *message.message_snapshots)
    files = [attached(file) for part in parts for file in part.attachments]
    unread = [sticker.name[:_SHOWN] for part in parts for sticker in part.stickers]
    text = words_of(message, me)
    answered = message.reference.resolved if message.reference else None
    if isinstance(answered, discord.Message) and answered.author.id != me.id:
        theirs = (attached(file) for file in answered.attachments)  # "@Bifocal what is this?"
        files += [replace(file, theirs=True) for file in theirs]
        quoted = words_of(answered, me)[:_QUOTED]
        if quoted and conversation.endswith(f":{message.id}"):  # else it is known from before
            text = f"{text}\n\n{answered.author.display_name[:_SHOWN]} wrote: “{quoted}”".strip()
    return Happened(
        "ask",
        conversation,
        message.channel.id,
        message.id,
        places=places_of(guild, message.channel),
        person=message.author.id,
        name=message.author.display_name[:_SHOWN],
        text=text,
        files=files,
        unsupported=[*unread, *(["a poll"] if message.poll else [])],
        opens=isinstance(message.channel, discord.TextChannel) and answered is None,
    )


def words_of(message: discord.Message, me: discord.abc.User) -> str:
    """Return the words of a message, or of those that it forwards: without the call of the bot,
    others' names in place of ids."""
    text = message.content or "\n\n".join(one.content for one in message.message_snapshots)
    text = re.sub(rf"<@!?{me.id}>", " ", text)
    if message.guild is not None and (role := message.guild.self_role) is not None:
        text = text.replace(role.mention, " ")
    for user in message.mentions:
        text = re.sub(rf"<@!?{user.id}>", "@" + user.display_name.replace("\\", ""), text)
    return text.strip()


def attached(file: discord.Attachment) -> Attached:
    """Return what is needed of a file to fetch it."""
    return Attached(
        file.id,
        file.filename[:_SHOWN],
        file.url,
        file.size,
        (file.content_type or "").partition(";")[0].strip().lower(),
        file.description or "",
    )
