"""``bifocal keys``, as a person types it, on the Redis beside a library."""

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from bot.cli import app
from bot.errors import KNOWN_ERRORS
from bot.service.access.keys import KEYS, KeyStore
from bot.service.access.rights import Access
from bot.service.stores.shared_redis import SharedRedis
from memory.embedded import EmbeddedRedis
from retrievers.library import Library
from retrievers.library_schema import FILE

TOKEN = re.compile(r"^bf_[a-z0-9]{8}_[A-Za-z0-9_-]{43}$", re.MULTILINE)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library without sources and without keys."""
    folder = tmp_path / "library"
    Library.open(folder, create=True).close()
    return folder


def run(library: Path, *args: str) -> str:
    """Run ``bifocal keys`` and return what it printed."""
    result = CliRunner().invoke(app, ["keys", *args, "-l", str(library)])
    assert result.exit_code == 0, result.output
    return result.output


def refused(library: Path, *args: str) -> str:
    """Check that the command fails with an error that is told in one line, and return it."""
    result = CliRunner().invoke(app, ["keys", *args, "-l", str(library)])
    assert isinstance(result.exception, KNOWN_ERRORS)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def check(library: Path, token: str) -> Access | None:
    """Return what a key opens for a service on that library."""

    async def ask() -> Access | None:
        async with await SharedRedis.open(folder=library / "redis") as redis:
            store = KeyStore(redis)
            found = await store.check(token)
            await store.aclose()
            return found

    return asyncio.run(ask())


def test_a_key_is_printed_once_on_a_line_of_its_own_with_how_to_use_it(library: Path) -> None:
    """It opens every library of its tenant for questions; the list never shows it."""
    printed = run(library, "add", "phone")
    (token,) = TOKEN.findall(printed)
    assert "not shown again" in printed
    assert "Authorization: Bearer" in printed
    access = check(library, token)
    assert access is not None
    assert access == Access(access.key_id, "phone", "default", frozenset("*"), frozenset())
    for listed in (run(library, "list"), run(library, "list", "--json")):
        assert "phone" in listed
        assert access.key_id in listed
        assert token[12:] not in listed


def test_what_a_key_may_do_is_what_the_options_say(library: Path) -> None:
    """Tenant, libraries, rate, budget and end: in JSON, in the list and for the service."""
    options = (
        "--tenant news --read a --read b --write c --rate 9/hour --turns-per-day 5 --expires 2h"
    )
    made = json.loads(run(library, "add", "press", *options.split(), "--json"))
    expected = {
        **{"name": "press", "tenant": "news", "read": ["a", "b"], "write": ["c"]},
        **{"rate": "9/hour", "turns_per_day": 5},
    }
    assert expected.items() <= made.items()
    assert 0 < made["expires"] - time.time() <= 7200
    access = check(library, made["key"])
    assert access == Access(
        made["id"], "press", "news", frozenset("ab"), frozenset("c"), "9/hour", 5
    )
    (listed,) = json.loads(run(library, "list", "--json"))
    assert expected.items() <= listed.items()
    assert "key" not in listed
    table = run(library, "list")
    for word in ("press", "news", "a b", "c", "9/hour", "5"):
        assert word in table
    only_write = json.loads(run(library, "add", "robot", "--write", "c", "--json"))
    assert (only_write["read"], only_write["write"]) == ([], ["c"])


def test_a_revoked_key_opens_nothing(library: Path) -> None:
    """By name, by id, or by the key itself."""
    for way in ("name", "id", "key"):
        made = json.loads(run(library, "add", "phone", "--json"))
        assert f"Revoked phone ({made['id']})" in run(library, "revoke", made[way])
        assert check(library, made["key"]) is None
    assert "No keys yet" in run(library, "list")
    assert json.loads(run(library, "list", "--json")) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("add Phone", "key 'Phone': give 1 to 64"),
        ("add phone --tenant a/b", "tenant 'a/b': give 1 to 64"),
        ("add phone --read ../x", "library '../x': give 1 to 64"),
        ("add phone --rate lots", "rate 'lots': give one such as 60/minute"),
        ("add phone --turns-per-day 0", "turns per day 0: give 1 to"),
        ("add phone --expires soon", "expires 'soon': give a number with s, m, h or d"),
        ("add phone --expires 0d", "expires '0d'"),
        ("add phone --expires 99999999d", "up to 36500d"),
        ("add taken", "key 'taken': the name is taken"),
        ("revoke nobody", "key 'nobody': there is none of that name or id; see: bifocal keys list"),
    ],
)
def test_a_mistake_is_one_line_with_the_value_and_the_way_out(
    library: Path, args: str, said: str
) -> None:
    """And nothing is made of it."""
    run(library, "add", "taken")
    assert said in refused(library, *args.split())
    assert [key["name"] for key in json.loads(run(library, "list", "--json"))] == ["taken"]


def test_on_a_fresh_machine_the_first_key_comes_before_the_library(tmp_path: Path) -> None:
    """The folder is named, in case it was mistyped; a service that starts there lets the key in."""
    fresh = tmp_path / "data" / "library"
    printed = run(fresh, "add", "phone")
    assert f"There is no library in {fresh} yet; `bifocal serve` makes it there." in printed
    (token,) = TOKEN.findall(printed)
    assert [key["name"] for key in json.loads(run(fresh, "list", "--json"))] == ["phone"]
    assert not (fresh / FILE).exists()  # a key needs none
    Library.open(fresh, create=True).close()  # as the service does
    access = check(fresh, token)
    assert access is not None
    assert access.name == "phone"
    assert "no library" not in run(fresh, "add", "desk").lower()


def test_reading_keys_where_nothing_was_begun_names_the_folder_and_makes_nothing(
    tmp_path: Path,
) -> None:
    for args in (["list"], ["list", "--json"], ["revoke", "phone"]):
        said = refused(tmp_path / "typo", *args)
        assert f"{tmp_path / 'typo'}: no library and no keys here" in said
        assert "bifocal keys add NAME" in said
    assert not (tmp_path / "typo").exists()


def test_keys_lie_in_the_redis_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an address no library is needed."""
    with EmbeddedRedis.open(tmp_path / "redis") as server:
        monkeypatch.setenv("BIFOCAL_REDIS_URL", server.url)
        made = json.loads(run(tmp_path / "none", "add", "phone", "--json"))
        with Redis.from_url(server.url) as client:
            found: Any = client.hkeys(KEYS)
            assert found == [made["id"].encode()]
            client.hset(KEYS, "\x1b[2Jzz", "{")  # damaged, and meant for the terminal
            shown = run(tmp_path / "none", "list")
            assert "\x1b" not in shown
            assert "(damaged)" in shown
    assert not (tmp_path / "none").exists()


def test_as_a_process_a_mistake_is_one_line_and_ends_with_1(library: Path) -> None:
    """Without a traceback; and `--help` shows how to begin."""

    def bifocal(*args: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "bot", "keys", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    failed = bifocal("add", "phone", "--rate", "often", "-l", str(library))
    assert failed.returncode == 1
    assert failed.stderr == (
        "bifocal: rate 'often': give one such as 60/minute, 5/second or 1000/day\n"
    )
    assert "bifocal keys add phone" in " ".join(bifocal("--help").stdout.split())
