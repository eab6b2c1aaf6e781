"""A follow-up question is made to stand alone before anything is searched.

"And how long is it?" says nothing to a search engine. When a question has too few words of its
own, those of the question before it are put in front. Knows nothing of retrieval; needs no model.
"""

import re
from collections.abc import Sequence

from bot.models.reading.words import FOLLOW_UP_WORDS
from memory.messages import Turn

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*", re.UNICODE)

#: A question with this many words of its own, or more, is left as it is
_ENOUGH = 2


def content_words(text: str) -> list[str]:
    """Return the words of ``text`` that name something, in their order."""
    return [w for w in _WORD.findall(text) if w.casefold() not in FOLLOW_UP_WORDS]


def condense(question: str, turns: Sequence[Turn], *, has_picture: bool = False) -> str:
    """Return what is to be searched for: the question, with the last one's words where it needs
    them. With a picture a question like "What is this?" asks about the picture alone, and is empty.
    """
    own = content_words(question)
    if has_picture:
        return question if own else ""
    if len(own) >= _ENOUGH:
        return question
    for turn in reversed(turns):
        before = content_words(turn.question.text)
        if before:
            return f"{' '.join(before)} {question}".strip()
    return question
