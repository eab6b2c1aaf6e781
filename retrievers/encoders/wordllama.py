"""The embedded text encoder: WordLlama's static token embeddings, averaged.

It reads the weights and the tokenizer out of the installed ``wordllama`` distribution without
importing that package (which would set up the root logger, and tries a download when asked to
load) and does its arithmetic itself: the mean of the tokens' rows, then L2. No torch, no network.
It knows words, not their order, and nothing of indexes.

Source: WordLlama (https://github.com/dleemiller/WordLlama, MIT), ``l2_supercat``, 256 dimensions.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from retrievers.encoders import Modality
from retrievers.encoders.common import clean, no_pictures, unit
from retrievers.errors import EncoderError
from retrievers.evidence import Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
MAX_CHARACTERS = 20_000
BATCH = 64
UNKNOWN = 0  # the row of <unk>, which stands for a text without any token


class WordLlamaEncoder:
    """Static embeddings of 32,000 tokens; open it with :meth:`open`.

    Texts are cut at 20,000 characters: a mean over more tokens says nothing new. Question and
    passage are encoded alike. Safe to use from several threads.
    """

    def __init__(self, table: Vectors, tokenizer: "Tokenizer") -> None:
        """Hold ``table`` (tokens, d) float32 and the tokenizer that numbers its rows."""
        self.name = "wordllama"
        self.dimension = int(table.shape[1])
        self.modalities: frozenset[Modality] = frozenset({"text"})
        self.dense_weight = 0.3
        self._table = table
        self._tokenizer = tokenizer

    @classmethod
    def open(cls) -> "WordLlamaEncoder":
        """Read the weights out of the installed distribution (32 MB of memory).

        Raises ``EncoderError`` when the distribution is missing or its files are not as known.
        """
        folder = _folder()
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        try:
            table = load_file(folder / WEIGHTS)["embedding.weight"].astype(np.float32)
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise EncoderError(
                f"wordllama's files in {folder} cannot be read ({error});"
                " run: pip install --force-reinstall wordllama"
            ) from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if table.shape[0] < tokenizer.get_vocab_size():
            raise EncoderError(
                f"wordllama has {table.shape[0]} rows for {tokenizer.get_vocab_size()} tokens;"
                " run: pip install --force-reinstall wordllama"
            )
        return cls(table, tokenizer)

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Return ``(len(texts), 256)`` float32, L2-normalised; ``query`` makes no difference."""
        rows = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            batch = [clean(text, MAX_CHARACTERS) for text in texts[start : start + BATCH]]
            found = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            for offset, encoding in enumerate(found):
                self._table[encoding.ids or [UNKNOWN]].mean(axis=0, out=rows[start + offset])
        return unit(rows, self.name)

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Raise ``EncoderError``: this encoder takes text only."""
        raise no_pictures(self.name)


def _folder() -> Path:
    """Return where ``wordllama`` is installed, without importing it."""
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise EncoderError("the encoder wordllama is not installed; run: pip install wordllama")
    return Path(spec.origin).parent
