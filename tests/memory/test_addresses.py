"""Any Redis: what an address may say, and one clear line for what it should not."""

import asyncio
import signal
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from memory.connect import parse, shown_url
from memory.errors import HistoryUnavailable
from memory.messages import PictureRef, Turn
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartProxy = Callable[..., Awaitable[Any]]

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text("utf-8")

#: the line that the page tells to give a user
RIGHTS = PAGE.partition("ACL SETUSER bifocal on >PASSWORD ")[2].partition("```")[0].split()


async def refusal(url: str, timeout: float = 2.0) -> str:  # noqa: ASYNC109
    """Return the one line with which an address is refused."""
    with pytest.raises(HistoryUnavailable) as caught:
        await RedisHistory.open(url, timeout=timeout)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def talk(history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture) -> None:
    """Do everything that a history does."""
    ref, blobs = make_picture(1)
    await history.save("c1", make_turn("one"))
    await history.save("c1", make_turn("two", (1,)), (ref,), blobs)
    loaded = await history.load("c1")
    assert [turn.question.text for turn in loaded.turns] == ["one", "two"]
    assert await history.picture("c1", 1) == blobs[ref.sha256]
    assert [summary.turns for summary in await history.conversations()] == [2]
    assert await history.sweep() == 0
    await history.forget("c1")
    assert await history.conversations() == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:p@h:1/2?protocol=3", "redis://h:1"),
        ("rediss://:p@h", "rediss://h"),
        ("redis:///0", "redis://localhost"),
        ("unix://u:p@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis+sentinel://u:p@a:1,b,[::1]:3/chat/2?x=1", "redis+sentinel://a:1,b,[::1]:3/chat"),
        ("rediss+cluster://u:p@a:1,b:2", "rediss+cluster://a:1,b:2"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == f"Redis at {shown}"


def test_an_address_that_is_none_is_shown_in_words() -> None:
    for url in ("s3cret", "http://:s3cret@h", "redis://:s3cret@h:port/0"):
        assert shown_url(url) == "Redis, at an address that cannot be used"


def test_every_host_of_an_address_is_understood() -> None:
    one = parse("rediss+sentinel://u%40:p%2Fw@a:1,b,[::1]:3/chat/2?protocol=3&ssl_ca_certs=/c")
    assert one.hosts == (("a", 1), ("b", 26379), ("::1", 3))
    assert (one.kind, one.service) == ("sentinel", "chat")
    assert {k: v for k, v in one.options.items() if k != "connection_class"} == {
        "username": "u@",
        "password": "p/w",
        "db": 2,
        "protocol": 3,
        "ssl_ca_certs": "/c",
    }
    assert parse("redis+cluster://a,b:2").hosts == (("a", 6379), ("b", 2))


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@127.0.0.1/",
        "redis+other://:s3cret@127.0.0.1/",
        "redis+sentinel://:s3cret@127.0.0.1:1",
        "redis+sentinel://:s3cret@127.0.0.1:port/chat",
        "redis+cluster://:s3cret@127.0.0.1:1/3",
        "redis://:s3cret@127.0.0.1/0?no_such_option=1",
        "redis+cluster://:s3cret@127.0.0.1/?no_such_option=1",
        "redis+sentinel://:s3cret@127.0.0.1/chat?no_such_option=1",
        "redis://:s3cret@127.0.0.1/0?protocol=seven",
        "redis://:s3cret@127.0.0.1/0?protocol=7",
        "redis://:s3cret@127.0.0.1/0?db=one",
    ],
)
async def test_an_address_that_is_none_is_refused_with_the_forms_there_are(url: str) -> None:
    line = await refusal(url)
    assert "cannot be used" in line
    assert "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("form", ["redis://{}/0", "redis+cluster://{}"])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_user_with_the_documented_rights_alone_can_do_everything(
    start_server: Callable[..., int],
    cluster_ports: list[int],
    make_turn: MakeTurn,
    make_picture: MakePicture,
    form: str,
    protocol: int,
) -> None:
    assert "~bifocal:*" in RIGHTS
    name = f"user{uuid.uuid4().hex}"
    ports = cluster_ports if "cluster" in form else [start_server()]
    for port in ports:
        with Redis(port=port) as admin:
            send: Any = admin.execute_command
            send("ACL", "SETUSER", name, "on", ">pw", *RIGHTS)
    url = form.format(f"{name}:pw@127.0.0.1:{ports[0]}") + f"?protocol={protocol}"
    async with await RedisHistory.open(url, tenant=uuid.uuid4().hex) as history:
        await talk(history, make_turn, make_picture)


