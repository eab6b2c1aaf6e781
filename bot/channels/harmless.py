"""Text of sources and models made harmless for chats: no live links, no pings, no pictures.

A chat turns addresses into links by itself, fetches them for a preview, and calls people by
``<@…>`` and ``@everyone``; what a document says must not do that. Addresses stay readable, in the
form that people know from security reports: ``https[:]//evil[.]example/x``. Slack also links bare
names under any top-level domain there is, ``tablename.id`` and ``guide.md`` among them (Discord
does not): in those nothing is seen of what is done, a zero width space behind the dot. Names of
files whose ending is no such domain stay as they are, and so does code. Pure functions; knows
nothing of any channel's own markup beyond these.
"""

import re

from bot.channels.code_spans import outside_code
from bot.show import plain

#: Endings of files that are no top-level domains
FILE_ENDINGS = frozenset(
    "avi bak bat bmp bz2 cfg conf cpp css csv dat db dll doc docx env eml epub exe flac gif gz heic"
    " hpp htm html ics ini ipynb jpeg jpg js json jsonl jsx kt lock log mkv mp3 mp4 mpeg odp"
    " ods odt ogg pdf php png ppt pptx rar rb rtf sql sqlite svg tar tex tgz tif tiff tmp toml ts"
    " tsv tsx txt wav webm webp xls xlsx xml xz yaml yml".split()
)
_SCHEME = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}):(?=//|\\\\)", re.IGNORECASE)
_BARE_SCHEME = re.compile(
    r"\b(https?|ftp|wss?|mailto|tel|sms|data|javascript|vbscript|file|blob):(?=\S)", re.IGNORECASE
)
_LABEL = r"[^\W_](?:[\w-]{0,62})"
_HOST = re.compile(
    rf"(?<=//)(?:[^\s/@]{{0,200}}@)?{_LABEL}(?:\.{_LABEL}){{1,20}}"  # behind a scheme
    rf"|(?<![\w.@/-]){_LABEL}(?:\.{_LABEL}){{0,20}}\.[^\W\d_]{{2,24}}(?=[/:]\S)"  # before a path
    r"|(?<![\w.-])www\.",
    re.IGNORECASE,
)
_SITE = re.compile(
    rf"(?<![\w./-]){_LABEL}(?:\.{_LABEL}){{0,20}}"
    r"\.(?:com|net|org|info|biz|io|dev|app|xyz|top|ru|cn|ly|gg|me|co|link|site|online)(?![\w-])",
    re.IGNORECASE,
)
#: A dot within a name, whose next part may be a top-level domain
_DOT = re.compile(
    r"(?<=[\w\u00a1-\U0010ffff-])"
    r"(?:\.(?=[^\W\d_](?:[^\W\d_]|[^\0-\x7f]))|[\u3002\uff0e\uff61](?=[a-z]{2}))"
    rf"(?!(?:{'|'.join(sorted(FILE_ENDINGS))})(?![\w-]))",
    re.IGNORECASE,
)
_PING = re.compile(
    r"<(?=[@!#&/:+]|[a-z][a-z0-9+.-]*[:\[])|@(?=everyone|here|channel)", re.IGNORECASE
)
_APART = "\u200b"  #: zero width space: nothing is seen of it
_UNSEEN = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff]")  #: what a client may leave out


def harmless(text: str) -> str:
    """Return text in which nothing is a link, a picture or a ping."""
    text = _UNSEEN.sub("", plain(text))
    text = text.replace("](", "] (").replace("][", "] [")
    text = re.sub(r"(?m)^(\s{0,3}\[[^\]\n]{1,200}\]):", r"\1 :", text)
    text = _SCHEME.sub(r"\1[:]", text)
    text = _BARE_SCHEME.sub(r"\1[:]", text)
    text = re.sub(r"\[:\]//\S{0,2000}", lambda found: _hosts(found[0]), text)
    text = _HOST.sub(_broken, text)
    text = outside_code(text, _without_names)
    return _PING.sub(lambda found: found[0] + _APART, text)


def _hosts(address: str) -> str:
    """Break the dots of an address up to its path."""
    head, slash, path = address[5:].partition("/")
    return address[:5] + head.replace(".", "[.]") + slash + path


def _without_names(text: str) -> str:
    """Break names of hosts that stand without a scheme."""
    return _DOT.sub(lambda found: found[0] + _APART, _SITE.sub(_broken, text))


def _broken(found: re.Match[str]) -> str:
    return found[0].replace(".", "[.]")


def one_line(text: str, most: int) -> str:
    """Return harmless text on one line of at most ``most`` characters."""
    line = " ".join(harmless(text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
