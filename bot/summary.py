"""Older turns in a few words, of which numbers, names and picture handles survive: pure functions.

A summary is lines of text, at most so many characters. Without a model each turn is a line: its
question, the pictures that came with it, the first sentence of its answer that has a source, and
whatever number or name is in neither. With a model its text is the first line, and what it lost of
these is the second. What becomes too long is squeezed from the oldest line on: to its facts, then
to its pictures. Knows nothing of models, of budgets in tokens or of where a summary is kept.
"""

import re
from collections.abc import Mapping, Sequence

from bot.ask_back import question_of, said_in
from bot.citations import MARK
from bot.models.reading.units import sentences
from bot.models.reading.words import FOLLOW_UP_WORDS, fold, stem
from memory.messages import PictureRef, Recap, Turn

#: Characters of a question, of an answer's sentence and of a caption in a line
_QUESTION, _SENTENCE, _CAPTION = 160, 240, 80
_MOST_FACTS = 40  # of one turn
_READ = 4000  # characters of a message in which they are looked for

References = Mapping[int, PictureRef] | None

_HANDLE = re.compile(r"\bpicture (\d+)\b(?: \([^()\n]*\))?", re.IGNORECASE)
_NUMBER = re.compile(r"[$€£¥]?\d+(?:[.,:/’'-]\d+)*(?: ?(?:%|°[CF]?|[A-Za-zµ]{1,3}\b))?")
_DIGITS = re.compile(r"\d+(?:[.,:/’'-]\d+)*")
_CAPITAL = r"[A-ZÀ-ÖØ-ÞА-Я][\w’'-]*"
_NAME = re.compile(
    rf"{_CAPITAL}(?:[ \t]+{_CAPITAL})*|[\"“„«「『《]([^\"”“»」』》\n]{{2,60}})[\"”“»」』》]"
)
_BEGINS = re.compile(r"[.!?:;\n(]\s*$")


def handle(number: int, references: References) -> str:
    """Return how a summary names a picture: ``picture 2 (a dog)``; of one that was dropped, that
    it is gone. ``references`` are all that there are, None where that is not known."""
    known = references.get(number) if references is not None else None
    if known is None and references is not None:
        return f"picture {number} (no longer there)"
    about = " ".join((known.caption or known.name).split()) if known else ""
    about = about.replace("(", "[").replace(")", "]")[:_CAPTION].rstrip()
    return f"picture {number} ({about})" if about else f"picture {number}"


def facts(text: str) -> list[str]:
    """Return the picture handles, numbers (with a unit) and names of ``text``, each once.

    A name is a run of capitalised words, or what stands in quotation marks. One capitalised word at
    the beginning of a sentence is none where it is a common word. Rather too much than too little.
    """
    text = text[: 10 * _READ]
    found = {m.group(): m.start() for m in reversed(list(_HANDLE.finditer(text)))}
    rest = _HANDLE.sub(lambda m: " " * len(m.group()), text)
    lower = {w for w in re.findall(r"\w+", rest) if w[:1].islower()}
    for match in _NUMBER.finditer(rest):
        found.setdefault(match.group(), match.start())
    for match in _NAME.finditer(rest):
        name = match.group(1) or match.group()
        words = name.split()
        start = match.start()
        if match.group(1) is None and (
            not start or _BEGINS.search(rest[max(0, start - 8) : start])
        ):
            while words and (
                words[0].casefold() in FOLLOW_UP_WORDS or words[0].casefold() in lower
            ):
                words = words[1:]  # "The Petrel", "When Ines": the sentence's own capital
        words = words if any(w.casefold() not in FOLLOW_UP_WORDS for w in words) else []
        if words:
            found.setdefault(" ".join(words), start)
    return sorted(found, key=lambda fact: found[fact])


def missing(wanted: Sequence[str], text: str) -> list[str]:
    """Return the facts that ``text`` does not have; a name's words may stand apart there."""
    pictures = {m.group(1) for m in _HANDLE.finditer(text)}
    numbers = set(_DIGITS.findall(_HANDLE.sub(" ", text)))
    words = {stem(w) for w in re.findall(r"\w+", text)}
    plain = fold(text)

    def has(fact: str) -> bool:
        if named := _HANDLE.fullmatch(fact):
            return named.group(1) in pictures
        if fact[:1].isdigit() or fact[:1] in "$€£¥":
            return all(number in numbers for number in _DIGITS.findall(fact))
        return fold(fact) in plain or all(stem(w) in words for w in re.findall(r"\w+", fact))

    return [fact for fact in wanted if not has(fact)]


def lines_of(turns: Sequence[Turn], first: int, references: References) -> list[str]:
    """Return a line for each turn; ``first`` is the number of the first one, from 1."""
    return [_line(turn, number, references) for number, turn in enumerate(turns, first)]


