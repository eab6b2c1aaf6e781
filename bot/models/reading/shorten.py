"""A unit is cut to length around the words that answer.

Knows nothing of how units were ranked.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bot.models.reading.question import Question
from bot.models.reading.score import candidates
from bot.models.reading.stems import SHORTEST
from bot.models.reading.units import Unit
from bot.models.reading.words import Token, content_stems, tokens

CUT = "…"
SEPARATOR = " | "  #: between the cells of a table's row
#: Words away from a question word at which its pull on an answer is half
HALF_WAY = 4.0
#: How much more a word of the kind asked for weighs than another word the question did not have
KIND = 8.0
#: The part of a window's worth that lies in question words; the rest lies in possible answers
CONTEXT = 0.2
#: What a cut at the end of a clause is worth, next to one inside it
CLAUSE = 0.04

_CLAUSE = re.compile(r"[,;:–—(]\s*$")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a unit's text. ``value``: how likely it holds the answer if the unit does."""

    unit: Unit
    start: int
    end: int
    value: float

    @property
    def text(self) -> str:
        """The stretch with a mark of omission at each end that is a cut."""
        whole = self.unit.text
        left = CUT if self.start else ""
        return left + whole[self.start : self.end].strip() + (CUT if self.end < len(whole) else "")


def cells(unit: Unit, question: Question) -> Unit:
    """Return a table's row with the cells that matter: the first, which names it, and those whose
    column or value has a word of the question, or one that begins with it ("own", "owner"). The
    whole row when only the first is left.
    """
    parts = unit.text.split(SEPARATOR)
    asked = tuple(stem for stem in question.weights if len(stem) >= SHORTEST)
    kept = [
        cell
        for i, cell in enumerate(parts)
        if not i or any(s.startswith(asked) or s in question.weights for s in content_stems(cell))
    ]
    text = SEPARATOR.join(kept if len(kept) > 1 else parts)
    return Unit(
        unit.number, unit.order, text, unit.form, unit.lines, tuple(tokens(text)), unit.stems
    )


def shorten(unit: Unit, question: Question, limit: int) -> Stretch:
    """Return the stretch of ``unit.text`` of at most ``limit`` characters that is most likely to
    answer: the whole text when it fits; marks of omission are part of the limit. Of a table's row
    only the cells that matter are taken.
    """
    if unit.form == "row":
        unit = cells(unit, question)
    text, words = unit.text, unit.tokens
    if len(text) <= limit:
        return Stretch(unit, 0, len(text), 1.0)
    if not words:
        return Stretch(unit, 0, max(limit - len(CUT), 0), 0.0)
    context, answer = _worth(unit, question)
    before = _occurred_before(words)
    starts = [0, *(t.start for t in words[1:])]
    ends = [_end(text, words, i) for i in range(len(words))]
    opens = [CLAUSE if _opens(text, start) else 0.0 for start in starts]
    closes = [CLAUSE if _closes(text, end) else 0.0 for end in ends]
    best, best_value = (0, 0), 0.0
    for i, start in enumerate(starts):
        room = limit - (len(CUT) if start else 0)
        longest = start + room - len(CUT)
        value = opens[i]
        for j in range(i, len(words)):
            if ends[j] > longest and (ends[j] < len(text) or ends[j] > start + room):
                break
            value += answer[j] + (context[j] if before[j] < i else 0.0)  # once a window
            if value + closes[j] > best_value:
                best, best_value = (i, j), value + closes[j]
    first, last = best
    end = min(ends[last], starts[first] + limit - 2 * len(CUT)) if first == last else ends[last]
    return Stretch(unit, starts[first], end, best_value)


def _worth(unit: Unit, question: Question) -> tuple[list[float], list[float]]:
    """Return what each word is worth as context and as a possible answer.

    A word of the question that the unit repeats says less of where in it the answer is.
    """
    words = unit.tokens
    times = Counter(t.stem for t in words)
    asked = [question.weights.get(t.stem, 0.0) for t in words]
    places = [(i, weight / times[words[i].stem]) for i, weight in enumerate(asked) if weight]
    wanted = _marked(words, candidates(question.wants, unit, frozenset(question.weights)))
    answer = []
    for i, token in enumerate(words):
        if asked[i] or (token.stop and i not in wanted):
            answer.append(0.0)
            continue
        pull = sum(w / (1 + abs(i - place) / HALF_WAY) for place, w in places) or 1.0
        answer.append(pull * (KIND if i in wanted else 1.0))
    return _shares(asked, CONTEXT), _shares(answer, 1 - CONTEXT)


def _occurred_before(words: Sequence[Token]) -> list[int]:
    """Return for each word the index of the same stem before it, or -1."""
    last: dict[str, int] = {}
    before = []
    for i, token in enumerate(words):
        before.append(last.get(token.stem, -1))
        last[token.stem] = i
    return before


def _shares(values: Sequence[float], whole: float) -> list[float]:
    """Return ``values`` scaled so that they sum to ``whole``."""
    total = sum(values) or 1.0
    return [whole * v / total for v in values]


def _marked(words: Sequence[Token], spans: Sequence[tuple[int, int]]) -> set[int]:
    """Return the indexes of the words that lie in any of ``spans``."""
    starts = [t.start for t in words]
    marked: set[int] = set()
    for start, end in spans:
        first = bisect_left(starts, start)
        marked.update(
            i
            for i in range(max(first - 1, 0), len(words))
            if words[i].start < end and words[i].end > start
        )
    return marked


def _end(text: str, words: Sequence[Token], i: int) -> int:
    """Return where word ``i`` ends, with the closing signs that belong to it."""
    limit = words[i + 1].start if i + 1 < len(words) else len(text)
    end = words[i].end
    while end < limit and not text[end].isspace() and text[end] not in '([{“«"':
        end += 1
    return len(text) if i + 1 == len(words) else end


def _opens(text: str, start: int) -> bool:
    return start == 0 or _CLAUSE.search(text[max(0, start - 3) : start]) is not None


def _closes(text: str, end: int) -> bool:
    return end == len(text) or text[end - 1] in ",;:.)–—"
