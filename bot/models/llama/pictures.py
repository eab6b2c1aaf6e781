"""Pictures before the text model: how they stand in a prompt, and encodings that are kept.

An encoding is kept under a key made of the pixels, their shape, the model and the tenant, so that
nothing is shared that should not be. Knows nothing of prompts or sequences.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bot.errors import ModelError
from bot.models.llama.eyes import Eyes, Layout, Stretch
from bot.models.llama.kept import Kept
from bot.models.llama.values import Pixels

_SIZES = 1024  # picture sizes whose layout is remembered

Encoding = tuple[NDArray[np.float32], ...]  # one array, tokens x width, for each stretch


class Pictures:
    """The pictures of one model. Keys and layouts from any thread; encodings from one at a time."""

    def __init__(self, eyes: Eyes | None, kept: Kept, *, model: str, fingerprint: str) -> None:
        self._eyes, self._kept, self._model = eyes, kept, model
        self._fingerprint = fingerprint
        self._layouts: OrderedDict[tuple[int, int], Layout] = OrderedDict()
        self._lock = threading.Lock()
        self.encoded = 0  #: pictures that went through the projector
        self.recalled = 0  #: pictures whose encoding was kept from before

    def key(self, tenant: str, pixels: Pixels) -> str:
        """Return the name under which the encoding of these pixels is kept: 64 hex digits."""
        head = repr((self._fingerprint, tenant, "RGB8", pixels.width, pixels.height))
        digest = hashlib.sha256(head.encode("utf-8", "replace") + b"\0")
        digest.update(pixels.data)
        return digest.hexdigest()

    def layout(self, pixels: Pixels) -> Layout:
        """Return how the picture stands in a prompt: a matter of its size alone."""
        if self._eyes is None:
            raise ModelError(
                f"{self._model} takes no pictures: it has no projector;"
                " name one with llama:TEXT.gguf+MMPROJ.gguf"
            )
        size = (pixels.width, pixels.height)
        with self._lock:
            if size not in self._layouts:
                self._layouts[size] = self._eyes.measure(Pixels(*size, b""))
            self._layouts.move_to_end(size)
            if len(self._layouts) > _SIZES:
                self._layouts.popitem(last=False)
            return self._layouts[size]

    def stretch(self, pixels: Pixels, index: int) -> Stretch:
        """Return one stretch of a picture's layout."""
        return [part for part in self.layout(pixels) if isinstance(part, Stretch)][index]

    def recall(self, tenant: str | None, key: str, pixels: Pixels) -> Encoding | None:
        """Return the encoding that was kept, if it was; for nobody (None) none is."""
        assert self._eyes is not None
        blob = None if tenant is None else self._kept.get(tenant, key)
        sizes = [part.tokens for part in self.layout(pixels) if isinstance(part, Stretch)]
        if blob is None or len(blob) != 4 * sum(sizes) * self._eyes.width:
            return None
        self.recalled += 1
        rows = np.frombuffer(blob, dtype=np.float32).reshape(-1, self._eyes.width)
        return tuple(np.split(rows, np.cumsum(sizes)[:-1]))

    def encode(
        self, tenant: str | None, wanted: Sequence[tuple[str, Pixels]]
    ) -> dict[str, Encoding]:
        """Encode the first of these pictures, and as many more as fit one batch.

        They are kept for the tenant, if there is one.
        """
        assert self._eyes is not None
        found = self._eyes.encode([pixels for _, pixels in wanted])
        self.encoded += len(found)
        made = {key: rows for (key, _), rows in zip(wanted, found, strict=False)}
        if tenant is not None:
            for key, rows in made.items():
                self._kept.put(tenant, key, b"".join(r.tobytes() for r in rows))
        return made

    def forget(self, tenant: str) -> None:
        """Drop what is kept for a tenant."""
        self._kept.forget(tenant)
