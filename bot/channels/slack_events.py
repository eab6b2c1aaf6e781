"""What Slack's events mean: pure functions from payloads to :class:`Note`.

Knows nothing of connections, of Redis, nor of bots.
"""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["question", "edit", "deletion", "ask"]

SLACKBOT = "USLACKBOT"  #: the user that Slack itself writes as
MOST_FILES = 32  #: of one message that are looked at
_KEPT = ("id", "name", "title", "mimetype", "size", "mode", "file_access", "url_private", "alt_txt")
_NEW = frozenset((None, "file_share", "thread_broadcast", "me_message"))  #: subtypes of questions
_MENTION = re.compile(r"<@([A-Z0-9]{1,30})(?:\|[^<>]{0,100})?>")
_ANGLES = re.compile(r"<([^<>]{1,3000})>")


@dataclass(frozen=True, slots=True)
class Note:
    """A message as it waits in the inbox.

    ``thread`` is the time stamp of the message that began its thread, its own where there is none.
    ``incomplete``: it came without its files, which are to be looked up. ``changed`` is the time
    stamp of an edit. ``respond`` is the address for answers to a command.
    """

    kind: Kind
    team: str
    channel: str
    ts: str
    thread: str
    user: str = ""
    text: str = ""
    files: Sequence[Mapping[str, Any]] = ()
    event: str = ""
    incomplete: bool = False
    changed: str = ""
    respond: str = field(default="", repr=False)

    @property
    def conversation(self) -> str:
        """The stable name of its conversation."""
        return f"slack:{self.team}:{self.channel}:{self.thread}"

    @property
    def id(self) -> str:
        """The name of the message, whatever happens to it."""
        return f"{self.team}/{self.channel}/{self.ts}"

    @property
    def about(self) -> str | None:
        """The :attr:`id` of the message that this edits or deletes, if it does."""
        return self.id if self.kind in ("edit", "deletion") else None

    @property
    def key(self) -> str:
        """The name of the question: with an edit it is another one."""
        return f"{self.id}/{self.changed}" if self.changed else self.id

    @property
    def given(self) -> set[str]:
        """The ids of its files."""
        return {str(file.get("id")) for file in self.files}

    @property
    def ids(self) -> list[str]:
        """By which it is recognised when it is delivered again."""
        place = self.id if self.kind in ("question", "ask") else f"{self.id}/{self.kind}"
        own = f"{place}/{self.changed}" if self.changed else place
        return [own, f"event/{self.event}"] if self.event else [own]

    @property
    def direct(self) -> bool:
        """Whether nobody but its writer and the bot reads it."""
        return self.channel.startswith("D")

    def mentions(self, bot: str) -> bool:
        """Whether it speaks to the bot by name."""
        return f"<@{bot}>" in self.text or f"<@{bot}|" in self.text

    def speaks_to_others(self, bot: str) -> bool:
        """Whether it names people, and the bot is none of them."""
        named = set(_MENTION.findall(self.text))
        return bool(named) and bot not in named

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Note":
        """Read what :meth:`to_bytes` wrote."""
        return cls(**json.loads(stored))


def note_of(body: Mapping[str, Any], bot: str) -> Note | None:
    """Return what an event tells; ``None`` where it is nothing for a bot: its own messages, those
    of other bots, joins, previews that Slack added to a message."""
    event = body.get("event") or {}
    team = str(body.get("team_id") or event.get("team") or "")
    channel, subtype = str(event.get("channel") or ""), event.get("subtype")
    if not team or not channel:
        return None
    common: dict[str, Any] = {
        "team": team, "channel": channel, "event": str(body.get("event_id") or ""),
    }  # fmt: skip
    if subtype == "message_deleted":
        return _deletion(event.get("previous_message") or {}, bot, common)
    if subtype == "message_changed":
        return _edit(event, bot, common)
    if subtype not in _NEW or not _by_person(event, bot):
        return None
    return Note(
        kind="question",
        incomplete=event.get("type") == "app_mention" and "files" not in event,
        **_said(event),
        **common,
    )


def _deletion(message: Mapping[str, Any], bot: str, common: dict[str, Any]) -> Note | None:
    return Note(kind="deletion", **_said(message), **common) if _by_person(message, bot) else None


def _edit(event: Mapping[str, Any], bot: str, common: dict[str, Any]) -> Note | None:
    message, before = event.get("message") or {}, event.get("previous_message") or {}
    if message.get("subtype") == "tombstone":  # deleted, and others had answered it
        return _deletion(before, bot, common)
    if not _by_person(message, bot) or _asked(message) == _asked(before):
        return None
    changed = str((message.get("edited") or {}).get("ts") or event.get("ts") or "")
    return Note(kind="edit", changed=changed, **_said(message), **common)


def _asked(message: Mapping[str, Any]) -> tuple[str, set[str]]:
    """Return the words of a message and the ids of its files."""
    return str(message.get("text") or ""), {str(file.get("id")) for file in files_of(message)}


def _by_person(message: Mapping[str, Any], bot: str) -> bool:
    user, program = message.get("user"), message.get("bot_id") or message.get("bot_profile")
    return bool(user and message.get("ts")) and user not in (bot, SLACKBOT) and not program


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return who said what where, of a message."""
    ts = str(message["ts"])
    return {
        "ts": ts,
        "thread": str(message.get("thread_ts") or ts),
        "user": str(message["user"]),
        "text": str(message.get("text") or ""),
        "files": files_of(message),
    }


def files_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a message that were not taken away, with no more than is needed of
    each."""
    files = [f for f in message.get("files") or [] if isinstance(f, Mapping)]
    files = [f for f in files if f.get("mode") != "tombstone"]
    return [{name: file[name] for name in _KEPT if name in file} for file in files[:MOST_FILES]]


def mentioned(text: str, bot: str) -> list[str]:
    """Return the people a text names, the bot aside."""
    return [user for user in dict.fromkeys(_MENTION.findall(text)) if user != bot]


def words(text: str, bot: str, name: Callable[[str], str]) -> str:
    """Return a message's text as a person reads it: without the bot's name, people by ``name``,
    links as their addresses, nothing escaped."""

    def read(match: re.Match[str]) -> str:
        inside, _, label = match[1].partition("|")
        if inside.startswith("@"):
            return "" if inside[1:] == bot else f"@{name(inside[1:])}"
        if inside.startswith("#"):
            return f"#{label or inside[1:]}"
        if inside.startswith("!"):
            return label or f"@{inside[1:].partition('^')[0]}"
        return inside

    return html.unescape(_ANGLES.sub(read, text)).strip()
