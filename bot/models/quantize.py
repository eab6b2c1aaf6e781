"""Makes a GGUF text model smaller, in a process of its own: llama.cpp's own quantization.

The result gets its name when it is whole and its header reads well. A crash of native code is an
error in one line. Knows nothing of the catalogue or the store. Run as a module it is that process:
``python -m bot.models.quantize IN OUT TYPE THREADS``.
"""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bot.errors import ModelError
from bot.models.download import CHUNK, MARGIN
from retrievers.cores import usable_cores

#: Types that need no importance matrix, the largest first; Q4_K_M and Q8_0 are the usual ones
TYPES = (
    *("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S"),
    *("Q4_1", "IQ4_NL", "Q4_0", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"),
)

_STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
_ERROR = 4  # GGML_LOG_LEVEL_ERROR

Progress = Callable[[int, int], None]
"""Called with the tensors that are done, and how many there are."""


def quantize(
    source: Path,
    target: Path,
    kind: str,
    *,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write ``source``, a text model of 16 or 32 bits, to ``target`` at the type ``kind``.

    ``force`` replaces a ``target`` that is there. ``threads`` None: one a core that this process
    may use. Raises ``ModelError``, one line: an unknown type, a source that is no text model or
    already quantized, a target that is there or is the source, no room, a crash.
    """
    from bot.models.llama.files import read_header

    source, target = source.expanduser(), target.expanduser()
    chosen = _known(kind)
    if read_header(source).architecture == "clip":
        raise ModelError(
            f"{source}: a projector; only text models are quantized here,"
            " projectors come as F16 or Q8_0 from where the model comes from"
        )
    _check_target(source, target, force)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _run(
            source, draft, chosen, threads or usable_cores(), progress or (lambda done, all_: None)
        )
        read_header(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise ModelError(f"{target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return target


def _known(kind: str) -> str:
    if (name := kind.upper()) in TYPES:
        return name
    near = get_close_matches(name, TYPES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ModelError(f"type {kind!r}: unknown; {hint}there are {', '.join(TYPES)}")


def _check_target(source: Path, target: Path, force: bool) -> None:
    if target.is_dir() or not target.parent.is_dir():
        raise ModelError(f"{target}: name a file in a folder that is there")
    if target.exists():
        if target.samefile(source):
            raise ModelError(f"{target}: is the model itself; choose another name")
        if not force:
            raise ModelError(f"{target}: is there already; --force replaces it")
    need, free = source.stat().st_size + MARGIN, shutil.disk_usage(target.parent).free
    if need > free:
        raise ModelError(
            f"{target}: up to {need / 1e9:.1f} GB of disk are needed, {target.parent} has"
            f" {free / 1e9:.1f} GB; make room, or write to another disk"
        )


def _run(source: Path, draft: Path, kind: str, threads: int, progress: Progress) -> None:
    """Run the process, pass its progress on; it ends with this call, whatever happens."""
    command = [sys.executable, "-P", "-m", "bot.models.quantize"]
    arguments = [str(source.absolute()), str(draft.absolute()), kind, str(threads)]
    with subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is this process's to handle
    ) as child:
        try:
            said = _hear(child, progress)
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        if "requantizing" in said:
            said = "it is quantized already; take its F16 or BF16 original"
        how = f"ended with {child.returncode}" if child.returncode > 0 else "crashed"
        raise ModelError(f"{source}: cannot be quantized to {kind}: {said or f'llama.cpp {how}'}")


def _hear(child: "subprocess.Popen[bytes]", progress: Progress) -> str:
    """Return the last thing that was said, but for steps."""
    assert child.stdout is not None
    said = ""
    while raw := child.stdout.readline(CHUNK):
        line = " ".join(raw.decode("utf-8", "replace").split())
        if step := _STEP.match(line):
            progress(int(step[1]), int(step[2]))
        elif line.strip("="):
            said = line[:300]
    return said


def main(arguments: list[str]) -> int:
    """Be the process: quantize, print ``[n/all]`` for each tensor and what is wrong."""
    import llama_cpp.llama_cpp as low

    source, target, kind, threads = arguments
    parameters = low.llama_model_quantize_default_params()
    name = f"LLAMA_FTYPE_MOSTLY_{kind}"
    parameters.ftype = getattr(low, name)
    parameters.nthread = int(threads)
    hear = low.llama_log_callback(_print)
    low.llama_log_set(hear, ctypes.c_void_p(0))
    code: int = low.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)
    )
    return code


def _print(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", "replace")
    if step := _STEP.match(line):
        print(step[0], flush=True)  # noqa: T201
    elif level == _ERROR:
        print(line.strip().removeprefix("llama_model_quantize: "), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
