"""What llama.cpp makes of a picture before the text model reads it, by the low-level binding.

``seen_by_llama`` and ``seen_by_torch`` give the same array when the vision graph of llama.cpp
computes what the model was trained as; FACTS of such differences: 3e-4 is rounding (float16
weights, a table of GELU), 0.4 was a wrong layer or shifted positions. Knows nothing of messages or
of Bifocal's engine.
"""

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from vlm_model import pixels, see

Array = NDArray[np.float32]


def seen_by_torch(model: Any, picture: Image.Image) -> Array:
    """Return what the projector of ``load_reference``'s model gives: (64, 160)."""
    with torch.no_grad():
        found: Array = model.model.multi_modal_projector(see(model, pixels([picture])))[0].numpy()
    return found


def seen_by_llama(text: Path, projector: Path, picture: Image.Image) -> Array:
    """Return llama.cpp's output for the picture: (tokens, width of the text model)."""
    import llama_cpp.llama_cpp as low
    import llama_cpp.mtmd_cpp as mtmd

    low.llama_backend_init()
    settings = low.llama_model_default_params()
    settings.use_extra_bufts = False  # nothing is multiplied by the text model's weights here
    model = low.llama_model_load_from_file(os.fsencode(text), settings)
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.print_timings, params.warmup, params.n_threads = False, False, False, 1
    eyes = mtmd.mtmd_init_from_file(os.fsencode(projector), model, params)
    if not model or not eyes:
        raise OSError(f"{text}, {projector}: llama.cpp cannot load them")
    data = picture.convert("RGB").tobytes()
    held = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
    bitmap = mtmd.mtmd_bitmap_init(picture.width, picture.height, held)
    chunks = mtmd.mtmd_input_chunks_init()
    try:
        part = mtmd.mtmd_input_part(None, bitmap)
        parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
        if mtmd.mtmd_tokenize_from_parts(eyes, chunks, parts, 1, False) != 0:
            raise OSError("llama.cpp cannot prepare the picture")
        chunk = mtmd.mtmd_input_chunks_get(chunks, 0)
        if mtmd.mtmd_encode_chunk(eyes, chunk) != 0:
            raise OSError("llama.cpp cannot encode the picture")
        shape = (mtmd.mtmd_input_chunk_get_n_tokens(chunk), low.llama_model_n_embd_inp(model))
        found = mtmd.mtmd_get_output_embd(eyes)
        return np.ctypeslib.as_array(found, (shape[0] * shape[1],)).reshape(shape).copy()
    finally:
        mtmd.mtmd_input_chunks_free(chunks)
        mtmd.mtmd_bitmap_free(bitmap)
        mtmd.mtmd_free(eyes)
        low.llama_model_free(model)


def difference(a: Array, b: Array) -> float:
    """Return the relative difference: the norm of ``a - b`` over that of ``b``."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
