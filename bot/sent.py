"""A picture as its sender gave it: with a file name, and with words that say what it shows.

A pure value. Knows nothing of how a picture is read.
"""

from dataclasses import dataclass

from retrievers.imaging import PictureLike


@dataclass(frozen=True, slots=True)
class SentPicture:
    """A picture that comes with words of its own, for ``ask(…, images=[SentPicture(…)])``.

    ``picture`` is a path, encoded bytes or a PIL image. ``name`` is its file name. ``alt`` says
    what it shows, as chats and pages let their users say it; it is the picture's caption from the
    start, in place of the writing that is read in it.
    """

    picture: PictureLike
    name: str = ""
    alt: str = ""
