"""llama.cpp and its mtmd, one model at a time: handles, tokens, batches, pictures.

The only module that calls native code. Calls are not guarded against each other: whoever holds a
``Native`` sees to it that ``decode_*``, ``sample`` and ``clear`` come from one thread at a time
(tokenising reads the vocabulary only, and may go on beside them). Knows nothing of messages,
templates or text streams. Opens no address, and leaves llama_cpp's disk cache alone: it unpickles.
"""

import ctypes
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles

_log = logging.getLogger(__name__)
_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_errors: deque[str] = deque(maxlen=8)
_callbacks: list[Any] = []  # kept for as long as native code may call them


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. ``temperature`` 0 takes the likeliest and ignores the rest."""

    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    seed: int | None = None


@dataclass(eq=False)
class Media:
    """A picture as the model takes it: native chunks, their tokens and their positions."""

    chunks: Any
    tokens: int
    positions: int
    kinds: tuple[tuple[Any, int, bool], ...] = field(repr=False)  # chunk, tokens, is a picture


class Native:
    """A loaded model. Make one with :meth:`open`; ``close`` frees everything."""

    def __init__(self, files: ModelFiles, model: Any, context: Any, batch_size: int) -> None:
        import llama_cpp.llama_cpp as low
        import llama_cpp.mtmd_cpp as mtmd

        self.files, self.batch_size = files, batch_size
        self._low, self._mtmd = low, mtmd
        self._model, self._context, self._eyes = model, context, None
        self._vocab = low.llama_model_get_vocab(model)
        self._batch = low.llama_batch_init(batch_size, 0, 1)
        self._sampler: Any = None
        self.trained_on = int(low.llama_model_n_ctx_train(model))

    @classmethod
    def open(
        cls, files: ModelFiles, *, context: int, threads: int, gpu_layers: int | None, batch: int
    ) -> "Native":
        """Load the files, which :mod:`~bot.models.llama.files` has looked into.

        ``gpu_layers`` None means all where llama.cpp was built for a GPU, else none; -1 is all.
        Raises ``ModelError`` with llama.cpp's own last complaint.
        """
        try:
            import llama_cpp.llama_cpp as low
        except (ImportError, OSError, RuntimeError) as error:
            raise ModelError(
                "llama: needs llama-cpp-python; pip install llama-cpp-python"
            ) from error
        _listen()
        low.llama_backend_init()
        params = low.llama_model_default_params()
        offload = low.llama_supports_gpu_offload()
        params.n_gpu_layers = (-1 if offload else 0) if gpu_layers is None else gpu_layers
        model = low.llama_model_load_from_file(os.fsencode(files.text), params)
        if not model:
            raise ModelError(f"{files.text}: llama.cpp cannot load it{_complaint()}")
        size = min(context, int(low.llama_model_n_ctx_train(model)) or context)
        batch = max(1, min(batch, size))
        handle = low.llama_init_from_model(model, _context_params(low, size, threads, batch))
        if not handle:
            low.llama_model_free(model)
            raise ModelError(f"{files.text}: no context of {size} tokens{_complaint()}")
        native = cls(files, model, handle, batch)
        try:
            native._open_eyes(threads, gpu=params.n_gpu_layers != 0)
        except BaseException:
            native.close()
            raise
        return native

    def _open_eyes(self, threads: int, *, gpu: bool) -> None:
        if self.files.projector is None:
            return
        params = self._mtmd.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.warmup = gpu, False, False
        params.n_threads = threads
        path = os.fsencode(self.files.projector)
        self._eyes = self._mtmd.mtmd_init_from_file(path, self._model, params)
        if not self._eyes:
            raise ModelError(
                f"{self.files.projector}: not a projector for {self.files.text.name}{_complaint()}"
            )
        if not self._mtmd.mtmd_support_vision(self._eyes):
            raise ModelError(f"{self.files.projector}: a projector without vision")

    def close(self) -> None:
        """Free the model. Safe to call twice; nothing else may be called afterwards."""
        if self._model is None:
            return
        self._free_sampler()
        if self._eyes:
            self._mtmd.mtmd_free(self._eyes)
        self._low.llama_batch_free(self._batch)
        self._low.llama_free(self._context)
        self._low.llama_model_free(self._model)
        self._model = self._context = self._eyes = self._vocab = None

    @property
    def sees(self) -> bool:
        """Whether pictures can be given."""
        return bool(self._eyes)

    # the vocabulary

    def template(self) -> str | None:
        """Return the chat template in the model's file."""
        found = self._low.llama_model_chat_template(self._model, None)
        return None if found is None else bytes(found).decode("utf-8", "replace")

    def bos(self) -> int | None:
        """Return the token that begins a text, where the vocabulary has one."""
        token = int(self._low.llama_vocab_bos(self._vocab))
        return token if token >= 0 else None

    def eos(self) -> int | None:
        """Return the token that ends a text, where the vocabulary has one."""
        token = int(self._low.llama_vocab_eos(self._vocab))
        return token if token >= 0 else None

    def adds_bos(self) -> bool:
        """Return whether the model expects every text to begin with :meth:`bos`."""
        return bool(self._low.llama_vocab_get_add_bos(self._vocab))

    def is_end(self, token: int) -> bool:
        """Return whether the token ends an answer."""
        return bool(self._low.llama_vocab_is_eog(self._vocab, token))

    def attributes(self, token: int) -> int:
        """Return the token's attributes, a set of LLAMA_TOKEN_ATTR bits."""
        return int(self._low.llama_vocab_get_attr(self._vocab, token))

    def name(self, token: int) -> str:
        """Return the token as the vocabulary writes it."""
        return bytes(self._low.llama_vocab_get_text(self._vocab, token)).decode("utf-8", "replace")

    def piece(self, token: int, *, control: bool = False) -> bytes:
        """Return the bytes a token stands for; control tokens are empty unless asked for."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            found = self._low.llama_token_to_piece(self._vocab, token, buffer, size, 0, control)
            if found >= 0:
                return buffer.raw[:found]
            size = -found

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Return the tokens of ``text``; with ``control``, written control tokens count as such."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        while True:
            tokens = (self._low.llama_token * size)()
            found = self._low.llama_tokenize(
                self._vocab, data, len(data), tokens, size, False, control
            )
            if found >= 0:
                return list(tokens[:found])
            size = -found

    # pictures

    def look(self, image: Image.Image) -> Media:
        """Return the picture cut up as the model takes it; :meth:`forget` frees it."""
        if not self._eyes:
            raise ModelError(
                f"{self.files.text.name} takes no pictures: it has no projector;"
                " name one with llama:TEXT.gguf+MMPROJ.gguf"
            )
        pixels = image.convert("RGB").tobytes()
        data = (ctypes.c_uint8 * len(pixels)).from_buffer_copy(pixels)
        bitmap = self._mtmd.mtmd_bitmap_init(image.width, image.height, data)
        chunks = self._mtmd.mtmd_input_chunks_init()
        try:
            part = self._mtmd.mtmd_input_part(None, bitmap)
            parts = (ctypes.POINTER(self._mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
            code = self._mtmd.mtmd_tokenize_from_parts(self._eyes, chunks, parts, 1, False)
            if code != 0:
                raise ModelError(f"a picture of {image.width}x{image.height} cannot be prepared")
            return self._media(chunks)
        except BaseException:
            self._mtmd.mtmd_input_chunks_free(chunks)
            raise
        finally:
            self._mtmd.mtmd_bitmap_free(bitmap)

    def _media(self, chunks: Any) -> Media:
        mtmd = self._mtmd
        kinds = []
        for n in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, n)
            tokens = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
            pictured = mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE
            whole = pictured and mtmd.mtmd_decode_use_non_causal(self._eyes, chunk)
            if whole and tokens > self.batch_size:  # llama.cpp would abort the process
                raise ModelError(
                    f"a picture takes {tokens} tokens at once, a batch {self.batch_size}:"
                    f" set batch to {tokens} or more"
                )
            kinds.append((chunk, tokens, pictured))
        return Media(
            chunks,
            int(mtmd.mtmd_helper_get_n_tokens(chunks)),
            int(mtmd.mtmd_helper_get_n_pos(chunks)),
            tuple(kinds),
        )

    def forget(self, media: Media) -> None:
        """Free a picture that :meth:`look` made."""
        chunks, media.chunks = media.chunks, None
        if chunks is not None:
            self._mtmd.mtmd_input_chunks_free(chunks)

    # running

    def clear(self, sampling: Sampling) -> None:
        """Forget what was read, and make ready to draw tokens as ``sampling`` says."""
        self._low.llama_memory_clear(self._low.llama_get_memory(self._context), True)
        self._free_sampler()
        low = self._low
        chain = low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            links = [low.llama_sampler_init_greedy()]
        else:
            seed = int.from_bytes(os.urandom(4)) if sampling.seed is None else sampling.seed
            links = [
                low.llama_sampler_init_top_k(sampling.top_k),
                low.llama_sampler_init_top_p(sampling.top_p, 1),
                low.llama_sampler_init_temp(sampling.temperature),
                low.llama_sampler_init_dist(seed % 0xFFFFFFFF),
            ]
        for link in links:
            low.llama_sampler_chain_add(chain, link)
        self._sampler = chain

    def decode_tokens(self, tokens: Sequence[int], position: int) -> int:
        """Read at most ``batch_size`` tokens from ``position`` on; return the next position."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for n, token in enumerate(tokens):
            batch.token[n], batch.pos[n] = token, position + n
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, 0
            batch.logits[n] = n == len(tokens) - 1
        code = self._low.llama_decode(self._context, batch)
        if code != 0:
            raise ModelError(f"{self.files.text.name}: llama.cpp failed to read ({code})")
        return position + len(tokens)

    def decode_chunk(self, chunk: Any, position: int, *, last: bool) -> int:
        """Read one chunk of a :class:`Media`, seeing it if it is a picture; as above."""
        after = self._low.llama_pos(0)
        code = self._mtmd.mtmd_helper_eval_chunk_single(
            self._eyes,
            self._context,
            chunk,
            position,
            0,
            self.batch_size,
            last,
            ctypes.byref(after),
        )
        if code != 0:
            raise ModelError(f"{self.files.text.name}: llama.cpp failed to see ({code})")
        return int(after.value)

    def sample(self) -> int:
        """Draw the next token after what was last read."""
        return int(self._low.llama_sampler_sample(self._sampler, self._context, -1))

    def _free_sampler(self) -> None:
        if self._sampler is not None:
            self._low.llama_sampler_free(self._sampler)
        self._sampler = None


def _context_params(low: Any, size: int, threads: int, batch: int) -> Any:
    params = low.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = size, batch, batch, 1
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    return params


def _listen() -> None:
    """Send what llama.cpp and mtmd say to Python's logging; they print to stderr otherwise."""
    import llama_cpp.llama_cpp as low
    import llama_cpp.mtmd_cpp as mtmd

    _errors.clear()
    if not _callbacks:
        _callbacks.append(low.llama_log_callback(_hear))
    for set_log in (low.llama_log_set, mtmd.mtmd_log_set, mtmd.mtmd_helper_log_set):
        set_log(_callbacks[0], ctypes.c_void_p(0))


def _hear(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if level == _ERROR and line:
        _errors.append(line)
    _log.debug("%s", line)


def _complaint() -> str:
    """Return the first error since :func:`_listen`: those after it only repeat that it failed."""
    return f": {_errors[0][:200]}" if _errors else ""
