"""Who answers in the engine's benchmark: A (the binding's handler), B (ours), C (llama-server).

All of them get the same lines, the same files, the same sizes and the same number of threads, and
all draw greedily. Knows nothing of what is measured.
"""

import base64
import ctypes
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from engine_material import Said
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from bot.models.llama import LocalVisionChat

START_SECONDS = 120  # for llama-server to load
TURN_SECONDS = 600
_silent: list[Any] = []  # kept for as long as native code may call it


@dataclass(frozen=True, slots=True)
class Sizes:
    """What every contestant is given. ``context`` is one conversation's longest, in tokens."""

    threads: int = 2
    context: int = 5120
    parallel: int = 8
    batch: int = 512
    repack: bool = True  #: let llama.cpp lay weights out anew for this processor
    flash_attention: str = "auto"  #: of B; C has its own default, A's is off
    picture_bytes: int = 256 << 20  #: of B, for what it keeps; as are the next
    sequence_bytes: int = 512 << 20

    @property
    def kv_tokens(self) -> int:
        """Tokens that all conversations have together."""
        return self.context * self.parallel


@dataclass(slots=True)
class Answer:
    """What came: text, seconds since it was asked, and what the engine said of its work.

    ``arrivals`` are the seconds at which each piece of text came.
    """

    text: str = ""
    arrivals: list[float] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> float:
        """Seconds to the first text."""
        return self.arrivals[0]


def silence() -> None:
    """Let llama.cpp and mtmd say nothing: they print to stderr from within a turn."""
    import llama_cpp.llama_cpp as low
    import llama_cpp.mtmd_cpp as mtmd

    if not _silent:
        _silent.append(low.llama_log_callback(lambda level, text, data: None))
    for set_log in (low.llama_log_set, mtmd.mtmd_log_set, mtmd.mtmd_helper_log_set):
        set_log(_silent[0], ctypes.c_void_p(0))


@contextmanager
def model_params(*, repack: bool) -> Iterator[None]:
    """Let ``Llama`` load with ``use_extra_bufts``, which it has no argument for."""
    import llama_cpp.llama_cpp as low

    original = low.llama_model_default_params

    def changed() -> Any:
        params = original()
        params.use_extra_bufts = repack
        return params

    low.llama_model_default_params = changed
    try:
        yield
    finally:
        low.llama_model_default_params = original


class Contestant(Protocol):
    """Answers conversations; safe from several threads."""

    name: str

    def pieces(
        self, lines: Sequence[Said], tokens: int, told: dict[str, Any], tenant: str
    ) -> Iterator[str]:
        """Yield text as it comes; put what the engine says of its work into ``told``."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


def ask(who: Contestant, lines: Sequence[Said], tokens: int, *, tenant: str = "one") -> Answer:
    """Return the whole answer, with the time at which each piece came."""
    answer, began = Answer(), time.perf_counter()
    for text in who.pieces(lines, tokens, answer.told, tenant):
        if text:
            answer.arrivals.append(time.perf_counter() - began)
            answer.text += text
    if not answer.arrivals:
        raise RuntimeError(f"{who.name} answered nothing")
    return answer


class Handler:
    """A: llama-cpp-python's generic multimodal handler, one caller at a time."""

    name = "A"

    def __init__(self, text: Path, projector: Path, sizes: Sizes) -> None:
        from llama_cpp import Llama
        from llama_cpp.llama_chat_format import MTMDChatHandler

        silence()
        self._lock = threading.Lock()
        with model_params(repack=sizes.repack):
            self._llama: Any = Llama(
                str(text),
                chat_handler=MTMDChatHandler(str(projector), verbose=False),
                n_ctx=sizes.context,
                n_batch=sizes.batch,
                n_threads=sizes.threads,
                n_threads_batch=sizes.threads,
                verbose=False,
            )

    def pieces(
        self, lines: Sequence[Said], tokens: int, told: dict[str, Any], tenant: str
    ) -> Iterator[str]:
        """Yield text as it comes."""
        with self._lock:
            for chunk in self._llama.create_chat_completion(
                openai_messages(lines),
                stream=True,
                max_tokens=tokens,
                temperature=0.0,
                repeat_penalty=1.0,
            ):
                yield chunk["choices"][0]["delta"].get("content") or ""

    def close(self) -> None:
        """Free the model."""
        self._llama.close()


