"""Finds past turns by their words: reads a tenant's turns, the last written first, and compares.

There is no index. An index would have to follow every edit, fork, forgetting and lifetime in the
same transaction, on another slot of a cluster, and one entry that stayed behind would show what was
forgotten. What is read here is what is stored now, so a search is right whatever happened before
it; words are found inside words and in Han; and a turn costs no more to store. The price is
reading: about 10,000 turns in a second. So a search ends with the last turns that are asked for,
or after ``seconds``, and then says how far it came.

Knows nothing of how words are compared (``memory/words.py``). What is read at once is bounded by
its bytes: a conversation's memory and number of turns tell what a turn of it weighs.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from memory.assembly import read_turn
from memory.errors import HistoryError
from memory.found import Found, SearchResult
from memory.messages import Role, Turn
from memory.records import checked, conversation_key, decode_name, index_key
from memory.words import TERMS, Term, foldings, holds, may_hold, places, terms

T = TypeVar("T")

PAGE = 200  #: conversations whose names and lengths are asked for at once
OVERLAP = 20  #: of those, asked for again: some may be forgotten while a search goes on
BYTES, TURNS = 4_000_000, 512  #: that are read at once, about, and at most
FIRST = 64  #: turns that are read at first, to find what was said last
WEIGHT = 20_000  #: bytes of a turn where Redis does not tell
LIMIT = 1000  #: turns that a search finds at most
LINE = 160  #: characters that are shown of a line
PIECE, SEAM = 1000, 100  #: characters of a long line that are looked at alone, and twice
CHARACTERS = 1000  #: of the words that are looked for

_END_OF_WORDS = b',"citations":'  # no JSON string holds an unescaped quote


@dataclass(slots=True)
class _Reading:
    """A search under way: what it looks for, and what it came across."""

    sought: tuple[Term, ...]
    found: list[Found] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    turns: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    """Turns ``first`` to ``last`` (from 1) of a conversation; one weighs about ``weight`` bytes."""

    name: str
    title: str
    first: int
    last: int
    weight: float


class Read(Protocol):
    """Does a piece of reading on a Redis client, as ``RedisHistory`` does."""

    async def __call__(self, work: Callable[[Any], Awaitable[T]]) -> T: ...


async def search(
    read: Read, tenant: str, words: str, limit: int = 20, seconds: float = 5.0
) -> SearchResult:
    """Return the last ``limit`` turns of a tenant in which every word of ``words`` stands.

    Ends after about ``seconds``, with what was found by then. Raises ``HistoryError`` when there
    is nothing to look for, ``HistoryUnavailable`` when Redis cannot be asked.
    """
    if not 1 <= limit <= LIMIT:
        raise HistoryError(f"a limit of {limit}: give 1 to {LIMIT}")
    reading = _Reading(_sought(words))
    until = time.monotonic() + seconds
    async with aclosing(_batches(read, tenant, reading)) as batches:
        async for windows in batches:
            records = await read(_records(tenant, windows))
            await asyncio.to_thread(_compare, reading, windows, records)
            if len(reading.found) > limit:
                return _result(reading, limit, f"only the last {limit} are shown")
            if time.monotonic() > until:
                return _result(
                    reading,
                    limit,
                    f"out of time: only {reading.turns:,} turns of {len(reading.names):,}"
                    " conversations, the last written ones, were looked at",
                )
    return _result(reading, limit, "")


def _sought(words: str) -> tuple[Term, ...]:
    if len(words) > CHARACTERS:
        raise HistoryError(f"a search of {len(words):,} characters, the most is {CHARACTERS:,}")
    sought = terms(words)
    if not sought:
        raise HistoryError(f"nothing to look for in {words[:40]!r}: give a word")
    if (count := sum(len(term.parts) for term in sought)) > TERMS:
        raise HistoryError(f"a search for {count} words, the most is {TERMS}")
    return sought


def _result(reading: _Reading, limit: int, why: str) -> SearchResult:
    notices = [why] if why else []
    if reading.damaged:
        notices.append(f"{reading.damaged} damaged turns were passed over")
    return SearchResult(
        tuple(reading.found[:limit]),
        len(reading.names),
        reading.turns,
        bool(why),
        tuple(notices),
    )


async def _batches(
    read: Read, tenant: str, reading: _Reading
) -> AsyncGenerator[list[_Window], None]:
    """Yield windows of turns, newest first, as many at once as the bounds allow."""
    batch: list[_Window] = []
    turns, room = FIRST, float(BYTES)
    async with aclosing(_conversations(read, tenant, reading)) as conversations:
        async for whole in conversations:
            last = whole.last
            while last > 0:
                count = max(1, min(turns, int(room / whole.weight)))
                first = max(1, last - count + 1)
                batch.append(replace(whole, first=first, last=last))
                turns -= last - first + 1
                room -= (last - first + 1) * whole.weight
                last = first - 1
                if turns <= 0 or room < whole.weight:
                    yield batch
                    batch, turns, room = [], TURNS, float(BYTES)
    if batch:
        yield batch


async def _conversations(
    read: Read, tenant: str, reading: _Reading
) -> AsyncGenerator[_Window, None]:
    """Yield each conversation, the last written first, as a window of all its turns."""
    whole = True
    while True:
        offset, new = 0, False
        while listed := await read(_names(tenant, offset)):
            names = [name for name in listed if name not in reading.names]
            facts = await read(_facts(tenant, names)) if names else []
            for name, (total, title, size) in zip(names, facts, strict=True):
                reading.names.add(name)
                shown = title.decode(errors="replace") if isinstance(title, bytes) else ""
                if not isinstance(total, int):
                    reading.damaged += 1
                elif total:
                    weight = size / total if isinstance(size, int) else WEIGHT
                    yield _Window(name, shown, 1, total, max(1.0, weight))
            new = new or bool(names)
            if len(listed) < PAGE or not (names or whole):
                break
            offset += PAGE - OVERLAP
        if not new:
            return
        whole = False  # once more from the top: what was written to meanwhile has moved there


def _names(tenant: str, offset: int) -> Callable[[Any], Any]:
    async def work(client: Any) -> list[str]:
        found = await client.zrevrange(index_key(tenant), offset, offset + PAGE - 1)
        return [decode_name(name.decode()) for name in found]

    return work


def _facts(tenant: str, names: Sequence[str]) -> Callable[[Any], Any]:
    async def work(client: Any) -> list[tuple[Any, Any, Any]]:
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.llen(conversation_key(tenant, name, "turns"))
            pipe.hget(conversation_key(tenant, name, "meta"), "title")
            pipe.memory_usage(conversation_key(tenant, name, "turns"))
        flat = await pipe.execute(raise_on_error=False)
        _raise(flat[::3])
        return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))

    return work


def _records(tenant: str, windows: Sequence[_Window]) -> Callable[[Any], Any]:
    async def work(client: Any) -> list[Any]:
        pipe = client.pipeline(transaction=False)
        for window in windows:
            key = conversation_key(tenant, window.name, "turns")
            pipe.lrange(key, window.first - 1, window.last - 1)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        _raise(replies)
        return replies

    return work


def _raise(replies: Sequence[Any]) -> None:
    """Raise an error among replies, unless it tells of one key alone (another program's)."""
    for reply in replies:
        if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
            raise reply


def _compare(reading: _Reading, windows: Sequence[_Window], replies: Sequence[Any]) -> None:
    """Look through the records of ``windows``, the last turn of each first."""
    for window, records in zip(windows, replies, strict=True):
        if not isinstance(records, list):  # another program's key
            reading.damaged += 1
            continue
        reading.turns += len(records)
        for number in range(len(records), 0, -1):
            _look_at(reading, window, window.first + number - 1, records[number - 1])


def _look_at(reading: _Reading, window: _Window, number: int, record: bytes) -> None:
    if not checked(record):
        reading.damaged += 1
        return
    words = record.partition(_END_OF_WORDS)[0]
    # most turns are passed over by what was written, before it is read as JSON
    if rb"\u" not in words and not may_hold(reading.sought, words.decode(errors="replace")):
        return
    turn = read_turn(record)
    if turn is None:
        reading.damaged += 1
    elif shown := _shown(turn, reading.sought):
        by, line, marks = shown
        reading.found.append(
            Found(window.name, window.title, number, turn.id, turn.at, by, line, marks)
        )


def _shown(
    turn: Turn, sought: Sequence[Term]
) -> tuple[Role, str, tuple[tuple[int, int], ...]] | None:
    """Return who said the best line of a turn that holds every term, the line, and its marks."""
    sides: tuple[tuple[Role, str], ...] = (("user", turn.question.text), ("bot", turn.answer.text))
    forms = [form for _, text in sides for form in foldings(text)]
    if not all(holds(term, forms) for term in sought):
        return None
    count, by, line = max(
        (
            (sum(holds(term, foldings(piece)) for term in sought), by, piece)
            for by, text in sides
            for piece in _pieces(text)
        ),
        key=lambda best: best[0],
    )
    if not count:  # a phrase over two lines
        by, line = next(
            (by, " ".join(text.split())[:PIECE])
            for by, text in sides
            if any(holds(term, foldings(text)) for term in sought)
        )
    return by, *_cut(line, places(sought, line))


def _pieces(text: str) -> Iterator[str]:
    """Yield the lines of a text, long ones in pieces that share their ends."""
    for line in text.splitlines():
        for start in range(0, max(1, len(line) - SEAM), PIECE - SEAM):
            before = "…" if start else ""
            after = "…" if start + PIECE < len(line) else ""
            yield f"{before}{line[start : start + PIECE]}{after}"


def _cut(line: str, marks: Sequence[tuple[int, int]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return at most 160 characters of a line around its first mark, and the marks in them."""
    start = 0
    if marks and marks[0][1] > LINE * 3 // 4:
        start = max(0, min(marks[0][0] - LINE // 3, len(line) - LINE))
    end = min(len(line), start + LINE)
    before, after = "…" if start else "", "…" if end < len(line) else ""
    shift = len(before) - start
    inside = tuple((a + shift, min(b, end) + shift) for a, b in marks if start <= a < end)
    return f"{before}{line[start:end]}{after}", inside
