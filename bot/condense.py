"""A follow-up question is made to stand alone before anything is searched.

"And how long is it?" says nothing to a search engine. When a question has too few words of its
own, those of the question before it are put in front. Knows nothing of retrieval; needs no model.
"""

import re
from collections.abc import Sequence

from memory.messages import Turn

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*", re.UNICODE)

#: Words that name nothing by themselves: question words, pronouns, auxiliaries, and how people
#: speak of a picture that they have just sent (English and German)
_EMPTY = frozenset(
    """
    a about an and any are as at be been but by can could did do does for from had has have he
    her here him his how i in is it its itself me more much many my of on or our please same say
    she should show so some tell than that the their them then there these they this those to
    too us was we were what what's when where which who whom whose why will with would yes no
    you your also again else image images photo photos picture pictures pic one ones see look
    like similar shown first second third last previous other aber auch auf aus bei bild bilder
    bitte da das dem den der des dies diese dieser dieses die du ein eine einem einen einer er
    es foto fotos für hat haben ich ihm ihr ihre im in ist ja kann man mehr mein mir mit nach
    nein noch oder sein seine sich sie sind so über um und uns von war waren warum was welche
    welcher welches wem wen wenn wer wie wieviel wird wo zeig zu zum zur
    """.split()
)
#: A question with this many words of its own, or more, is left as it is
_ENOUGH = 2


def content_words(text: str) -> list[str]:
    """Return the words of ``text`` that name something, in their order."""
    return [w for w in _WORD.findall(text) if w.casefold() not in _EMPTY]


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