class Ours:
    """B: ``LocalVisionChat``, spoken to as any LangChain program does."""

    name = "B"

    def __init__(
        self, text: Path, projector: Path, sizes: Sizes, *, cache: Path | None = None
    ) -> None:
        self._model = LocalVisionChat.open(
            f"{text}+{projector}",
            temperature=0.0,
            context_tokens=sizes.context,
            parallel=sizes.parallel,
            kv_tokens=sizes.kv_tokens,
            threads=sizes.threads,
            batch=sizes.batch,
            repack=sizes.repack,
            flash_attention=sizes.flash_attention,
            cache=cache,
            picture_bytes=sizes.picture_bytes,
            sequence_bytes=sizes.sequence_bytes,
        )

    def pieces(
        self, lines: Sequence[Said], tokens: int, told: dict[str, Any], tenant: str
    ) -> Iterator[str]:
        """Yield text as it comes; ``told`` gets the engine's counters."""
        for chunk in self._model.stream(
            langchain_messages(lines), max_tokens=tokens, tenant=tenant
        ):
            told.update(chunk.response_metadata.get("engine", {}))
            yield chunk.text

    def close(self) -> None:
        """End the engine."""
        self._model.close()


class Server:
    """C: a ``llama-server`` of its own on a free loopback port."""

    name = "C"

    def __init__(self, binary: Path, text: Path, projector: Path, sizes: Sizes, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [str(binary), "-m", str(text), "--mmproj", str(projector)]
        command += ["--host", "127.0.0.1", "--port", str(port), "-np", str(sizes.parallel)]
        command += ["-c", str(sizes.kv_tokens), "-b", str(sizes.batch), "-ub", str(sizes.batch)]
        command += ["--repack" if sizes.repack else "--no-repack"]
        command += ["-t", str(sizes.threads), "-tb", str(sizes.threads)]
        self._process = subprocess.Popen(
            [*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        address = f"http://127.0.0.1:{port}"
        # a connection for each request: the server hangs up on those that were kept
        self._client = httpx.Client(
            base_url=address,
            timeout=TURN_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"llama-server ended with {self._process.returncode}")
            try:
                if self._client.get("/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"llama-server was not ready in {START_SECONDS} s")

    def pieces(
        self, lines: Sequence[Said], tokens: int, told: dict[str, Any], tenant: str
    ) -> Iterator[str]:
        """Yield text as it comes; ``told`` gets the server's timings."""
        body = {
            "messages": openai_messages(lines),
            "max_tokens": tokens,
            "temperature": 0.0,
            "stream": True,
        }
        with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
            if not response.is_success:
                raise RuntimeError(f"llama-server: {response.read().decode()[:300]}")
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise RuntimeError(f"llama-server: {chunk['error']}")
                told.update(chunk.get("timings", {}))
                for choice in chunk["choices"]:
                    yield choice["delta"].get("content") or ""

    def close(self) -> None:
        """End the server."""
        self._client.close()
        self._process.terminate()
        self._process.wait()


def openai_messages(lines: Sequence[Said]) -> list[dict[str, Any]]:
    """Return the lines as OpenAI's chat API takes them; the picture comes before the words."""
    return [{"role": line.role, "content": _content(line, image_url=True)} for line in lines]


def langchain_messages(lines: Sequence[Said]) -> list[BaseMessage]:
    """Return the lines as LangChain messages with standard ``image`` parts."""
    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[line.role](content=_content(line, image_url=False)) for line in lines]


def _content(line: Said, *, image_url: bool) -> Any:
    if line.picture is None:
        return line.text
    data = base64.b64encode(line.picture).decode("ascii")
    part: dict[str, Any] = {"type": "image", "base64": data, "mime_type": "image/png"}
    if image_url:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [part, {"type": "text", "text": line.text}]
