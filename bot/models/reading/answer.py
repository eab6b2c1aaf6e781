"""What reading makes: quotations with the words between them. Pure values."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.models.reading.forms import Field
from bot.models.reading.plain import bare, plain
from bot.models.reading.shorten import CUT, Stretch


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of evidence ``number`` (from 1), as the source has them; ``lines`` are indexes into
    its lines of writing. ``text`` is what the answer shows of it: plain, perhaps shortened.
    """

    number: int
    text: str
    source_text: str
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer in pieces: the writer's own words and quotations. ``found`` is false when the
    evidence holds no answer; what is quoted then is only the closest.
    """

    found: bool
    pieces: tuple[str | Quote, ...]

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """The quotations, in order."""
        return tuple(p for p in self.pieces if isinstance(p, Quote))


def quote(stretch: Stretch) -> Quote:
    """Return a stretch of a unit as a quotation."""
    unit = stretch.unit
    source_text = bare(unit.text[stretch.start : stretch.end])
    return Quote(unit.number, plain(stretch.text), source_text, unit.lines)


def quote_field(field: Field, limit: int, name: str = "") -> Quote:
    """Return a field of a form as a quotation of at most ``limit`` characters; ``name`` says of
    which picture it is, where several are quoted.
    """
    text = plain(f"{name}: {field.text}" if name else field.text)
    if len(text) > limit:
        text = text[: limit - len(CUT)].rstrip() + CUT
    return Quote(field.number, text, bare(field.text), field.lines)


def fill(quotes: Sequence[Quote], limit: int) -> tuple[Quote, ...]:
    """Return as many of ``quotes`` as fit into ``limit`` characters, the first one in any case."""
    kept: list[Quote] = []
    room = limit
    for one in quotes:
        room -= len(one.text) + (1 if kept else 0)
        if room < 0 and kept:
            break
        kept.append(one)
    return tuple(kept)
