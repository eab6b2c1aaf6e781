"""What would lead somewhere, or call somebody, in what was said in a chat: rows 16 and 18."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from markdown_it import MarkdownIt

#: Every top-level domain there is, as hypothesis has the list of the IANA
DOMAINS = (
    (files("hypothesis.vendor") / "tlds-alpha-by-domain.txt").read_text().lower().split("\n")[1:-1]
)
#: What a chat that is generous with links takes for the name of a host
NAME = re.compile(
    r"[\w-]+[.\u3002\uff0e\uff61](?:" + "|".join(DOMAINS) + r"|invalid)(?![\w-])", re.IGNORECASE
)
_LIVE = re.compile(
    r"[a-z][a-z0-9+.-]*:(?://|\\\\)|\bwww\.|\b(?:mailto|tel|javascript|data):\S|\]\(|\]\["
    r"|^\s{0,3}\[[^\]\n]+\]:|<[@!#&/+]|<[a-z][a-z0-9+.-]*[:\[]|@(?:everyone|here|channel)\b",
    re.IGNORECASE | re.MULTILINE,
)
#: Under which names a body has words that people see
_SEEN = frozenset("text markdown_text title alt_txt initial_comment status content description"
                  " filename name label".split())  # fmt: skip
#: What a bot says of the words of whoever asks, who is no source
_OF_PEOPLE = frozenset(("assistant.threads.setTitle",))


def live(text: str) -> list[str]:
    """Return what is live in a text; names of hosts only outside of code."""
    if text.startswith("<@U1> asks: "):
        text = text.removeprefix("<@U1>")
    found = [match[0] for match in _LIVE.finditer(text)]
    return [*found, *(match[0] for prose in _prose(text) for match in NAME.finditer(prose))]


def _prose(text: str) -> Iterator[str]:
    if "`" not in text:
        yield text
        return
    for token in MarkdownIt().enable("table").parse(text):
        for part in token.children or []:
            if part.type == "text":
                yield part.content


def words(body: Any) -> Iterator[str]:
    """Yield all words that people see of a body."""
    if isinstance(body, list):
        for one in body:
            yield from words(one)
    elif isinstance(body, dict):
        for name, value in body.items():
            if isinstance(value, str) and name in _SEEN:
                yield value
            else:
                yield from words(value)


def said_in_slack(slack: Any) -> Iterator[str]:
    """Yield everything that the bot said in a Slack, as it was sent, and as it stood there: of the
    pieces of a stream, which may be from the middle of a code block, what all of them are so far.
    """
    for method, args in slack.calls:
        if method in ("chat.appendStream", "chat.stopStream"):
            yield from words(args.get("blocks") or [])
        elif method not in _OF_PEOPLE:
            yield from words(args)
    yield from words([*slack.responses, *slack.acked])
    for shown in (*slack.messages.values(), *slack.deleted, *slack.ephemeral):
        if shown.user == "UBOT":
            yield from shown.history


def said_in_discord(discord: Any) -> Iterator[str]:
    """Yield everything that the bot said in a Discord."""
    for call in discord.transcript:
        if call.method in ("POST", "PATCH"):
            yield from words(call.body)
    for message in discord.mine():
        yield from message.get("said", [])


def check_unfurled(slack: Any) -> None:
    """Nothing that the bot sent to a Slack may be previewed; a stream's pieces and its end take no
    such argument, and keep to its beginning."""
    for method, args in slack.calls:
        if method in ("chat.postMessage", "chat.update", "chat.postEphemeral", "chat.startStream"):
            flags = args.get("unfurl_links"), args.get("unfurl_media")
            assert flags == (False, False), (method, args)
        if method == "files.completeUploadExternal":
            assert not args.get("initial_comment"), args
    for body in (*slack.responses, *(acked for acked in slack.acked if acked.get("text"))):
        assert (body["unfurl_links"], body["unfurl_media"]) == (False, False), body
