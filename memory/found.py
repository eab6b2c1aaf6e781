"""What a search of past turns returns: pure values. Knows nothing of how it is found."""

from dataclasses import dataclass

from memory.messages import Role


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that was found. ``turn`` counts from 1 among those of its conversation.

    ``line`` is the line of the question (``by`` is "user") or answer ("bot") where most of the
    words stand, cut to 160 characters; ``marks`` are the spans of the words in it. ``at`` is
    seconds since 1970 (UTC), ``id`` the turn's own.
    """

    conversation: str
    title: str
    turn: int
    id: str
    at: float
    by: Role
    line: str
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, the conversation last written first, and how far it looked.

    ``partial`` tells that there may be more; ``notices`` say why, and what could not be read.
    """

    found: tuple[Found, ...]
    conversations: int
    turns: int
    partial: bool = False
    notices: tuple[str, ...] = ()
