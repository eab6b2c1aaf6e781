"""What stands in a text of a source leads nowhere in a chat, and is read as before."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import DOMAINS, NAME

from bot.channels.code_spans import outside_code
from bot.channels.harmless import FILE_ENDINGS, harmless, one_line

LENGTH = 1_000_000 if os.environ.get("BIFOCAL_FULL") else 100_000  #: of a hostile text
PIECES = ["http", "s", ":", "//", "evil.com", "/", "[", "x", "]", "(", ")", "<", "@", "!", "here",
          "everyone", "\u200b", "\x00", "\u202e", "www", ".", " ", "\n", "[:]"]  # fmt: skip
CODE = ["`", "``", "```", "```py", "~~~", "\n", "\n\n", " ", "evil.de", "a.b", "x", "|", "\\", "<",
        "<!--", "> ", "- ", "    ", "\t"]  # fmt: skip


def seen(text: str) -> str:
    """Return what people see of a text: a zero width space is nothing to them."""
    return text.replace("\u200b", "")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("see https://evil.example/a?b", "see https[:]//evil[.]example/a?b"),
        ("[x](HTTP://A.B/c)", "[x] (HTTP[:]//A[.]B/c)"),
        ("![p](//evil.com/x)", "![p] (//evil[.]com/x)"),
        ("www.evil.example", "www[.]evil.\u200bexample"),
        ("go to evil.com now", "go to evil[.]com now"),
        ("https:\\evil.de, https:/a.b", "https[:]\\evil.\u200bde, https[:]/a.b"),
        ("mailto:anna@b.example", "mailto[:]anna@b.\u200bexample"),
        ("[1]: http://x.y", "[1] : http[:]//x[.]y"),
        ("<@U1> @everyone <+4930123>", "<\u200b@U1> @\u200beveryone <\u200b+4930123>"),
        ("evil.de, a.co.uk", "evil.\u200bde, a[.]co.\u200buk"),
        ("evil.xn--p1ai кто.рф x\u3002de", "evil.\u200bxn--p1ai кто.\u200bрф x\u3002\u200bde"),
        ("evil.\u2060de ev\u00adil.de", "evil.\u200bde evil.\u200bde"),
        ("guide.md and main.py", "guide.\u200bmd and main.\u200bpy"),
        ("`os.path`, `a b.cd`", "`os.path`, `a b.\u200bcd`"),
        ("```py\nos.path\n```\na.de", "```py\nos.path\n```\na.\u200bde"),
        (
            "it is 3.5 m [1][2], see report.pdf at 10:30",
            "it is 3.5 m [1] [2], see report.pdf at 10:30",
        ),
    ],
)
def test_addresses_stay_readable_and_nothing_is_live(given: str, shown: str) -> None:
    assert harmless(given) == shown


@pytest.mark.parametrize(
    "text",
    ["report.pdf, photo.JPG; plan.tar.gz", "3.11, v1.2.3, 10.0.0.1", "e.g. i.e. z.B. U.S.A. a.m.",
     "An end. And on… Well... so", "今日は。明日も。", ".env and .gitignore", "x = a.b(c)"],
)  # fmt: skip
def test_what_is_no_address_is_left_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize("text", ["os.path", "self.name", "guide.md", "end.The next", "Dr.No"])
def test_what_only_may_be_one_looks_as_before(text: str) -> None:
    assert seen(harmless(text)) == text


def test_no_name_under_any_top_level_domain_is_left_whole() -> None:
    assert len(DOMAINS) > 1000
    assert not FILE_ENDINGS & set(DOMAINS)
    for domain in [*DOMAINS, *(d.encode().decode("idna") for d in DOMAINS if d.startswith("xn--"))]:
        for name in (f"evil.{domain}", f"a-1.EVIL.{domain.upper()}", f"x@evil.{domain}"):
            shown = harmless(f"Go to {name}, now")
            assert not NAME.search(shown), shown
            assert f".{domain}" not in shown.lower(), shown


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_mixture_of_pieces_becomes_a_live_link_or_a_ping(text: str) -> None:
    shown = harmless(text)
    assert not re.search(r"[a-z]://|\]\(|<[@!#&]|@(everyone|here|channel)|www\.", shown, re.I), (
        shown
    )


LABELS = st.text("abz019-äßя中", min_size=1, max_size=9)


@given(
    st.lists(LABELS, min_size=1, max_size=4),
    st.sampled_from(DOMAINS),
    st.sampled_from(["", " ", "(", "**", "“", "a@", "x/", "\u200b", "😀"]),
    st.sampled_from(["", " ", ")", "**", ".", ":", "/x?y", "…", "\u200d"]),
)
def test_no_host_is_left_whole_wherever_it_stands(
    labels: list[str], domain: str, before: str, after: str
) -> None:
    shown = harmless(f"{before}{'.'.join([*labels, domain])}{after}")
    assert not NAME.search(shown), shown


@given(st.lists(st.sampled_from(PIECES + CODE), max_size=20).map("".join))
def test_made_harmless_again_it_is_the_same(text: str) -> None:
    once = harmless(text)
    assert harmless(once) == once


@given(st.lists(st.sampled_from(CODE), max_size=14).map("".join))
def test_an_address_outside_of_code_is_never_taken_for_code(text: str) -> None:
    """What a strict parser of CommonMark finds outside of code is changed."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt()
    shown = harmless(text)
    for token in markdown.parse(shown):
        for part in token.children or []:
            if part.type == "text":
                assert "evil.de" not in part.content, shown
    assert seen(shown) == seen(harmless(seen(shown)))


def test_only_what_is_surely_code_is_left() -> None:
    def shout(text: str) -> str:
        return text.upper()

    for text, told in (
        ("a `b` c", "A `b` C"),
        ("a `b", "A `B"),
        ("a ` b ``c` d `e", "A ` B ``C` D `E"),
        ("a `\nb `c` d", "A `\nB `C` D"),
        ("a `\n\nb `c` d", "A `\n\nB `c` D"),
        ("```x\na\n```\nb", "```X\na\n```\nB"),
        ("```\na", "```\na"),
        ("~~~\n```\n~~~\na", "~~~\n```\n~~~\nA"),
        ("- ```\na\n```", "- ```\nA\n```"),
        ("````\na\n```\nb\n````\nc", "````\na\n```\nB\n````\nC"),
        (r"\`a` b", r"\`A` B"),
        ("| ` | a` |", "| ` | A` |"),
    ):
        assert outside_code(text, shout) == told


@pytest.mark.parametrize(
    "piece",
    ["a.", "a.a", "a.bc", "`", "`a` ", "`a.de` `", "//", "@", "<a:", "``` \n", "```\n", "http://",
     "a.com/", "é.", "。ab", "[:]//", "[x]", "a-", "www.", "[x]:", "~~~`"],
)  # fmt: skip
def test_text_made_to_be_slow_is_read_in_time_that_grows_with_its_length(piece: str) -> None:
    """Runs over repeated signs that make a careless pattern take for ever."""
    assert harmless(piece * (LENGTH // len(piece)))


def test_one_line_is_one_line_and_no_longer_than_it_may_be() -> None:
    assert one_line("a\nb   c", 10) == "a b c"
    assert len(one_line("word " * 100, 30)) == 30
