"""Bytes that are no request, and clients that are slow on purpose: row 27 below HTTP."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

POST = b"POST /v1/turns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
ASK = b'{"text": "How tall is the lighthouse?"}'
FORM = (
    b"POST /v1/turns HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=bb\r\n"
)
PART = b'--bb\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n'


def sized(body: bytes, head: bytes = POST) -> bytes:
    """Return a request with that body."""
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunked(*chunks: bytes, head: bytes = POST) -> bytes:
    """Return a request whose body comes in those pieces, as they are."""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


SEEDS: dict[str, bytes] = {
    "nothing that is HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute address": b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space before the colon": GET + b"Content-Length : 3\r\n\r\nabc",
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "NUL in a header": GET + b"X-A: b\x00c\r\n\r\n",
    "a bare line feed": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "bytes in a header's name": GET + b"X-\xff\xfe: b\r\n\r\n",
    "bytes in a header's value": GET + b"X-Request-Id: \xff\xfe\xfd\r\n\r\n",
    "bytes in a key": GET.replace(b"livez", b"metrics") + b"Authorization: Bearer \xff\xfe\r\n\r\n",
    "bytes in the idempotency key": sized(ASK, POST + b"Idempotency-Key: \xff\xc3(\r\n"),
    "bytes in the address": b"GET /v1/pictures/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escapes that are no text": b"GET /v1/pictures/%ff%fe%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "dots in the address": b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escaped dots": b"GET /v1/pictures/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length that is no number": POST + b"Content-Length: 1e3\r\n\r\n{}",
    "a length past all numbers": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "a length and chunks": chunked(b"0\r\n\r\n", head=POST + b"Content-Length: 60\r\n")
    + b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "chunks and a length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n",
    "chunks twice": chunked(b"0\r\n\r\n", head=POST + b"Transfer-Encoding: identity\r\n"),
    "an unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": chunked(b"zz\r\nab\r\n0\r\n\r\n"),
    "a chunk of too large a size": chunked(b"fffffffffffffffff\r\nab"),
    "a chunk of another size": chunked(b"2\r\nabcdef\r\n0\r\n\r\n"),
    "an invented content encoding": sized(b"\x1f\x8b\x08", POST + b"Content-Encoding: gzip\r\n"),
    "a form without its end": sized(PART, FORM),
    "a form without anything": sized(b"", FORM),
    "a form without a boundary": sized(PART, FORM.replace(b"; boundary=bb", b"")),
    "a form with a boundary of bytes": sized(PART, FORM.replace(b"=bb", b"=\xff\xfe")),
    "a form of 1,000 fields": sized(PART * 1000 + b"--bb--\r\n", FORM),
    "a form's part without a name": sized(PART.replace(b'; name="text"', b"") + b"--bb--", FORM),
    "a form's part of long headers": sized(
        b"--bb\r\nContent-Disposition: form-data; name=" + b"a" * 60_000 + b"\r\n\r\nx\r\n--bb--",
        FORM,
    ),
    "a form whose charset is none": sized(
        b'--bb\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\nnope\r\n'
        + PART
        + b"--bb--\r\n",
        FORM.replace(b"boundary", b"charset=nope; boundary"),
    ),
    "a form of bytes": sized(PART.replace(b"hello", b"\xff\xfe\xed\xa0\x80") + b"--bb--\r\n", FORM),
    "a field that is a file": sized(
        PART.replace(b'"text"', b'"text"; filename="text"') + b"--bb--\r\n", FORM
    ),
    "a file that is a field": sized(PART.replace(b'"text"', b'"pictures"') + b"--bb--\r\n", FORM),
    "no body": sized(b""),
    "JSON that is half": sized(ASK[:-3]),
    "JSON of bytes": sized(b'{"text": "\xff\xfe"}'),
    "JSON with NUL": sized(b'{"text": "a\\u0000b"}'),
    "JSON with a bare NUL": sized(b'{"text": "a\x00b"}'),
    "JSON with half a surrogate": sized(b'{"text": "\\ud800 tall"}'),
    "a name with half a surrogate": sized(b'{"text": "a", "conversation": "\\udfff"}'),
    "a sender with half a surrogate": sized(b'{"text": "a", "sender": "\\ud800"}'),
    "UTF-16": sized(json.dumps({"text": "a"}).encode("utf-16")),
    "a byte order mark": sized(b"\xef\xbb\xbf" + ASK),
    "JSON twice": sized(ASK + ASK),
    "a key twice": sized(b'{"text": "a", "text": "b", "library": "x", "library": "default"}'),
    "NaN": sized(b'{"text": NaN}'),
    "infinity": sized(b'{"text": "a", "stream": Infinity}'),
    "a number of 5,000 digits": sized(b'{"text": "a", "stream": ' + b"1" * 5000 + b"}"),
    "100,000 brackets": sized(b"[" * 100_000),
    "100,000 objects": sized(b'{"a":' * 100_000),
    "a list where an object is due": sized(b"[1, 2, 3]"),
    "an object where a text is due": sized(b'{"text": {"text": {"text": {}}}}'),
    "a name of controls": sized(b'{"text": "a", "conversation": "\\r\\nX-Evil: 1"}'),
    "a name of 300 characters": sized(b'{"text": "a", "conversation": "%s"}' % (b"c" * 300)),
    "a name with what Redis reads": sized(b'{"text": "a", "conversation": "{x}:*\\r\\n$1"}'),
    "100 pictures": sized(b'{"pictures": [' + b",".join([b"{}"] * 100) + b"]}"),
    "a last event of another stream": b"GET /v1/turns/%s/events HTTP/1.1\r\nHost: localhost\r\n"
    b"Last-Event-ID: x:99999999999999999999\r\n\r\n" % (b"0" * 32),
    "an accepted type of nothing": GET + b"Accept: nothing/at-all\r\n\r\n",
    "a range": GET + b"Range: bytes=-1-,5-99999999999\r\n\r\n",
    "a method in a header": POST + b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 2\r\n\r\n{}",
    "a preflight": b"OPTIONS /v1/turns HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example"
    b"\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "an upgrade": GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a web socket": GET
    + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "an end before the body": POST + b"Content-Length: 500\r\n\r\n{",
}


async def exchange(url: str, data: bytes) -> bytes:
    """Send bytes, end what is sent, and return all that comes back."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        async with asyncio.timeout(30):
            found = b""
            while not complete(found) and (piece := await reader.read(65_536)):
                found += piece
                if complete(found):
                    break
                if len(found) == len(piece):
                    continue
            return found
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


