"""From records to values and back: what a stored conversation says, as pure functions.

Knows nothing of Redis. A record that cannot be read is left out and named; what was written and is
no longer there is counted. Neither is ever passed over in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from memory.errors import HistoryDamaged, HistoryError
from memory.history import Follow
from memory.messages import Conversation, Message, PictureRef, Turn
from memory.records import unpack

TITLE = 80  #: characters of a title


def read_turn(record: bytes) -> Turn | None:
    """Return the turn of a record, or ``None`` when it is damaged."""
    try:
        return Turn.from_json(unpack(record))
    except (HistoryDamaged, ValueError, KeyError, TypeError):
        return None


def read_picture(record: bytes) -> PictureRef | None:
    """Return the picture reference of a record, or ``None`` when it is damaged."""
    try:
        return PictureRef.from_json(unpack(record))
    except (HistoryDamaged, ValueError, KeyError, TypeError):
        return None


def numbered(fields: Mapping[bytes, bytes]) -> dict[int, bytes]:
    """Return the records of a conversation's pictures by number, ascending."""
    return {int(name): fields[name] for name in sorted(filter(bytes.isdigit, fields), key=int)}


def dropped(fields: Mapping[bytes, bytes]) -> tuple[int, ...]:
    """Return the numbers of the pictures that a person dropped, ascending."""
    numbers = fields.get(b"dropped", b"").split(b",")
    return tuple(sorted(int(number) for number in numbers if number.isdigit()))


def hashes(fields: Mapping[bytes, bytes]) -> set[str]:
    """Return the SHA-256 of every picture whose record can be read."""
    refs = (read_picture(record) for record in numbered(fields).values())
    return {ref.sha256 for ref in refs if ref is not None}


def conversation(
    name: str, total: int, records: Sequence[bytes], fields: Mapping[bytes, bytes], written: int
) -> Conversation:
    """Return a conversation of ``total`` stored turns, of which ``records`` are the last ones.

    ``fields`` is the hash of its pictures, ``written`` how many turns were ever stored.
    """
    notices: list[str] = []
    if written > total:
        notices.append(
            f"{written - total} of the {written} turns of conversation {name!r} are missing"
        )
    turns: list[Turn] = []
    for place, record in enumerate(records, start=total - len(records) + 1):
        turn = read_turn(record)
        if turn is None:
            notices.append(
                f"turn {place} of {total} of conversation {name!r} is damaged and was left out"
            )
        else:
            turns.append(turn)
    pictures: list[PictureRef] = []
    for number, record in numbered(fields).items():
        ref = read_picture(record)
        if ref is None or ref.number != number:
            notices.append(
                f"the record of picture {number} of conversation {name!r} is damaged and was "
                "left out"
            )
        else:
            pictures.append(ref)
    return Conversation(name, tuple(turns), tuple(pictures), total, tuple(notices), dropped(fields))


def younger(found: Conversation, since: float) -> Conversation:
    """Return a conversation without the turns from before ``since`` (s)."""
    turns = tuple(turn for turn in found.turns if turn.at >= since)
    if len(turns) == len(found.turns):
        return found
    return replace(found, turns=turns, total=len(turns))


def until(
    whole: Conversation, turn: str, last: int | None
) -> tuple[Conversation, Turn, tuple[PictureRef, ...]] | None:
    """Return a conversation as it was before a turn (its last ``last`` turns), the turn, and the
    pictures that came with it; ``None`` when it has no such turn."""
    place = next((p for p, found in enumerate(whole.turns) if found.id == turn), -1)
    if place < 0:
        return None
    found, before = whole.turns[place], whole.turns[:place]
    known = {number for t in before for number in (*t.question.pictures, *t.answer.pictures)}
    named = {number for t in whole.turns[place:] for number in t.question.pictures} - known
    own = {number for number in found.question.pictures if number not in known}
    conversation = replace(
        whole,
        turns=before[max(0, len(before) - last) :] if last is not None else before,
        pictures=tuple(p for p in whole.pictures if p.number not in named),
        total=place,
    )
    return conversation, found, tuple(p for p in whole.pictures if p.number in own)


def renumber(
    turn: Turn, pictures: Sequence[PictureRef], first: int, follow: Follow | None = None
) -> tuple[Turn, tuple[PictureRef, ...]]:
    """Return the turn and its new pictures, these numbered on from ``first`` in their order.

    Only numbers of new pictures change. Citations and the ledger are ``follow``'s to change.
    """
    new = {picture.number: first + place for place, picture in enumerate(pictures)}
    if all(old == number for old, number in new.items()):
        return turn, tuple(pictures)

    def moved(message: Message) -> Message:
        return replace(message, pictures=tuple(new.get(n, n) for n in message.pictures))

    turn = replace(turn, question=moved(turn.question), answer=moved(turn.answer))
    return (
        follow(turn, new) if follow else turn,
        tuple(replace(picture, number=new[picture.number]) for picture in pictures),
    )


def title(turn: Turn, pictures: Sequence[PictureRef]) -> str:
    """Return the question in one line of 80 characters at most, else what its picture is called,
    else the answer."""
    words = " ".join(turn.question.text.split())
    if not words and pictures:
        words = f"({' '.join((pictures[0].name or 'a picture').split())})"
    words = words or " ".join(turn.answer.text.split())
    return words if len(words) <= TITLE else words[: TITLE - 1].rstrip() + "…"


def shown_title(stored: object, first: object, since: float) -> str:
    """Return a title, or nothing when it is what was said before ``since`` (s).

    ``stored`` are the fields ``title`` and ``named``; ``first`` is the record of the first turn,
    which gives the title unless a person named it.
    """
    title, named = stored[:2] if isinstance(stored, list) else (None, None)
    if not isinstance(title, bytes):
        return ""
    turn = read_turn(first) if isinstance(first, bytes) and not named else None
    return "" if turn is not None and turn.at < since else title.decode(errors="replace")


def given_title(title: str) -> str:
    """Return a title that a person gave, on one line; ``HistoryError`` when it cannot be one."""
    words = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    if not words:
        raise HistoryError("an empty title: give a few words")
    if len(words) > TITLE:
        raise HistoryError(f"a title of {len(words)} characters, the most is {TITLE}")
    return words
