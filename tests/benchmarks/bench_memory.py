"""What keeping conversations costs: time to append and load, bytes in Redis, and whether many slow.

    python tests/benchmarks/bench_memory.py [--samples 400] [--conversations 10000]

Starts a Redis of its own, writes through ``RedisHistory`` and reads back the same way. Kinds of
work are interleaved, one sample of each in turn, so that a busy moment of the machine meets them
all; a bare PING and LangChain's own ``RedisChatMessageHistory``, which keeps words alone, are
measured beside it. Exit status 1 when a mark is missed.
"""

import argparse
import asyncio
import hashlib
import json
import random
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from memory.embedded import EmbeddedRedis
from memory.messages import Message, PictureRef, Turn
from memory.records import conversation_key, encode_name, index_key
from memory.redis_history import RedisHistory

APPEND_MS = LOAD_MS = 3.0
BYTES_PER_JSON = 1.5
MANY_TO_FEW = 2.0

WORDS = (
    "the receipt shows a total of forty two euros paid in cash at the harbour kiosk on the third "
    "day while the chart beside it gives the yearly mean of rainfall in the northern valley"
).split()

Work = Callable[[], Awaitable[Any]]


def words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def compact(turn: Turn) -> str:
    return json.dumps(turn.to_json(), ensure_ascii=False, separators=(",", ":"))


def short_turn(chance: random.Random) -> Turn:
    """Return a turn of a dozen words that cites nothing."""
    made = uuid.UUID(int=chance.getrandbits(128)).hex
    return Turn(made, Message(words(chance, 4)), Message(words(chance, 8)), 1.7e9)


def text_turn(chance: random.Random, pictures: tuple[int, ...] = ()) -> Turn:
    """Return a turn as the bot stores them: a question, an answer, a citation, a ledger."""
    return Turn(
        id=uuid.UUID(int=chance.getrandbits(128)).hex,
        question=Message(words(chance, 12), pictures),
        answer=Message(words(chance, 60) + " [1]"),
        at=1.7e9,
        citations=({"n": 1, "id": "p:812", "source": "harbour.pdf", "page": 3},),
        ledger={"evidence": [{"id": f"p:{n}", "score": 0.5, "used": n < 3} for n in range(8)]},
    )


def picture(chance: random.Random, number: int, size: int) -> tuple[PictureRef, dict[str, bytes]]:
    data = chance.randbytes(size)
    sha = hashlib.sha256(data).hexdigest()
    caption = words(chance, 12)
    ref = PictureRef(number, sha, "image/jpeg", 1024, 768, size, "user", "photo.jpg", caption)
    return ref, {sha: data}


async def fill(
    history: RedisHistory, name: str, turns: int, pictures: int, seed: int, short: bool = False
) -> int:
    """Write a conversation, its pictures spread over it; return the bytes of its turns' JSON."""
    chance, written, shown = random.Random(seed), 0, 0
    for place in range(turns):
        more: tuple[Any, ...] = ()
        if pictures and place * pictures // turns > (place - 1) * pictures // turns:
            shown += 1
            ref, blobs = picture(chance, shown, 100_000)
            more = ((ref,), blobs)
        turn = short_turn(chance) if short else text_turn(chance, (shown,) if more else ())
        await history.save(name, turn, *more)
        written += len(compact(turn))
    return written


async def copy(history: RedisHistory, source: str, targets: list[str]) -> None:
    """Copy every key of a conversation to other names, in the server."""
    client: Any = history._link.client
    start = conversation_key(history.tenant, source, "")
    keys = [key.decode() async for key in client.scan_iter(match=f"{start}*", count=1000)]
    for first in range(0, len(targets), 500):
        pipe = client.pipeline(transaction=False)
        for target in targets[first : first + 500]:
            for key in keys:
                part = key.removeprefix(start)
                pipe.copy(key, conversation_key(history.tenant, target, part))
            pipe.zadd(index_key(history.tenant), {encode_name(target): 1.7e9})
        await pipe.execute()


async def interleaved(kinds: dict[str, Callable[[int], Work]], samples: int) -> dict[str, Any]:
    """Return the seconds of ``samples`` pieces of each kind of work, sorted."""
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(samples + 10):
        for name, make in kinds.items():
            work = make(number)
            began = time.perf_counter()
            await work()
            if number >= 10:  # the first ones warm up
                spent[name].append(time.perf_counter() - began)
    return {name: sorted(values) for name, values in spent.items()}


