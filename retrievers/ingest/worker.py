"""The child process that parses files: it trusts nothing it reads, and is not trusted itself.

Knows nothing of the library or of encoders. It speaks JSON lines: jobs come on standard input,
``progress`` and ``done`` go out on what was standard output (libraries that print cannot disturb
it). Documents and pictures are written as files into the folder that the job names. It bounds its
own memory, processor time and file sizes, and ends as soon as its parent is gone.
"""

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

LOOK_SIDE = 448  # pixels of the small copies that the parent encodes


def main() -> None:
    """Read jobs until standard input ends; the argument is the folder that the pool made."""
    _one_thread()
    out = _own_output()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    pool = Path(sys.argv[1])
    listener = threading.Thread(target=_listen, args=(jobs, pool), daemon=True)
    listener.start()
    try:
        _say(out, {"type": "ready", "pid": os.getpid()})
        while True:
            _work(json.loads(jobs.get()), out)
    except BrokenPipeError:  # the parent is gone
        listener.join()  # which tidies up, and ends this process


def _listen(jobs: "queue.SimpleQueue[str]", pool: Path) -> None:
    """Pass jobs on; when the parent closes the pipe, or dies, so does this process, at once.

    A parent that was killed has left its folder behind: the first child that gets to rename it
    removes it, and what other children are still writing no longer finds its way there.
    """
    for line in sys.stdin:
        jobs.put(line)
    gone = pool.with_name(f"{pool.name}-gone")
    with contextlib.suppress(OSError):
        pool.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    os._exit(0)


def _own_output() -> TextIO:
    """Keep standard output for the protocol, and let everything else that prints go nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return out


def _one_thread() -> None:
    """One core a process: as many processes run as there are cores."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _work(job: dict[str, Any], out: TextIO) -> None:
    from retrievers.errors import SourceRefused
    from retrievers.ingest.options import ParseOptions

    options = ParseOptions.from_json(job["options"])
    folder = Path(job["folder"])
    answer: dict[str, Any] = {"type": "done", "id": job["id"]}

    def progress(step: int, steps: int) -> None:
        _say(out, {"type": "progress", "id": job["id"], "step": step, "steps": steps})

    try:
        _limit(options)
        _parse(Path(job["path"]), options, job.get("told") or {}, folder, progress)
    except SourceRefused as error:
        answer["refused"] = str(error)
    except MemoryError:
        answer["refused"] = (
            f"{Path(job['path']).name}: needs more than {options.memory_bytes / 1024**2:.0f} MB of"
            " memory to read"
        )
    except Exception as error:  # whatever a hostile file makes a library raise
        name = Path(job["path"]).name
        answer["refused"] = (
            f"{name}: could not be read, probably malformed ({type(error).__name__})"
        )
    _say(out, answer)


def _parse(path: Path, options: Any, told: dict[str, str], folder: Path, progress: Any) -> None:
    """Parse one file and write ``document.json``, the pictures, and small copies of them."""
    from retrievers.imaging import encode, read_picture, shrink
    from retrievers.ingest.loaders import parse

    document, blobs = parse(path, options, told=told, progress=progress)
    for sha256, data in blobs.items():
        (folder / sha256).write_bytes(data)
        small = shrink(read_picture(data).image, LOOK_SIDE)
        (folder / f"{sha256}.look").write_bytes(encode(small, "image/jpeg", quality=92))
    text = json.dumps(document.to_json(), ensure_ascii=True)
    (folder / "document.json").write_text(text, encoding="ascii")


def _limit(options: Any) -> None:
    """Bound this process; the processor time starts anew with each file."""
    try:
        import resource
    except ImportError:  # not on Windows, where only the parent's time limit holds
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(
        used.ru_utime + used.ru_stime + options.seconds + options.seconds_a_page * options.max_pages
    )
    for what, value in (
        (resource.RLIMIT_AS, options.memory_bytes),
        (resource.RLIMIT_FSIZE, options.output_bytes),
        (resource.RLIMIT_CPU, most),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard == resource.RLIM_INFINITY or value <= hard:
            resource.setrlimit(what, (value, hard))


def _say(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
