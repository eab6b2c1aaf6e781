"""What channels keep in memory does not grow with what people send."""

import asyncio
import contextlib

from bot.channels.room import Room


class Asking:
    """Asks for room, a task for each; a task has it until it is told to leave."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._leaves: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.inside: list[str] = []

    async def begin(self, name: str, size: int) -> None:
        """Have somebody ask, and go as far as there is room."""
        self._leaves[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, size))
        await self._settle()

    async def leave(self, name: str) -> None:
        """Have somebody leave who is inside."""
        self._leaves[name].set()
        await self._settle()

    async def cancel(self, name: str) -> None:
        """End somebody's task, wherever it is."""
        self._tasks[name].cancel()
        await self._settle()

    async def _stay(self, name: str, size: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async with self._room.of(size):
                self.inside.append(name)
                try:
                    await self._leaves[name].wait()
                finally:
                    self.inside.remove(name)

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_room_is_given_in_the_order_of_asking() -> None:
    """Who needs little does not overtake who needs much; who needs nothing does not wait."""
    asking = Asking(Room(10))
    await asking.begin("a", 6)
    await asking.begin("much", 8)
    await asking.begin("little", 1)
    await asking.begin("none", 0)
    assert asking.inside == ["a", "none"]
    await asking.leave("a")
    assert asking.inside == ["none", "much", "little"]
    for name in ("none", "much", "little"):
        await asking.leave(name)


async def test_what_needs_more_than_all_room_is_let_in_alone() -> None:
    asking = Asking(Room(10))
    await asking.begin("a", 1)
    await asking.begin("huge", 1000)
    assert asking.inside == ["a"]
    await asking.leave("a")
    await asking.begin("b", 1)
    assert asking.inside == ["huge"]
    await asking.leave("huge")
    assert asking.inside == ["b"]
    await asking.leave("b")


async def test_who_is_cancelled_takes_no_room_along() -> None:
    """Neither who waits for room, nor who has it."""
    asking = Asking(Room(10))
    await asking.begin("a", 10)
    await asking.begin("waits", 10)
    await asking.begin("b", 10)
    await asking.cancel("waits")
    await asking.cancel("a")
    assert asking.inside == ["b"]
    await asking.leave("b")