def at(values: list[float], share: float) -> float:
    """Return a percentile of sorted seconds, in milliseconds."""
    return values[min(int(len(values) * share), len(values) - 1)] * 1e3


class Table:
    """Prints rows as they come, and remembers whether a mark was missed."""

    def __init__(self) -> None:
        self.missed = False

    def row(self, what: str, measured: str, reference: str = "", met: bool | None = None) -> None:
        mark = "" if met is None else ("met" if met else "MISSED")
        self.missed |= met is False
        print(f"{what:58} {measured:>12}  {reference:34} {mark}", flush=True)


async def round_trips(history: RedisHistory, work: Work) -> int:
    """Return how often the server had to read to do a piece of work."""
    client: Any = history._link.client

    async def reads() -> int:
        return int((await client.info("stats"))["total_reads_processed"])

    before = await reads()
    await work()
    return await reads() - before - 1


def peer(url: str, name: str) -> Any:
    """Return LangChain's own history in Redis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.chat_message_histories import RedisChatMessageHistory

        return RedisChatMessageHistory(name, url=url)


async def measure_forty(server: EmbeddedRedis, table: Table, samples: int) -> None:
    """Append to and load a conversation of 40 turns with 12 pictures of 100 kB."""
    from langchain_core.messages import AIMessage, HumanMessage

    chance = random.Random(1)
    async with await RedisHistory.open(server.url, tenant="forty") as history:
        await fill(history, "model", 40, 12, 40)
        # each append finds forty turns
        await copy(history, "model", [f"{kind}{n}" for kind in "tp" for n in range(samples + 10)])
        client: Any = history._link.client
        model = await history.load("model")
        others = [peer(server.url, f"peer{n}") for n in range(2)]
        for turn in model.turns:
            said = [HumanMessage(turn.question.text), AIMessage(turn.answer.text)]
            for other in others:
                other.add_messages(said)
        records = [json.dumps(turn.to_json()).encode() for turn in model.turns]
        await client.rpush("plain", *records)

        async def ask_peer() -> None:
            assert len(others[0].messages) == 80

        async def tell_peer() -> None:
            others[1].add_messages([HumanMessage(words(chance, 12)), AIMessage(words(chance, 60))])

        def appended(number: int) -> Work:
            turn = text_turn(chance)
            return lambda: history.save(f"t{number}", turn)

        def with_picture(number: int) -> Work:
            ref, blobs = picture(chance, 13, 100_000)
            turn = text_turn(chance, (13,))
            return lambda: history.save(f"p{number}", turn, (ref,), blobs)

        kinds: dict[str, Callable[[int], Work]] = {
            "append": appended,
            "append with a picture": with_picture,
            "load": lambda number: lambda: history.load("model"),
            "load the last 6": lambda number: lambda: history.load("model", last=6),
            "ping": lambda number: client.ping,
            "plain": lambda number: lambda: client.lrange("plain", 0, -1),
            "peer append": lambda number: tell_peer,
            "peer load": lambda number: ask_peer,
        }
        spent = await interleaved(kinds, samples)
        ping = at(spent["ping"], 0.5)
        for kind, limit in (("append", APPEND_MS), ("load", LOAD_MS)):
            middle, late = at(spent[kind], 0.5), at(spent[kind], 0.99)
            trips = await round_trips(history, kinds[kind](0))
            table.row(
                f"{kind}, 40 turns and 12 pictures, p50 (p99 {late:.2f} ms)",
                f"{middle:.2f} ms",
                f"<= {limit:g} ms; {trips} reads, PING {ping:.2f}",
                middle <= limit,
            )
        for kind, reference in (
            ("append with a picture", "of 100 kB"),
            ("load the last 6", "and every picture's reference"),
            ("plain", "LRANGE of the same bytes, nothing read"),
            ("peer append", "RedisChatMessageHistory, words alone"),
            ("peer load", "RedisChatMessageHistory, words alone"),
        ):
            table.row(f"{kind}, p50", f"{at(spent[kind], 0.5):.2f} ms", reference)
        before = (await client.info("stats"))["total_net_output_bytes"]
        await history.load("model")
        sent = (await client.info("stats"))["total_net_output_bytes"] - before
        table.row(
            "bytes read by a load; its pictures have 1.2 MB",
            f"{sent}",
            "<= 120,000",
            sent <= 120_000,
        )


async def measure_bytes(folder: Path, table: Table, conversations: int) -> None:
    """Compare what Redis' memory grows by with the JSON of the turns that were written."""
    async with (
        await EmbeddedRedis.aopen(folder) as server,
        await RedisHistory.open(server.url, tenant="bytes") as history,
    ):
        client: Any = history._link.client

        async def ratio(write: Callable[[int], Awaitable[int]]) -> tuple[float, int]:
            await write(-1)  # what the first one brings along counts for none
            before = int((await client.info("memory"))["used_memory"])
            written = [await write(number) for number in range(conversations)]
            after = int((await client.info("memory"))["used_memory"])
            return (after - before) / sum(written), sum(written) // len(written) // 20

        async def plain(number: int) -> int:
            chance, written = random.Random(number), 0
            for _ in range(20):
                body = compact(text_turn(chance))
                await client.rpush(f"plain{number}", body)
                written += len(body)
            return written

        for kind, of_kind in (
            ("as the bot stores them", {}),
            ("of a dozen words", {"short": True}),
        ):
            grown, each = await ratio(
                lambda n, k=kind, o=of_kind: fill(history, f"{k}{n}", 20, 0, n, **o)  # type: ignore[misc]
            )
            table.row(
                f"bytes per text turn to its JSON, {kind}",
                f"{grown:.2f}",
                f"<= {BYTES_PER_JSON:g}; used_memory; JSON of {each} B",
                grown <= BYTES_PER_JSON,
            )
            for part in ("turns", "meta"):
                key = conversation_key("bytes", f"{kind}0", part)
                size = await client.memory_usage(key, samples=0)
                table.row(f"  of one conversation of 20, {part}", f"{size} B")
        grown, each = await ratio(plain)
        table.row("  a bare list of the first's JSON", f"{grown:.2f}", "no hash, no list of them")


