"""Which pictures a question is about, where some came with it and others came before.

What the words say is read by ``memory.recall``; this knows which of the pictures are new, and what
the turn before was about. Knows nothing of retrieval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.ask_back import Asked, chosen, pending
from bot.condense import content_words
from memory.carrying_sides import Before, unnamed
from memory.messages import Conversation, PictureRef, Turn
from memory.phrases_sides import sides, without_sides
from memory.recall import Reference, refer

#: Turns, the last one among them, of which "the left one" brings pictures back
LOOKED_BACK = 5


def pictures_meant(
    question: str,
    conversation: Conversation,
    new: Sequence[PictureRef],
    offered: Sequence[PictureRef] = (),
    asker: str = "",
) -> tuple[str, Reference]:
    """Return what is asked, and the pictures that the words point at.

    Where pictures came with the question, "this picture" is one of them, a number or a name may be
    any, and "the last picture" is the last one before. ``offered`` were shown by earlier answers.
    Where the turn before asked which picture was meant, and this says it, what is asked is the
    question that has been waiting. Where nothing points at a picture, but the words lean on
    something unnamed ("what colour is it?"), the pictures of the last turn are carried on; where
    they name a side ("and the left one?"), those of the last turn that was about some.
    """
    asking = pending(conversation.turns)
    if asking is not None and not new:
        reference = chosen(question, asking, conversation.pictures)
        reference = reference or _chosen_by_side(question, asking, conversation.pictures)
        if reference is not None:
            return asking.question, reference
    spoken = spoken_of(conversation.turns)
    meant = refer(
        question,
        [*conversation.pictures, *new],
        spoken=spoken,
        new=[p.number for p in new],
        offered=offered,
        asker=asker,
    )
    if new and not (meant.numbers or meant.ambiguous):
        return question, Reference()
    if new:
        return question, meant
    before = last_spoken(conversation.turns)
    return question, unnamed(question, before, conversation.pictures, meant)


def _chosen_by_side(reply: str, asking: Asked, pictures: Sequence[PictureRef]) -> Reference | None:
    """Return what "the left one" says of the pictures that were named when asking back."""
    if content_words(without_sides(reply)):
        return None
    named = Before(asking.candidates, asking.candidates, chosen=True)
    meant = unnamed(reply, named, pictures)
    if meant.carried or len(meant.numbers) != 1:
        return None
    return chosen(str(meant.numbers[0]), asking, pictures)


def last_spoken(turns: Sequence[Turn]) -> Before:
    """Return what the last turn about pictures was about, of the last :data:`LOOKED_BACK`."""
    for ago in range(1, min(len(turns), LOOKED_BACK) + 1):
        numbers = spoken_of(turns[: len(turns) - ago + 1])
        if numbers:
            messages = (_sent(turn) for turn in turns)
            together = next((sent for sent in messages if set(numbers) <= set(sent)), ())
            return Before(numbers, together, ago, chosen=_by_side(turns[-ago]))
    return Before()


def _sent(turn: Turn) -> tuple[int, ...]:
    """Return the numbers of the pictures that came with a turn's question."""
    again = {
        n for one in _maps(turn.ledger.get("references")) for n in _numbers(one.get("pictures"))
    }
    return tuple(number for number in turn.question.pictures if number not in again)


def _by_side(turn: Turn) -> bool:
    """Tell whether a turn was about a picture that its words chose by a side."""
    references = _maps(turn.ledger.get("references"))
    said = [one.get("phrase") for one in references if one.get("sure") and not one.get("carried")]
    return any(isinstance(phrase, str) and sides(phrase) for phrase in said)


def spoken_of(turns: Sequence[Turn]) -> tuple[int, ...]:
    """Return the numbers of the pictures that the last turn was about: those that came with it or
    were looked at again, those that its words meant, else those that its answer rests on."""
    if not turns:
        return ()
    last = turns[-1]
    meant = [*last.question.pictures]
    for one in _maps(last.ledger.get("references")):
        if one.get("sure") or one.get("carried"):
            meant.extend(_numbers(one.get("pictures")))
    cited = [citation.get("picture") for citation in _maps(last.citations)]
    return (
        tuple(dict.fromkeys(meant)) or last.answer.pictures or tuple(dict.fromkeys(_numbers(cited)))
    )


def _maps(values: Any) -> list[Mapping[str, Any]]:
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list | tuple) else []


def _numbers(values: Any) -> list[int]:
    return [n for n in values if isinstance(n, int)] if isinstance(values, list | tuple) else []


def absent(reference: Reference, dropped: Sequence[int]) -> list[str]:
    """Return what is to be said of phrases that name a picture which is not there."""
    said = []
    for one in reference.found:
        missing = [n for n in one.named if n not in one.numbers]
        gone = [n for n in missing if n in dropped]
        if gone:
            said.append(f"“{one.phrase}”: picture {_listed(gone)} was dropped")
        elif missing and one.numbers:
            said.append(
                f"“{one.phrase}”: there is no picture {_listed(missing)} in this conversation"
            )
        elif one.phrase and not one.numbers:
            said.append(f"“{one.phrase}”: there is no such picture in this conversation")
    return said


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8]))
