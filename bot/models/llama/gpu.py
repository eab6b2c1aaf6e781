"""How many layers of a model fit on the GPUs of this machine.

An estimate from file sizes and free memory, on the safe side; knows nothing of loaded models.
"""

import ctypes
from typing import Any

from bot.models.llama.files import ModelFiles, read_header

_SHARE = 0.8  # of the free memory: the rest is for the KV memory and what is being computed
_GPU_KINDS = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, and the one inside a processor


def layers_that_fit(files: ModelFiles, wanted: int | None) -> int:
    """Return ``wanted``, or, when it is None, as many layers as fit: -1 is all of them."""
    if wanted is not None:
        return wanted
    import llama_cpp.llama_cpp as low

    if not low.llama_supports_gpu_offload():
        return 0
    room = free_bytes() * _SHARE
    if files.projector is not None:
        room -= files.projector.stat().st_size
    size = files.text.stat().st_size
    if room >= size:
        return -1
    header = read_header(files.text)
    layers = header.numbers.get(f"{header.architecture}.block_count", 0)
    return max(0, int(room / (size / (layers + 1))))


def free_bytes() -> int:
    """Return the free memory of all GPUs together, in bytes; 0 where there is none."""
    from llama_cpp._ggml import libggml as ggml

    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    devices = [ggml.ggml_backend_dev_get(n) for n in range(ggml.ggml_backend_dev_count())]
    return sum(_free(ggml, d) for d in devices if ggml.ggml_backend_dev_type(d) in _GPU_KINDS)


def _free(ggml: Any, device: int) -> int:
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    ggml.ggml_backend_dev_memory(ctypes.c_void_p(device), ctypes.byref(free), ctypes.byref(total))
    return free.value