async def measure_many(folder: Path, table: Table, few: int, many: int, samples: int) -> None:
    """Load from a server with few conversations and from one with many, in turn."""
    async with (
        await EmbeddedRedis.aopen(folder / "few") as one,
        await EmbeddedRedis.aopen(folder / "many") as two,
        await RedisHistory.open(one.url, tenant="t") as small,
        await RedisHistory.open(two.url, tenant="t") as large,
    ):
        for history, count in ((small, few), (large, many)):
            models = [f"c{number}" for number in range(few)]
            for number, name in enumerate(models):
                await fill(history, name, 20, 0, number)
            for number, name in enumerate(models):
                mine = range(few + number, count, few)
                await copy(history, name, [f"c{n}" for n in mine])
            client: Any = history._link.client
            assert await client.zcard(index_key("t")) == count
        chance = random.Random(5)
        spent = await interleaved(
            {
                "few": lambda number: lambda: small.load(f"c{chance.randrange(few)}"),
                "many": lambda number: lambda: large.load(f"c{chance.randrange(many)}"),
                "ping": lambda number: small._link.client.ping,
            },
            samples,
        )
        late = {name: at(values, 0.99) for name, values in spent.items()}
        ratio = late["many"] / late["few"]
        table.row(
            f"p99 of a load among {many} conversations to {few}",
            f"{ratio:.2f}",
            f"<= {MANY_TO_FEW:g}; {late['many']:.2f} to {late['few']:.2f} ms, PING"
            f" {late['ping']:.2f}",
            ratio <= MANY_TO_FEW,
        )


async def measure(args: argparse.Namespace, folder: Path) -> bool:
    table = Table()
    table.row("what", "measured", "mark or reference")
    async with await EmbeddedRedis.aopen(folder / "forty") as server:
        await measure_forty(server, table, args.samples)
    await measure_bytes(folder / "bytes", table, args.weighed)
    await measure_many(folder, table, args.few, args.conversations, args.loads)
    return table.missed


def main() -> None:
    """Measure, print, and tell by the exit status whether every mark was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=400, help="appends and loads timed")
    parser.add_argument("--weighed", type=int, default=500, help="conversations weighed")
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--conversations", type=int, default=10_000, help="many")
    parser.add_argument("--loads", type=int, default=2_000, help="loads timed among few and many")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missed = asyncio.run(measure(args, Path(folder)))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