def _line(turn: Turn, number: int, references: References) -> str:
    question = _cut(question_of(turn), _QUESTION)
    pictures = [handle(n, references) for n in (*turn.question.pictures, *turn.answer.pictures)]
    answer = _cut(_cited_sentence(said_in(turn)[:_READ]), _SENTENCE)
    line = f"Turn {number}: " + " — ".join(filter(None, [question, ", ".join(pictures), answer]))
    lost = missing(facts_of(turn), line)[:_MOST_FACTS]
    return f"{line} [{'; '.join(lost)}]" if lost else line


def facts_of(turn: Turn) -> list[str]:
    """Return the numbers and names of a turn's question and answer."""
    said = (question_of(turn)[:_READ], MARK.sub("", said_in(turn)[:_READ]))
    return list(dict.fromkeys(fact for text in said for fact in facts(text)))


def _cited_sentence(text: str) -> str:
    """Return the first sentence that a mark follows, without it; else the first one."""
    before, mark, _ = text.partition("[")
    if mark and (found := MARK.search(text)):
        before = text[: found.start()]
        return (sentences(before) or [""])[-1].strip()
    return (sentences(text) or [""])[0].strip()


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def fit(lines: Sequence[str], most: int) -> str:
    """Return lines in ``most`` characters: the oldest are squeezed to facts, then to pictures."""
    kept = [line for line in lines if line]
    size = sum(len(line) + 1 for line in kept) - 1
    for squeeze, last in ((_to_facts, len(kept) - 1), (_to_pictures, len(kept))):
        for place in range(last):
            if size <= most:
                break
            shorter = squeeze(kept[place])
            size -= len(kept[place]) - len(shorter)
            kept[place] = shorter
    kept = [line for line in kept if line]
    text = "\n".join(kept)
    if len(text) <= most:
        return text
    numbers = sorted({int(m.group(1)) for m in _HANDLE.finditer(text)})
    return ", ".join(f"picture {n}" for n in numbers)[:most]


def _to_facts(line: str) -> str:
    head, colon, rest = line.partition(": ")
    kept = "; ".join(facts(rest if colon else line))
    return f"{head}: {kept}" if kept and colon and len(head) < 20 else kept


def _to_pictures(line: str) -> str:
    return ", ".join(m.group() for m in _HANDLE.finditer(line))


def checked(
    text: str, before: str, turns: Sequence[Turn], references: References, most: int
) -> str:
    """Return what a model wrote, with what it lost of the facts, and without what it invented.

    ``before`` is the summary it had, ``turns`` what it was to add. A sentence with a number or a
    picture that neither has is left out. Raises ``ValueError`` when nothing is left.
    """
    lines = lines_of(turns, 1, references)
    said = "\n".join([before, *(f"{question_of(t)} {said_in(t)}" for t in turns), *lines])
    wanted = list(dict.fromkeys([*facts(before), *_facts_in(turns, references)]))
    true = [s.strip() for s in sentences(MARK.sub("", text)) if not _invents(s, said)]
    written = " ".join(" ".join(true).split())[: most // 2]
    if not written:
        raise ValueError("the model wrote no summary")
    lost = missing(wanted, written)
    pictures = [fact for fact in lost if _HANDLE.fullmatch(fact)]
    others = [fact for fact in lost if not _HANDLE.fullmatch(fact)]
    room = most - len(written) - len("\nAlso: ") - sum(len(p) + 2 for p in pictures)
    late: list[str] = []
    for fact in reversed(others):  # the newest first, as many as there is room for
        room -= len(fact) + 2
        if room < 0:
            break
        late.insert(0, fact)
    also = "; ".join([*pictures, *late])
    return fit([written, f"Also: {also}" if also else ""], most)


def _facts_in(turns: Sequence[Turn], references: References) -> list[str]:
    found: dict[str, None] = {}
    for turn in turns:
        for number in (*turn.question.pictures, *turn.answer.pictures):
            found[handle(number, references)] = None
        found.update(dict.fromkeys(facts_of(turn)[:_MOST_FACTS]))
    return list(found)


def _invents(sentence: str, said: str) -> bool:
    shown = {m.group(1) for m in _HANDLE.finditer(said)}
    if any(m.group(1) not in shown for m in _HANDLE.finditer(sentence)):
        return True
    known = set(_DIGITS.findall(said))
    return any(n not in known for n in _DIGITS.findall(_HANDLE.sub(" ", sentence)))


def recall(
    recaps: Sequence[Recap],
    history: Sequence[Turn],
    before: int,
    first: int,
    references: References,
    most: int,
) -> tuple[str, int]:
    """Return what stands for the first ``first`` turns, and how many of them are not in it.

    It is the stored summary of most of them; those of ``history`` (whose first turn has ``before``
    turns before it) that it does not cover are put into lines here.
    """
    stored = max((r for r in recaps if r.turns <= first), key=lambda r: r.turns, default=None)
    covered = stored.turns if stored else 0
    begin = max(covered, before)
    added = lines_of(history[begin - before : first - before], begin + 1, references)
    lines = [*(stored.text.split("\n") if stored else []), *added]
    return fit(lines, most), max(0, min(begin, first) - covered)