def complete(answer: bytes) -> bool:
    """Tell whether a whole answer is there."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and length is not None and len(body) >= int(length[1])


async def test_whatever_comes_on_a_connection_is_answered_with_2xx_or_4xx_or_hung_up_on(
    serve: Any,
) -> None:
    """What is answered by the service itself is a problem document without the server's paths."""
    async with serve(serve={"read_seconds": 1}) as served:
        answered = 0
        for name, data in SEEDS.items():
            answer = await exchange(served.url, data)
            answered += bool(answer)
            status = re.findall(rb"^HTTP/1\.1 (\d{3})", answer, re.MULTILINE)
            assert all(100 <= int(one) < 500 for one in status), (name, answer)
            assert len(status) <= 1, (name, answer)
            assert b"Traceback" not in answer, (name, answer)
            assert b"site-packages" not in answer, (name, answer)
            assert str(Path.cwd()).encode() not in answer, (name, answer)
            assert b"smuggled" not in answer, (name, answer)
            assert b"X-Evil: 1\r\n" not in answer, (name, answer)
            if status and int(status[0]) >= 400 and b"application/json" in answer:
                raise AssertionError((name, answer))
        assert answered > len(SEEDS) * 0.9
        again = await served.client.post("/v1/turns", json={"text": "How tall is the lighthouse?"})
        assert "34 metres" in again.json()["text"]


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /" + b"a" * 10_000_000,
        GET + b"X-A: " + b"a" * 10_000_000,
        GET + b"X-A: b\r\n" * 1_000_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"X-A: b\r\n" * 1_000_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 10_000_000,
    ],
    ids=["address", "header", "headers", "trailers", "chunk extension"],
)
async def test_a_head_without_end_is_cut_off(serve: Any, flood: bytes) -> None:
    """The server's own parser would hold all of it."""
    async with serve() as served:
        host, port = served.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        with pytest.raises(ConnectionError):  # noqa: PT012 - at whichever piece it is
            async with asyncio.timeout(60):
                for at in range(0, len(flood), 65_536):
                    writer.write(flood[at : at + 65_536])
                    await writer.drain()
                raise AssertionError("all of it was taken")
        writer.close()
        assert (await served.client.get("/livez")).is_success


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (GET, b""),
        (POST + b"Content-Length: 50\r\n\r\n{", b"408"),
        (sized(b"{}") + GET, b"422"),
    ],
    ids=["nothing", "half a head", "half a body", "half of the next one"],
)
async def test_a_client_that_never_ends_its_request_is_hung_up_on(
    serve: Any, sent: bytes, answer: bytes
) -> None:
    async with serve(serve={"read_seconds": 1}) as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(60):
            told = await reader.read()
        assert answer in told.split(b"\r\n")[0]
        writer.close()


async def test_a_request_that_trickles_in_is_not_kept_for_ever(serve: Any) -> None:
    """Each byte of the head comes in time, the whole of it does not."""
    async with serve(serve={"read_seconds": 1}) as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(GET + b"X-A: ")
        closed = asyncio.create_task(reader.read())
        async with asyncio.timeout(60):
            while not closed.done():
                writer.write(b"a")
                await asyncio.wait({closed}, timeout=0.1)
        assert closed.result() == b""
        writer.close()


async def test_more_connections_than_are_taken_are_told_so(serve: Any) -> None:
    async with serve(serve={"connections": 5}) as served:
        host, port = served.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            told = await reader.read()
            assert told.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 2" in told
            writer.close()
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(30):
            while len(served.server.server_state.connections) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await served.client.get("/livez")).is_success


async def test_a_conversation_of_any_name_can_be_streamed(serve: Any) -> None:
    """Its name is told in a header, where not every character may stand."""
    async with serve() as served:
        for name in ("\x01\x7f", "a\r\nX-Evil: 1", "ä\ud83d\ude42", "\x00"):
            body = json.dumps({"text": "How tall?", "conversation": name, "stream": True})
            answer = await served.client.post(
                "/v1/turns", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422 or "event: done" in answer.text
            assert "x-evil" not in answer.headers
