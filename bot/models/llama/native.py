"""llama.cpp, one model at a time: vocabulary, sequences, batches, sampling.

With ``batch``, ``eyes``, ``gpu``, ``sampler`` and ``setup`` all that calls native code. Tokenising
reads the vocabulary only, and may go on from any thread; all else must come from one thread at a
time, but for :meth:`Native.abort`.
Knows nothing of messages, templates, conversations or text streams. Opens no address, and leaves
llama_cpp's disk cache alone: it unpickles.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.errors import ModelError
from bot.models.llama import gpu
from bot.models.llama.batch import Batch
from bot.models.llama.eyes import Eyes
from bot.models.llama.files import ModelFiles
from bot.models.llama.sampler import Sampler
from bot.models.llama.setup import c_string_length, complaint, context_params, listen, may_repack
from bot.models.llama.values import LogProb, Options, Sampling

NO_ROOM, ABORTED = 1, 2  # what llama_decode returns


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Picture rows to read: float32, tokens x width, and their positions (1 or 4 x tokens)."""

    rows: NDArray[np.float32]
    places: NDArray[np.int32]
    whole: bool = False


class Native:
    """A loaded model. Make one with :meth:`open`; ``close`` frees everything."""

    def __init__(self, files: ModelFiles, model: Any, context: Any, options: Options) -> None:
        import llama_cpp.llama_cpp as low

        self.files, self._low = files, low
        self._model, self._context = model, context
        self._vocab = low.llama_model_get_vocab(model)
        self._memory = low.llama_get_memory(context)
        self.vocabulary = int(low.llama_vocab_n_tokens(self._vocab))
        self.batch_size = int(low.llama_n_batch(context))
        self.sequences = int(low.llama_n_seq_max(context))
        self.kv_tokens = int(low.llama_n_ctx(context))
        self.trained_on = int(low.llama_model_n_ctx_train(model))
        self.window = int(low.llama_model_n_swa(model))
        self.cuts = not (low.llama_model_is_recurrent(model) or low.llama_model_is_hybrid(model))
        self.eyes: Eyes | None = None
        self._copied: int | None = None  # the target of a copy that may not be done yet
        self._batch = Batch(low, self.batch_size)
        self._flag = ctypes.create_string_buffer(2)
        self._stop = c_string_length(low)
        low.llama_set_abort_callback(context, self._stop, self._flag)

    @classmethod
    def open(cls, files: ModelFiles, options: Options, *, threads: int) -> "Native":
        """Load the files, which :mod:`~bot.models.llama.files` has looked into.

        Raises ``ModelError`` with llama.cpp's own first complaint.
        """
        try:
            import llama_cpp.llama_cpp as low
        except (ImportError, OSError, RuntimeError) as error:
            raise ModelError(
                "llama: needs llama-cpp-python; pip install llama-cpp-python"
            ) from error
        listen()
        low.llama_backend_init()
        params = low.llama_model_default_params()
        params.n_gpu_layers = gpu.layers_that_fit(files, options.gpu_layers)
        params.use_extra_bufts = may_repack(low) if options.repack is None else options.repack
        model = low.llama_model_load_from_file(os.fsencode(files.text), params)
        if not model:
            raise ModelError(f"{files.text}: llama.cpp cannot load it{complaint()}")
        context = context_params(low, model, options, threads, gpu=params.n_gpu_layers != 0)
        handle = low.llama_init_from_model(model, context)
        if not handle:
            low.llama_model_free(model)
            raise ModelError(f"{files.text}: no context of {context.n_ctx} tokens{complaint()}")
        native = cls(files, model, handle, options)
        try:
            native._open_eyes(threads, gpu=params.n_gpu_layers != 0)
        except BaseException:
            native.close()
            raise
        return native

    def _open_eyes(self, threads: int, *, gpu: bool) -> None:
        if self.files.projector is None:
            return
        width = int(self._low.llama_model_n_embd_inp(self._model))
        self.eyes = Eyes.open(self.files, self._model, width, threads=threads, gpu=gpu)
        if self.eyes is None:
            raise ModelError(
                f"{self.files.projector}: not a projector for {self.files.text.name}{complaint()}"
            )

    def close(self) -> None:
        """Free the model. Safe to call twice; nothing else may be called afterwards."""
        if self._model is None:
            return
        if self.eyes:
            self.eyes.close()
        self._low.llama_free(self._context)
        self._low.llama_model_free(self._model)
        self._model = self._context = self.eyes = self._vocab = self._memory = None

    # the vocabulary

    def template(self) -> str | None:
        """Return the chat template in the model's file."""
        found = self._low.llama_model_chat_template(self._model, None)
        return None if found is None else bytes(found).decode("utf-8", "replace")

    def describe(self) -> str:
        """Return llama.cpp's own short description, such as ``llama 135M Q8_0``."""
        buffer = ctypes.create_string_buffer(128)
        self._low.llama_model_desc(self._model, buffer, 128)
        return buffer.value.decode("utf-8", "replace")

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

    # sequences

    def cut(self, sequence: int, position: int) -> bool:
        """Forget what stands at ``position`` and after it; False when the model cannot.

        A sliding window may have forgotten what comes before, too: that counts as cannot.
        """
        memory, low = self._memory, self._low
        if not low.llama_memory_seq_rm(memory, sequence, position, -1):
            return False
        if position == 0 or not self.window:
            return True
        first = int(low.llama_memory_seq_pos_min(memory, sequence))
        return first >= 0 and first <= max(0, position - self.window)

    def clear(self, sequence: int) -> None:
        """Forget a whole sequence."""
        self._low.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def copy(self, source: int, target: int) -> None:
        """Let ``target``, which is empty, hold all that ``source`` holds; :meth:`cut` it then."""
        self._low.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._copied = target

    def _finish_copies(self) -> None:
        """Let llama.cpp do what it puts off until it reads: copies between separate memories.

        Saving or restoring before would take or change what is yet to be copied.
        """
        if (target := self._copied) is not None:
            place = int(self._low.llama_memory_seq_pos_max(self._memory, target)) + 1
            self.read([0], [place], [target], ())
            self._low.llama_memory_seq_rm(self._memory, target, place, -1)

    def save(self, sequence: int) -> bytes:
        """Return the state of a sequence, or nothing when it cannot be had."""
        self._finish_copies()
        low, context = self._low, self._context
        size = int(low.llama_state_seq_get_size(context, sequence))
        buffer = (ctypes.c_uint8 * size)()
        written = int(low.llama_state_seq_get_data(context, buffer, size, sequence))
        return bytes(buffer) if written == size else b""

    def restore(self, sequence: int, state: bytes) -> bool:
        """Put a saved state into an empty sequence; False, and empty still, when it does not fit.

        ``state`` must be what :meth:`save` returned, byte for byte: native code reads it.
        """
        self._finish_copies()
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        low, context = self._low, self._context
        if low.llama_state_seq_set_data(context, buffer, len(state), sequence):
            return True
        self.clear(sequence)
        return False

    # reading

    def abort(self, stop: bool = True) -> None:
        """Make the reading that is going on stop soon (any thread), or let the next one run."""
        self._flag[0] = b"x" if stop else b"\0"

    def read(
        self,
        tokens: Sequence[int],
        places: Sequence[int],
        sequences: Sequence[int],
        wanted: Sequence[int],
    ) -> int:
        """Read tokens of several sequences in one batch.

        ``wanted`` are the indexes whose next token will be asked for. Returns 0, or ``NO_ROOM``
        (nothing was read), ``ABORTED``, or a negative number; then some may have been read.
        """
        batch, self._copied = self._batch, None
        batch.fill(len(tokens), np.asarray(places, dtype=np.int32)[None], sequences, wanted)
        batch.tokens[: len(tokens)] = tokens
        return int(self._low.llama_decode(self._context, batch.of_tokens()))

    def see(self, picture: Rows, sequence: int) -> int:
        """Read picture rows of one sequence; returns what :meth:`read` returns."""
        batch, self._copied = self._batch, None
        batch.fill(len(picture.rows), picture.places, [sequence] * len(picture.rows), ())
        if picture.whole:
            self._low.llama_set_causal_attn(self._context, False)
        try:
            rows = np.ascontiguousarray(picture.rows)
            return int(self._low.llama_decode(self._context, batch.of_rows(rows)))
        finally:
            if picture.whole:
                self._low.llama_set_causal_attn(self._context, True)

    # writing

    def sampler(self, sampling: Sampling) -> Sampler:
        """Return what draws tokens; close it after use. Raises ``ModelError`` for a bad grammar."""
        return Sampler(self._low, self._context, self._vocab, sampling)

    def logprobs(self, index: int, token: int, top: int) -> LogProb:
        """Return how likely ``token`` was at a wanted index of the last batch, and the likeliest.

        log softmax over the whole vocabulary, before any sampling setting.
        """
        found = self._low.llama_get_logits_ith(self._context, index)
        logits = np.ctypeslib.as_array(found, (self.vocabulary,)).astype(np.float64)
        logits -= logits.max()
        logits -= np.log(np.exp(logits).sum())
        best = np.argsort(-logits)[:top]
        return LogProb(
            self._shown(token),
            float(logits[token]),
            tuple((self._shown(int(t)), float(logits[t])) for t in best),
        )

    def _shown(self, token: int) -> str:
        return self.piece(token, control=True).decode("utf-8", "replace")
