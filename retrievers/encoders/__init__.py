"""Encoders turn words and pictures into vectors; this is the seam they share.

An encoder is chosen by name: ``wordllama``, ``descriptor``, or ``transformers:MODEL`` where MODEL
is a folder or a hub name of a BERT/RoBERTa-family or sentence model, a ResNet/ViT, or a
CLIP/SigLIP. What it can take is asked of the object (``modalities``), never guessed from its name.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from PIL import Image

from retrievers.evidence import Vectors

Modality = Literal["text", "picture"]


@runtime_checkable
class Encoder(Protocol):
    """Turns words, pictures or both into vectors of one space.

    ``name`` identifies the encoder *and its weights*: an index made under one name is refused
    under another. ``dense_weight`` says how much the dense arm deserves beside BM25 for text,
    between 0 and 1: 0.5 is "as good as BM25".
    """

    name: str
    dimension: int
    modalities: frozenset[Modality]
    dense_weight: float

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Return ``(len(texts), dimension)`` float32, each row L2-normalised.

        ``query`` says that the texts are questions and not passages: some models put another
        prompt before each ("query: ", "passage: "). A text without a word that the encoder
        knows gets some unit vector, always the same one.

        Raises ``EncoderError`` when ``"text"`` is not in ``modalities``.
        """
        ...

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return ``(len(pictures), dimension)`` float32, each row L2-normalised.

        Raises ``EncoderError`` when ``"picture"`` is not in ``modalities``.
        """
        ...
