"""Which pictures a question is about, where some came with it and others came before.

What the words say is read by ``memory.recall``; this knows which of the pictures are new. Knows
nothing of retrieval.
"""

import re
from collections.abc import Sequence

from memory.messages import PictureRef
from memory.recall import Reference, refer

#: Words by which people mean a picture from before the one they have just sent
BACKWARDS = re.compile(r"last|previous|earlier|before|letzt|vorig|上一", re.IGNORECASE)


def pictures_meant(
    question: str, earlier: Sequence[PictureRef], new: Sequence[PictureRef]
) -> Reference:
    """Return the pictures that the words point at.

    Where pictures came with the question, "this picture" is one of them, a number or a name may be
    any, and "the last picture" is the last one before.
    """
    if not new:
        return refer(question, earlier)
    meant = refer(question, [*earlier, *new])
    if meant.ambiguous or not meant.numbers:
        return Reference((), (), "")
    if BACKWARDS.search(meant.phrase):
        return refer(question, earlier)
    return meant


def unclear(reference: Reference) -> list[str]:
    """Return what is to be asked back, or said, of a reference that names no one picture."""
    if reference.ambiguous:
        numbers = " or ".join(str(n) for n in reference.ambiguous)
        return [f"“{reference.phrase}” may be picture {numbers}: say its number"]
    if reference.phrase and not reference.numbers:
        return [f"there is no “{reference.phrase}” in this conversation"]
    return []
