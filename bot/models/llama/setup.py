"""How llama.cpp is set up: a context's parameters, whether weights are laid out anew, its words.

Knows nothing of models once they are loaded, nor of batches or sequences.
"""

import ctypes
import logging
from collections import deque
from typing import Any

from bot.models.llama.values import Options

_log = logging.getLogger(__name__)
_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_errors: deque[str] = deque(maxlen=8)
_callbacks: list[Any] = []  # kept for as long as native code may call them
_KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}  # ggml_type
_FLASH = {"auto": -1, "off": 0, "on": 1}  # llama_flash_attn_type

_RESTING = 32  # sequences kept beside those that are being answered, where they share a memory


def context_params(low: Any, model: Any, options: Options, threads: int, *, gpu: bool) -> Any:
    """Return the parameters of a model's context, as llama.cpp takes them."""
    params = low.llama_context_default_params()
    params.kv_unified = gpu if options.kv_unified is None else options.kv_unified
    params.n_ctx = options.parallel * options.context_tokens
    params.n_seq_max = options.parallel
    if params.kv_unified:
        params.n_ctx = max(options.kv_tokens or 2 * options.context_tokens, options.context_tokens)
        if not (low.llama_model_is_recurrent(model) or low.llama_model_is_hybrid(model)):
            params.n_seq_max += _RESTING  # of the others each holds a whole state, used or not
    room = max(params.n_seq_max, min(options.batch, options.context_tokens))  # or ggml aborts
    params.n_batch = params.n_ubatch = room
    params.swa_full, params.no_perf = True, True
    params.n_threads = params.n_threads_batch = threads
    params.type_k = params.type_v = _KV_TYPES[options.kv_type]
    flash = options.flash_attention
    if flash == "auto" and not gpu:
        flash = "off" if options.kv_type == "f16" else "on"
    params.flash_attn_type = _FLASH[flash]
    return params


def may_repack(low: Any) -> bool:
    """Return whether weights may be laid out anew for this processor.

    Not where that means AMX: llama.cpp's tile configuration (ggml-cpu/amx/mmq.cpp of 0c1e57098),
    compiled by GCC 12, loads garbage, and the first prompt of 16 tokens or more ends the process.
    """
    return b"AMX_INT8 = 1" not in bytes(low.llama_print_system_info())


def c_string_length(low: Any) -> Any:
    """Return a native function that tells whether a C string has anything in it.

    llama.cpp asks between any two operations whether to stop; asking Python would take the
    interpreter's lock a thousand times a step. ``strlen`` of a flag answers as well.
    """
    return ctypes.cast(ctypes.CDLL(None).strlen, low.ggml_abort_callback)


def listen() -> None:
    """Send what llama.cpp and mtmd say to Python's logging; they print to stderr otherwise."""
    import llama_cpp.llama_cpp as low
    import llama_cpp.mtmd_cpp as mtmd

    _errors.clear()
    if not _callbacks:
        _callbacks.append(low.llama_log_callback(_hear))
    for set_log in (low.llama_log_set, mtmd.mtmd_log_set, mtmd.mtmd_helper_log_set):
        set_log(_callbacks[0], ctypes.c_void_p(0))


def _hear(level: int, text: bytes, _: Any) -> None:
    line = " ".join(text.decode("utf-8", "replace").split())  # some say two lines at once
    if level == _ERROR and line:
        _errors.append(line)
    _log.debug("%s", line)


def complaint() -> str:
    """Return the first error since :func:`listen`: those after it only repeat that it failed."""
    return f": {_errors[0][:200]}" if _errors else ""
