"""A model with eyes behind an OpenAI-compatible address on loopback: it says what it was shown.

Of the pictures of each question it keeps the colours of the left and the right edge, of those that
were painted for it (:func:`painted`); its answer says them, and cites the first source.
"""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

SIZE = (40, 24)
COLOURS = {(255, 0, 0): "red", (0, 0, 255): "blue", (0, 128, 0): "green", (255, 255, 0): "yellow"}


def painted(left: str, right: str) -> bytes:
    """Return the PNG of a picture that is one colour on its left, another on its right."""
    image = Image.new("RGB", SIZE, left)
    image.paste(right, (SIZE[0] // 2, 0, *SIZE))
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


class SeeingModel:
    """The server. ``shown`` has for each question the painted pictures that came with it."""

    def __init__(self) -> None:
        self.shown: list[list[str]] = []
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a bot ask it, once for each question."""
        return {
            "BIFOCAL_MODEL": "openai:x",
            "BIFOCAL_MODEL_URL": self.url,
            "BIFOCAL_MODEL_KEY": "none",
            "BIFOCAL_MODEL_OPTIONS": '{"pictures": true}',
            "BIFOCAL_CONTEXT_TOKENS": "32000",
            "BIFOCAL_CONDENSE_SECONDS": "0",
            "BIFOCAL_CAPTION_SECONDS": "0",
        }

    def answer(self, body: dict[str, Any]) -> str:
        """Look at the pictures of a question."""
        content = [m for m in body["messages"] if m["role"] == "user"][-1]["content"]
        parts = content if isinstance(content, list) else []
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        seen = [colours for url in urls if (colours := _colours(url))]
        self.shown.append(seen)
        return f"I see {', '.join(seen) or 'nothing'} [1]."


def _colours(url: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        if image.size != SIZE:
            return ""  # of the library
        pixels = image.convert("RGB")
        edges = (pixels.getpixel((2, 12)), pixels.getpixel((SIZE[0] - 3, 12)))
    return "-".join(_nearest(edge) for edge in edges)


def _nearest(pixel: Any) -> str:
    def distance(colour: tuple[int, ...]) -> int:
        return sum(abs(a - b) for a, b in zip(colour, pixel, strict=True))

    return COLOURS[min(COLOURS, key=distance)]


class _Handler(BaseHTTPRequestHandler):
    model: SeeingModel

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a chat completion as one event."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"index": 0, "delta": {"content": self.model.answer(body)}, "finish_reason": "stop"}
        head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "x"}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        event = json.dumps({**head, "choices": [said]})
        self.wfile.write(f"data: {event}\n\ndata: [DONE]\n\n".encode())


@contextmanager
def seeing_model() -> Iterator[SeeingModel]:
    """Run one on a free port."""
    model = SeeingModel()
    handler = type("Handler", (_Handler,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
