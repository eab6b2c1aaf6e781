"""Text of sources and models made harmless for chats: no live links, no pings, no pictures.

A chat turns addresses into links by itself, fetches them for a preview, and calls people by
``<@…>`` and ``@everyone``; what a document says must not do that. Addresses stay readable, in the
form that people know from security reports: ``https[:]//evil[.]example/x``. Pure functions; knows
nothing of any channel's own markup beyond these.
"""

import re

from bot.show import plain

_SCHEME = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}):(?=//|\\\\)", re.IGNORECASE)
_BARE_SCHEME = re.compile(
    r"\b(mailto|tel|sms|data|javascript|vbscript|file|blob):(?=\S)", re.IGNORECASE
)
_LABEL = r"[^\W_](?:[\w-]{0,62})"
_HOST = re.compile(
    rf"(?:(?<=//)(?:[^\s/@]{{0,200}}@)?{_LABEL}(?:\.{_LABEL}){{1,20}}"  # behind a scheme
    rf"|(?<![\w.@/-]){_LABEL}(?:\.{_LABEL}){{0,20}}\.[^\W\d_]{{2,24}}(?=[/:]\S)"  # before a path
    r"|(?<![\w.-])www\."
    rf"|(?<![\w./-]){_LABEL}(?:\.{_LABEL}){{0,20}}"
    r"\.(?:com|net|org|info|biz|io|dev|app|xyz|top|ru|cn|ly|gg|me|co|link|site|online)(?![\w-]))",
    re.IGNORECASE,
)
_PING = re.compile(
    r"<(?=[@!#&/:]|[a-z][a-z0-9+.-]*[:\[])|@(?=everyone|here|channel)", re.IGNORECASE
)
_APART = "\u200b"  #: zero width space: nothing is seen of it


def harmless(text: str) -> str:
    """Return text in which nothing is a link, a picture or a ping."""
    text = plain(text).replace(_APART, "")
    text = text.replace("](", "] (").replace("][", "] [")
    text = re.sub(r"(?m)^(\s{0,3}\[[^\]\n]{1,200}\]):", r"\1 :", text)
    text = _SCHEME.sub(r"\1[:]", text)
    text = _BARE_SCHEME.sub(r"\1[:]", text)
    text = re.sub(r"\[:\]//\S{0,2000}", lambda found: _hosts(found[0]), text)
    text = _HOST.sub(lambda found: found[0].replace(".", "[.]"), text)
    return _PING.sub(lambda found: found[0] + _APART, text)


def _hosts(address: str) -> str:
    """Break the dots of an address up to its path."""
    head, slash, path = address[5:].partition("/")
    return address[:5] + head.replace(".", "[.]") + slash + path


def one_line(text: str, most: int) -> str:
    """Return harmless text on one line of at most ``most`` characters."""
    line = " ".join(harmless(text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
