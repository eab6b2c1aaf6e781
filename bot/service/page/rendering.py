"""Words of users, documents and models as HTML that can do nothing: the one place for it.

Markdown without raw HTML, links and pictures: an address stays the words that it is, so nothing
that a source says is ever fetched or can be clicked. What is left goes through a short list of
tags. Knows nothing of the page.
"""

import re
from collections.abc import Collection
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt

from bot.show import plain

LONGEST = 200_000  #: characters that are shown; nothing here writes more
_MARK = re.compile(r"\[(\d{1,3})\]")
_TAGS = frozenset(
    "p br hr strong em s code pre ul ol li blockquote h1 h2 h3 h4 h5 h6"
    " table thead tbody tr th td".split()
)
_ATTRIBUTES = {"ol": {"start"}}
#: Rules that could make something that is fetched or clicked, or that is taken as it stands
_OFF = ("link", "image", "autolink", "html_inline", "html_block", "reference", "linkify", "entity")


@lru_cache(1)
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    return made.enable(["table", "strikethrough"]).disable(_OFF, ignoreInvalid=True)


def safe_html(text: str, marks: Collection[int] = ()) -> str:
    """Return Markdown as HTML without anything active, whatever it says.

    Each ``[n]`` whose number is among ``marks`` becomes a button that carries it.
    """
    made = _markdown().render(plain(text[:LONGEST]))
    clean = nh3.clean(
        made,
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        url_schemes=set(),
        link_rel=None,
        strip_comments=True,
    )

    def mark(found: re.Match[str]) -> str:
        number = int(found[1])
        if number not in marks:
            return found[0]
        return (
            f'<button type="button" class="mark" data-mark="{number}"'
            f' aria-label="Open source {number}">{number}</button>'
        )

    return _MARK.sub(mark, clean)  # attributes hold no bracket: the only one is a number
