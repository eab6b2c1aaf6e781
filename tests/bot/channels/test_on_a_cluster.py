"""What channels keep in Redis lies, for each script, on one node of a cluster."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.channels.inbox import Inbox
from bot.channels.working import Turns
from bot.service.stores.shared_redis import SharedRedis


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of three, started as the tests of memory/ do."""
    path = Path(__file__).parents[2] / "memory" / "conftest.py"
    spec = importlib.util.spec_from_file_location("memory_servers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["memory_servers"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    servers = module.Servers(tmp_path)
    try:
        yield f"redis+cluster://127.0.0.1:{module.start_cluster(servers)[0]}"
    finally:
        servers.close()
        del sys.modules["memory_servers"]


async def test_an_inbox_and_its_turns_work_on_a_cluster(cluster: str) -> None:
    async with await SharedRedis.open(cluster) as redis, Inbox(redis, "slack") as inbox:
        taken = await inbox.take(["Ev1", "C1:1.2"], b"hello")
        assert taken is not None
        assert await inbox.take(["C1:1.2"], b"hello") is None
        assert await inbox.note(taken, b"m7")
        await inbox.give_back(taken)
        again = await inbox.take_up()
        assert again is not None
        assert (again.message, again.tries, again.note) == (b"hello", 2, b"m7")
        edit = await inbox.take(["C1:1.2:e"], b"edit", line="c", about="C1:1.2")
        later = await inbox.take(["C1:1.3"], b"later", line="c")
        assert edit is not None
        assert later is not None
        assert (again.withdrawn.is_set(), edit.waits, later.waits) == (True, False, True)
        assert await inbox.done(again) is None
        after = await inbox.done(edit)
        assert after is not None
        assert after.message == b"later"
        turns = Turns(redis, "slack")
        await turns.save("slack:T1:C1:1.2", "t1", "1.2", "1.3")
        assert await turns.turn("slack:T1:C1:1.2", "1.3") == "t1"
        await turns.forget("slack:T1:C1:1.2")
        assert await turns.conversation("1.3") is None
