"""The words that are the writer's own: all of them, in English and German.

Knows nothing of evidence. ``{quote}`` is where a quotation and its mark go.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said around quotations in one language."""

    no_sources: str
    nothing: str
    closest: str
    unknown_picture: str
    looks_like: str


ENGLISH = Wording(
    no_sources="I have no sources to answer from.",
    nothing="I found nothing in the sources that answers this.",
    closest="The closest: {quote}",
    unknown_picture="Nothing is known of this picture: the sources hold none that looks like it,"
    " and no writing was read in it.",
    looks_like="This looks like a picture in the sources:",
)
GERMAN = Wording(
    no_sources="Ich habe keine Quellen, aus denen ich antworten könnte.",
    nothing="In den Quellen habe ich nichts gefunden, das dies beantwortet.",
    closest="Am nächsten kommt: {quote}",
    unknown_picture="Über dieses Bild ist nichts bekannt: Die Quellen enthalten keines, das ihm"
    " gleicht, und es wurde keine Schrift darin gelesen.",
    looks_like="Das sieht aus wie ein Bild der Quellen:",
)

_GERMAN_WORDS = re.compile(
    r"\b(der|die|das|den|dem|ein|eine|wer|wann|wo|wie|warum|welche[rsmn]?|ist|sind|wurde|wurden"
    r"|war|und|von|auf|für|mit|nicht|kostet|zeigt|zeigen|sieht|hier|diese[rsmn]?|beschreibe?)\b",
    re.IGNORECASE,
)


def wording(question: str) -> Wording:
    """Return the wording in the question's language: German when two of its words are, or a
    quarter of them."""
    count = len(_GERMAN_WORDS.findall(question))
    german = count >= 2 or (count and count * 4 >= len(question.split()))
    return GERMAN if german else ENGLISH