@pytest.mark.parametrize("right", ["+@read", "+@write", "+@transaction", "+eval", "+ping", "+time"])
async def test_a_right_that_is_missing_is_told(
    start_server: Callable[..., int], make_turn: MakeTurn, make_picture: MakePicture, right: str
) -> None:
    """Each right that the page names is needed."""
    port = start_server()
    with Redis(port=port) as admin:
        send: Any = admin.execute_command
        send("ACL", "SETUSER", "user", "on", ">pw", *(r for r in RIGHTS if r != right))
    with pytest.raises(HistoryUnavailable, match="does not let this user run the commands"):
        async with await RedisHistory.open(f"redis://user:pw@127.0.0.1:{port}/0") as history:
            await talk(history, make_turn, make_picture)


async def test_a_wrong_password_is_refused_by_a_cluster_and_through_sentinels(
    servers: Any, cluster_ports: list[int], begin_sentinel: Callable[..., Any]
) -> None:
    urls = [f"redis+cluster://nobody:s3cret@127.0.0.1:{cluster_ports[0]}"]
    found = begin_sentinel(servers)
    urls.append(found.url.replace("//", "//nobody:s3cret@"))
    for url in urls:
        line = await refusal(url)
        assert "refuses the login" in line
        assert "s3cret" not in line


async def test_a_service_that_no_sentinel_knows_is_told(watched: Any) -> None:
    line = await refusal(watched.url.replace("chat", "talk"))
    assert "know no primary" in line
    assert f"127.0.0.1:{watched.sentinel}/talk" in line


async def test_sentinels_that_are_gone_or_ask_for_a_login_are_told(
    servers: Any, begin_sentinel: Callable[..., Any]
) -> None:
    assert "no Sentinel that answers" in await refusal("redis+sentinel://127.0.0.1:1/chat")
    locked = begin_sentinel(servers, "--requirepass", "s3cret")
    line = await refusal(locked.url)
    assert "sentinel_password" in line
    assert "refuse the login" in await refusal(f"{locked.url}?sentinel_password=wr0ng")
    async with await RedisHistory.open(f"{locked.url}?sentinel_password=s3cret"):
        pass


async def test_a_sentinel_that_is_gone_leaves_time_to_ask_the_next(
    watched: Any, start_proxy: StartProxy
) -> None:
    silent = await start_proxy(watched.sentinel)
    silent.deaf = True
    hosts = f"127.0.0.1:1,127.0.0.1:{silent.port},127.0.0.1:{watched.sentinel}"
    async with await RedisHistory.open(f"redis+sentinel://{hosts}/chat?protocol=3"):
        pass


async def test_after_a_failover_the_new_primary_is_used_and_all_is_there(
    servers: Any, begin_sentinel: Callable[..., Any], make_turn: MakeTurn
) -> None:
    """The primary freezes: writes are refused, none is lost, and its waking changes nothing."""
    found = begin_sentinel(servers)
    async with await RedisHistory.open(found.url, timeout=1) as history:
        saved = [make_turn("before")]
        await history.save("c1", saved[0])
        with Redis(port=found.primary) as primary:
            assert primary.wait(1, 5000) == 1
        servers.running[found.primary].send_signal(signal.SIGSTOP)
        refused = 0
        for _ in range(200):
            turn = make_turn("after")
            try:
                await history.save("c1", turn)
            except HistoryUnavailable:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                saved.append(turn)
                break
        assert refused
        assert len(saved) == 2
        servers.running[found.primary].send_signal(signal.SIGCONT)
        for _ in range(10):
            await asyncio.sleep(0.05)
            saved.append(make_turn("later"))
            await history.save("c1", saved[-1])
        assert list((await history.load("c1")).turns) == saved


