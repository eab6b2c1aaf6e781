"""What a key opens: names, libraries, and that nothing else is a name."""

import pytest

from bot.errors import AccessError
from bot.service.access.rights import MOST_TURNS, OPEN, Access, check_name


def access(read: set[str], write: set[str]) -> Access:
    return Access("abcd1234", "phone", "default", frozenset(read), frozenset(write))


def test_only_the_libraries_that_are_named_may_be_read_or_written() -> None:
    """Writing implies reading, and reading does not imply writing."""
    some = access({"archive"}, {"today"})
    assert [some.may_read(name) for name in ("archive", "today", "other")] == [True, True, False]
    assert [some.may_write(name) for name in ("archive", "today", "other")] == [False, True, False]
    nothing = access(set(), set())
    assert not nothing.may_read("archive")
    assert not nothing.may_write("archive")


def test_a_star_is_every_library_and_no_name_of_one() -> None:
    """``*`` counts for what it was given for; as a name it opens nothing."""
    reader, writer = access({"*"}, set()), access(set(), {"*"})
    assert reader.may_read("any")
    assert not reader.may_write("any")
    assert writer.may_read("any")
    assert writer.may_write("any")
    assert not access({"archive"}, set()).may_read("*")


def test_without_keys_everybody_is_the_default_tenant_and_may_do_everything() -> None:
    """This is for loopback; whoever asks for it has no key's id."""
    assert (OPEN.tenant, OPEN.key_id) == ("default", "")
    assert OPEN.may_write("any")


@pytest.mark.parametrize("name", ["a", "0", "news", "a.b_c-d", "9" * 64, "a..b"])
def test_a_name_has_small_letters_digits_and_three_signs(name: str) -> None:
    assert check_name(name, "library") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "-a", "_a", "a/b", "a\\b", "../a", "A", "a b", "a\n", "\na", "a\x00"),
        *("*", "a" * 65, "a" * 10_000_000, "é", "ａ", "٣", "a\u202e", "a{b}", "a:b", "\ud800"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_short_line(name: str) -> None:
    """As a tenant, as a library and as a key's name; the line says what is allowed."""
    for make in (
        lambda: check_name(name, "library"),
        lambda: Access("", "phone", name, frozenset(), frozenset()),
        lambda: Access("", name, "default", frozenset(), frozenset()),
    ):
        with pytest.raises(AccessError, match="1 to 64 of a-z") as caught:
            make()
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()
    if name != "*":
        with pytest.raises(AccessError, match="library"):
            access({name}, set())
        with pytest.raises(AccessError, match="library"):
            access({"good"}, {"good", name})


@pytest.mark.parametrize("turns", [0, -1, MOST_TURNS + 1])
def test_a_budget_of_no_turns_is_refused(turns: int) -> None:
    """No budget is ``None``; a key that may do nothing is one to revoke."""
    with pytest.raises(AccessError, match=str(turns)):
        Access("", "phone", "default", frozenset(), frozenset(), "", turns)
