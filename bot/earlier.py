"""Earlier turns in a prompt: the last ones that fit, and a summary in place of those before them.

Turns leave the prompt several at a time, so that the prompts of one conversation begin alike for a
while. The summary changes only when the first of the turns that are kept does (or a turn later,
where :mod:`bot.summariser` had not made it in time). Knows nothing of sources, of pixels, or of
what is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from bot.citations import MARK
from bot.notes import Notes, quote
from bot.summary import recall
from memory.messages import Recap, Turn
from prompts import Prompt

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Older:
    """What there is of turns that are not put into the prompt: summaries, the prompt that quotes
    them, and how many characters the quotation has at most."""

    recaps: Sequence[Recap]
    prompt: Prompt
    chars: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """The turns before a question: ``history``, and ``before`` more before it, not loaded.

    The last ``kept`` are put into the prompt; ``older`` is what there is of the others."""

    history: Sequence[Turn]
    before: int
    notes: Notes
    older: Older | None = None
    kept: int = 0

    @property
    def turns(self) -> Sequence[Turn]:
        """The turns that are kept."""
        return self.history[len(self.history) - self.kept :]

    @property
    def first(self) -> int:
        """How many turns are not kept."""
        return self.before + len(self.history) - self.kept

    def fitting(self, room: int, count: Count) -> int:
        """Return how many of the last turns fit into ``room`` tokens, with their notes."""
        fitting = 0
        for turn in reversed(self.history):
            room -= count(turn.question.text) + count(turn.answer.text) + 16
            room -= sum(count(note) for note in self.notes.of(turn))
            if room < 0:
                break
            fitting += 1
        return fitting

    def fitted(self, room: int, count: Count) -> "Earlier":
        """Return it with as many turns as :func:`window` keeps, and room for their summary."""
        made = self._keeping(self.fitting(room, count))
        cost = count(made.recalled()[0])
        return made._keeping(self.fitting(room - cost, count)) if cost else made

    def _keeping(self, fitting: int) -> "Earlier":
        loaded = len(self.history)
        return replace(self, kept=self.before + loaded - window(fitting, loaded, self.before))

    def recalled(self) -> tuple[str, tuple[str, ...]]:
        """Return what is quoted of the turns that are left out, and what is to be said of it."""
        if not self.first or self.older is None:
            return "", ()
        text, lost = recall(
            self.older.recaps,
            self.history,
            self.before,
            self.first,
            self.notes.references,
            self.older.chars,
        )
        said = [f"turns 1 to {self.first} are in the prompt only as a summary"] if text else []
        if lost:
            said.append(f"{lost} of the {self.first} older turns are not in the summary yet")
        block = self.older.prompt.render(last=self.first, text=quote(text)) if text else ""
        return block, tuple(said)

    def messages(self, block: str) -> list[BaseMessage]:
        """Return the kept turns behind ``block``, without their evidence: their marks would point
        at this turn's sources."""
        messages: list[BaseMessage] = []
        for turn in self.turns:
            words = "\n".join([*self.notes.of(turn), quote(turn.question.text)]).strip()
            head = f"{block}\n\n" if block and not messages else ""
            messages.append(HumanMessage(head + (words or "(nothing)")))
            messages.append(AIMessage(quote(MARK.sub("", turn.answer.text)).strip() or "(nothing)"))
        return messages

    def smaller(self) -> "Earlier | None":
        """Leave out half of the turns, else their summary; None when nothing is left."""
        if self.kept:
            return replace(self, kept=self.kept // 2)
        return replace(self, older=None) if self.older is not None else None


def window(fitting: int, loaded: int, before: int) -> int:
    """Return the place (from 0) of the first turn that is kept: more than half of the ``fitting``
    last ones are when not all of the ``loaded`` and those ``before`` them do.

    It is the same for several turns on end: it moves by a power of two.
    """
    first = before + loaded - fitting
    step = 1 << max(0, (fitting // 2).bit_length() - 1)
    return first + -first % step if first else 0