async def test_over_tls_a_certificate_of_the_given_authority_is_accepted_and_no_other(
    start_server: Callable[..., int],
    start_proxy: StartProxy,
    certificate: Path,
    make_turn: MakeTurn,
    make_picture: MakePicture,
) -> None:
    alone = await start_proxy(start_server(), server_side(certificate))
    before = await start_proxy(0, server_side(certificate))
    announced = ("--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(before.port))
    before.target = start_server("--cluster-enabled", "yes", *announced)
    with Redis(port=before.target) as admin:
        send: Any = admin.execute_command
        send("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in send("CLUSTER", "INFO"))
    for url in (f"rediss://127.0.0.1:{alone.port}", f"rediss+cluster://127.0.0.1:{before.port}"):
        async with await RedisHistory.open(f"{url}?ssl_ca_certs={certificate}") as history:
            await talk(history, make_turn, make_picture)
        line = await refusal(url)
        assert "certificate that is not trusted: add ?ssl_ca_certs=FILE" in line


async def test_sentinels_and_the_primary_that_they_name_are_both_spoken_to_over_tls(
    watched: Any, start_proxy: StartProxy, certificate: Path
) -> None:
    """The Sentinel here does speak it, by a proxy; its primary does not, and is not spoken to."""
    proxy = await start_proxy(watched.sentinel, server_side(certificate))
    url = f"rediss+sentinel://127.0.0.1:{proxy.port}/chat"
    assert "no Sentinel that answers" in await refusal(url)
    line = await refusal(f"{url}?ssl_ca_certs={certificate}", timeout=1)
    assert "Sentinel that" not in line
    assert "TLS" in line or "did not answer" in line


async def test_a_certificate_for_another_host_is_refused(
    start_server: Callable[..., int], start_proxy: StartProxy, certificate: Path
) -> None:
    proxy = await start_proxy(start_server(), server_side(certificate))
    line = await refusal(f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={certificate}")
    assert "check the host's name" in line


async def test_an_authority_that_cannot_be_read_is_told(
    start_server: Callable[..., int], tmp_path: Path
) -> None:
    missing = tmp_path / "none.pem"
    line = await refusal(f"rediss://127.0.0.1:{start_server()}/0?ssl_ca_certs={missing}")
    assert f"ssl_ca_certs names {str(missing)!r}, which is not there" in line


async def test_a_server_without_tls_is_told(start_server: Callable[..., int]) -> None:
    line = await refusal(f"rediss://127.0.0.1:{start_server()}/0", timeout=1)
    assert "TLS" in line or "did not answer" in line


async def test_both_protocols_give_the_same(
    start_server: Callable[..., int], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    port = start_server()
    ref, blobs = make_picture(1)
    loaded: list[object] = []
    for protocol in (2, 3):
        url = f"redis://127.0.0.1:{port}/0?protocol={protocol}"
        async with await RedisHistory.open(url) as history:
            if not loaded:
                await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
            loaded.append((await history.load("c1"), await history.conversations()))
    assert loaded[0] == loaded[1]


async def test_only_commands_of_redis_6_2_are_used(
    start_server: Callable[..., int], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Whatever server runs the tests: it counts commands, and each is one that 6.2 has."""
    port = start_server()
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0") as history:
        await talk(history, make_turn, make_picture)
    with Redis(port=port) as client:
        stats: Any = client.info("commandstats")
    assert {name.removeprefix("cmdstat_").partition("|")[0] for name in stats} <= OF_6_2


#: what COMMAND of Redis 6.2.14 names
OF_6_2 = frozenset(
    """
    acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove
    blpop brpop brpoplpush bzpopmax bzpopmin client cluster command config copy dbsize debug decr
    decrby del discard dump echo eval evalsha exec exists expire expireat failover flushall
    flushdb geoadd geodist geohash geopos georadius georadius_ro georadiusbymember
    georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hdel
    hello hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset host: hrandfield hscan
    hset hsetnx hstrlen hvals incr incrby incrbyfloat info keys lastsave latency lindex linsert
    llen lmove lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget migrate module
    monitor move mset msetnx multi object persist pexpire pexpireat pfadd pfcount pfdebug pfmerge
    pfselftest ping post psetex psubscribe psync pttl publish pubsub punsubscribe randomkey
    readonly readwrite rename renamenx replconf replicaof reset restore restore-asking role rpop
    rpoplpush rpush rpushx sadd save scan scard script sdiff sdiffstore select set setbit setex
    setnx setrange shutdown sinter sinterstore sismember slaveof slowlog smembers smismember smove
    sort spop srandmember srem sscan stralgo strlen subscribe substr sunion sunionstore swapdb
    sync time touch ttl type unlink unsubscribe unwatch wait watch xack xadd xautoclaim xclaim
    xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard
    zcount zdiff zdiffstore zincrby zinter zinterstore zlexcount zmscore zpopmax zpopmin
    zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
    zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan
    zscore zunion zunionstore
    """.split()
)


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("waited in vain")


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context
