"""A model's projector, through llama.cpp's mtmd: pictures become rows that the text model reads.

Knows nothing of who asks, of what is kept, or of sequences. Like ``native``, calls native code:
:meth:`Eyes.measure` may be called from any thread, :meth:`Eyes.encode` from one at a time.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles
from bot.models.llama.values import Pixels

_LARGEST = 2048  # pixels: longer sides are never sent, whatever a model could use


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """One run of picture rows: ``tokens`` rows that take ``positions`` positions of the sequence.

    They differ under M-RoPE, where ``offsets`` and ``moves`` (int32, 4 x tokens, one row for each
    section) say where each row stands: ``offsets + moves * begin``. None where positions simply
    count on. ``whole``: all rows must be read in one step, because they look at each other.
    """

    tokens: int
    positions: int
    whole: bool = False
    offsets: NDArray[np.int32] | None = None
    moves: NDArray[np.int32] | None = None

    def places(self, begin: int) -> NDArray[np.int32]:
        """Return the positions of all rows, 1 or 4 x tokens, for a stretch that starts there."""
        if self.offsets is None or self.moves is None:
            return np.arange(begin, begin + self.tokens, dtype=np.int32)[None]
        found: NDArray[np.int32] = self.offsets + self.moves * np.int32(begin)
        return found


#: How a picture stands in a prompt: control tokens of the model's own, and stretches
Layout = tuple[int | Stretch, ...]


class Eyes:
    """An open projector. Make one with :meth:`open`."""

    def __init__(self, handle: Any, files: ModelFiles, width: int) -> None:
        import llama_cpp.mtmd_cpp as mtmd

        self._mtmd, self._handle, self._files = mtmd, handle, files
        self.width = width
        self._mrope = bool(mtmd.mtmd_decode_use_mrope(handle))

    @classmethod
    def open(
        cls, files: ModelFiles, model: Any, width: int, *, threads: int, gpu: bool
    ) -> "Eyes | None":
        """Open the projector of ``files`` for a loaded text model, if there is one.

        ``width`` is how many numbers a row has. None when it cannot be opened (llama.cpp has
        logged why). Raises ``ModelError`` for a projector of something other than pictures.
        """
        import llama_cpp.mtmd_cpp as mtmd

        params = mtmd.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.warmup = gpu, False, False
        params.n_threads = threads
        handle = mtmd.mtmd_init_from_file(os.fsencode(str(files.projector)), model, params)
        if not handle:
            return None
        if not mtmd.mtmd_support_vision(handle):
            mtmd.mtmd_free(handle)
            raise ModelError(f"{files.projector}: a projector without vision; name its vision file")
        return cls(handle, files, width)

    def close(self) -> None:
        """Free the projector."""
        handle, self._handle = self._handle, None
        if handle:
            self._mtmd.mtmd_free(handle)

    def largest_useful_side(self) -> int:
        """Return the side of the smallest square picture that gets the most tokens.

        Larger ones are only shrunk by the model itself. Measured, because every kind of projector
        has its own rule; at most 2048.
        """
        sides = [64, 128, 256, 384, 512, 768, 1024, 1536, _LARGEST]
        counts = [_tokens(self.measure(Pixels(s, s, b""))) for s in sides]
        if len(set(counts)) == 1:  # every picture is brought to one size
            return self._image_size()
        return sides[counts.index(max(counts))]

    def _image_size(self) -> int:
        from bot.models.llama.files import read_header

        assert self._files.projector is not None
        size = read_header(self._files.projector).numbers.get("clip.vision.image_size", 0)
        return min(max(int(size), 32), _LARGEST) if size else 1024

    def measure(self, pixels: Pixels) -> Layout:
        """Return how a picture of this size stands in a prompt; its colours do not matter."""
        chunks = self._look(pixels)
        try:
            layout: list[int | Stretch] = []
            for chunk, pictured in self._chunks(chunks):
                layout.extend([self._stretch(chunk)] if pictured else self._text(chunk))
            return tuple(layout)
        finally:
            self._mtmd.mtmd_input_chunks_free(chunks)

    def encode(self, pictures: Sequence[Pixels]) -> list[tuple[NDArray[np.float32], ...]]:
        """Return the rows (float32, tokens x width) of each stretch of the first few pictures.

        As many of ``pictures`` as the projector takes in one batch, at least one. Raises
        ``ModelError`` when one cannot be encoded.
        """
        looked: list[Any] = []
        batch = self._mtmd.mtmd_batch_init(self._handle)
        try:
            batched: list[Any] = []
            for pixels in pictures:
                looked.append(self._look(pixels))
                mine = [chunk for chunk, pictured in self._chunks(looked[-1]) if pictured]
                if len(mine) > 1 and not batched:  # many tiles: no other picture with them
                    return [tuple(self._encode_one(chunk) for chunk in mine)]
                if len(mine) != 1 or self._mtmd.mtmd_batch_add_chunk(batch, mine[0]) != 0:
                    break
                batched.append(mine[0])
            if self._mtmd.mtmd_batch_encode(batch) != 0:
                raise ModelError(f"{self._name}: llama.cpp failed to encode a picture")
            return [(self._batched(batch, chunk),) for chunk in batched]
        finally:
            self._mtmd.mtmd_batch_free(batch)
            for chunks in looked:
                self._mtmd.mtmd_input_chunks_free(chunks)

    def _batched(self, batch: Any, chunk: Any) -> NDArray[np.float32]:
        return self._rows(self._mtmd.mtmd_batch_get_output_embd(batch, chunk), chunk)

    def _encode_one(self, chunk: Any) -> NDArray[np.float32]:
        if self._mtmd.mtmd_encode_chunk(self._handle, chunk) != 0:
            raise ModelError(f"{self._name}: llama.cpp failed to encode a picture")
        return self._rows(self._mtmd.mtmd_get_output_embd(self._handle), chunk)

    def _rows(self, found: Any, chunk: Any) -> NDArray[np.float32]:
        if not found:
            raise ModelError(f"{self._name}: llama.cpp returned nothing for a picture")
        tokens = int(self._mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        rows: NDArray[np.float32] = np.ctypeslib.as_array(found, (tokens, self.width))
        return rows.copy()

    @property
    def _name(self) -> str:
        return self._files.projector.name if self._files.projector else ""

    def _look(self, pixels: Pixels) -> Any:
        """Return the native chunks of a picture; whoever asks frees them."""
        mtmd = self._mtmd
        data = pixels.data or bytes(pixels.width * pixels.height * 3)
        if len(data) != pixels.width * pixels.height * 3 or not data:
            raise ModelError(f"a picture of {pixels.width}x{pixels.height} without its pixels")
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        bitmap = mtmd.mtmd_bitmap_init(pixels.width, pixels.height, buffer)
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            part = mtmd.mtmd_input_part(None, bitmap)
            parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
            if mtmd.mtmd_tokenize_from_parts(self._handle, chunks, parts, 1, False) != 0:
                raise ModelError(f"a picture of {pixels.width}x{pixels.height} cannot be prepared")
        except BaseException:
            mtmd.mtmd_input_chunks_free(chunks)
            raise
        finally:
            mtmd.mtmd_bitmap_free(bitmap)
        return chunks

    def _chunks(self, chunks: Any) -> list[tuple[Any, bool]]:
        """Return each chunk, and whether it is of a picture."""
        mtmd = self._mtmd
        found = [
            mtmd.mtmd_input_chunks_get(chunks, n)
            for n in range(mtmd.mtmd_input_chunks_size(chunks))
        ]
        image = mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE
        return [(chunk, mtmd.mtmd_input_chunk_get_type(chunk) == image) for chunk in found]

    def _text(self, chunk: Any) -> list[int]:
        count = ctypes.c_size_t(0)
        tokens = self._mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return [int(tokens[n]) for n in range(count.value)]

    def _stretch(self, chunk: Any) -> Stretch:
        mtmd = self._mtmd
        tokens = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        positions = int(mtmd.mtmd_input_chunk_get_n_pos(chunk))
        whole = bool(mtmd.mtmd_decode_use_non_causal(self._handle, chunk))
        if not self._mrope:
            return Stretch(tokens, positions, whole)
        at_0, at_1 = (self._places(chunk, tokens, begin) for begin in (0, 1))
        return Stretch(tokens, positions, whole, at_0, at_1 - at_0)

    def _places(self, chunk: Any, tokens: int, begin: int) -> NDArray[np.int32]:
        """Return what the library says of each row's place, in the sections' order: t, y, x, z."""
        found = (self._mtmd.mtmd_decoder_pos * tokens)()
        image = self._mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        self._mtmd.mtmd_helper_image_get_decoder_pos(image, begin, found)
        rows = [[place.t, place.y, place.x, place.z] for place in found]
        return np.array(rows, dtype=np.int32).T


def _tokens(layout: Layout) -> int:
    return sum(part.tokens if isinstance(part, Stretch) else 1 for part in layout)
