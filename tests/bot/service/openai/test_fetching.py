"""Fetching pictures: nothing but public addresses is ever connected to.

Connections are made by ``Counting``, a real network at httpcore's seam: it writes down each address
that it is asked to connect to, and takes those that are public to a server on loopback.
"""

import asyncio
import contextlib
import io
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import pytest
from PIL import Image

from bot.service.openai.addresses import is_public
from bot.service.openai.fetching import FetchRefused, PictureFetcher, SystemNames
from retrievers.imaging import read_picture

PUBLIC_4, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
UNREACHABLE = "no picture could be fetched from there"

PRIVATE = (
    "127.0.0.1 127.1.2.3 0.0.0.0 10.0.0.1 10.255.255.254 172.16.0.1 172.31.255.254 192.168.1.1"
    " 169.254.169.254 169.254.170.2 100.64.0.1 100.100.100.200 192.0.0.1 192.0.0.192 198.18.0.1"
    " 198.19.255.254 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16"
).split()
PRIVATE_6 = (
    "::1 :: fe80::1 fe80::5efe:7f00:1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 ff0e::1 ::ffff:0:0"
    " 64:ff9b:1::7f00:1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 3ffe::1"
    " 5f00::1 4000::1 2606:2800:220:1:0:5efe:7f00:1 2606:2800:220:1:200:5efe:a00:1"
).split()
NAMES = (
    "localhost localhost. LOCALHOST localhost.localdomain ip6-localhost foo.localhost redis"
    " metadata metadata.google.internal instance-data.ec2.internal kubernetes.default.svc"
    " host.docker.internal gateway.docker.internal db.local. localtest.example lvh.example"
    " a..example -a.example a_.example xn--a.example ⑴.example ｌｏｃａｌｈｏｓｔ"
    " loopback.example.com.. 1 0 00 127 017700000001 0x7f 0x7f.1 ..."
).split()


def ascii_forms(address: str) -> Iterator[str]:
    """Yield an IPv4 address in the forms that some parser, somewhere, takes for it."""
    a, b, c, d = (int(part) for part in address.split("."))
    whole = (a << 24) + (b << 16) + (c << 8) + d
    low = f"{(a << 8) + b:x}:{(c << 8) + d:x}"
    yield address
    yield f"{address}."
    yield str(whole)
    yield hex(whole)
    yield hex(whole).upper()
    yield f"0{whole:o}"
    yield f"{whole + (1 << 32)}"
    yield f"{a:#x}.{b:#x}.{c:#x}.{d:#x}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"0000{a:o}.{b}.{c:#x}.{d}"
    yield f"{a}.{(b << 16) + (c << 8) + d}"
    yield f"{a}.{b}.{(c << 8) + d}"
    yield f"{a + 256}.{b}.{c}.{d}"
    yield "".join(f"%{ord(char):02x}" for char in address)
    for prefix in ("::ffff:", "::", "64:ff9b::", "64:ff9b:1::", "0:0:0:0:0:ffff:"):
        yield f"[{prefix}{address}]"
    yield f"[::ffff:{low}]"
    yield f"[64:ff9b::{low}]"
    yield f"[::ffff:0:{low}]"
    yield f"[2002:{low}::]"
    yield f"[2002:{low}::1]"
    yield f"[2001:0:{low}::1]"
    yield f"[2001:0:5db8:d822:0:0:{(~(whole >> 16)) & 0xFFFF:x}:{(~whole) & 0xFFFF:x}]"
    yield f"[fe80::5efe:{low}]"
    yield f"[2606:2800:220:1:0:5efe:{low}]"
    yield f"{address}.nip.example"
    yield f"www.{address.replace('.', '-')}.sslip.example"


def wide_forms(address: str) -> Iterator[str]:
    """Yield an IPv4 address in letters that become ASCII for those who normalise."""
    for dot in "。．｡":
        yield address.replace(".", dot)
    yield address.translate({ord(c): 0xFEE0 + ord(c) for c in "0123456789"})
    yield address.translate({ord(c): 0xFEE0 + ord(c) for c in "0123456789."})
    yield "".join("⓪①②③④⑤⑥⑦⑧⑨"[int(c)] if c.isdecimal() else c for c in address)


def tricks(address: str) -> Iterator[str]:
    """Yield URLs that two parsers read differently."""
    good = "good.example"
    yield f"http://{good}@{address}/"
    yield f"http://{good}:80@{address}/"
    yield f"http://{good}%40{address}/"
    yield f"http://{address}@{good}/"
    yield f"http://{address}%2f@{good}/"
    yield f"http://{address}\\@{good}/"
    yield f"http://{good}\\@{address}/"
    yield f"http://{good}#@{address}/"
    yield f"http://{address}#@{good}/"
    yield f"http://{address}%00.{good}/"
    yield f"http://{address}\t/"
    yield f"http://{address};{good}/"
    yield f"http:/{address}/"
    yield f"http:///{address}/"
    yield f"http:{address}"
    yield f"//{address}/"
    yield f"http://{address}:6379/"
    yield f"http://{address}:80:80/"
    yield f"https://{address}/"
    yield f"gopher://{address}:6379/_PING"
    yield f"ftp://{address}/a.png"
    yield f"ws://{address}/"
    yield f"file://{address}/etc/passwd"


def private_urls() -> list[str]:
    """Return every form, each once."""
    hosts = [form for a in PRIVATE for f in (ascii_forms, wide_forms) for form in f(a)]
    hosts += [f"[{a}]" for a in PRIVATE_6] + ["[fe80::1%25eth0]", "[::1%25lo]", "[::1%lo]"]
    urls = [f"http://{host}/x.png" for host in (*hosts, *NAMES)]
    urls += [trick for address in PRIVATE[:8] for trick in tricks(address)]
    return list(dict.fromkeys(urls))


class Counting(httpcore.AsyncNetworkBackend):
    """A network that writes down where it is to connect, and takes what is public to loopback.

    ``dead`` are addresses at which nothing answers.
    """

    def __init__(self, port: int = 0, dead: Sequence[str] = ()) -> None:
        self.port, self.dead = port, dead
        self.reached: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Note the address; connect to the server if there is one."""
        self.reached.append((host, port))
        if not self.port or host in self.dead:
            raise httpcore.ConnectError
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)

    @property
    def leaks(self) -> list[str]:
        """The addresses that should not have been connected to."""
        return [host for host, _ in self.reached if not _known_public(host)]


def _known_public(host: str) -> bool:
    """Tell it by this test's own list, not by the code under test."""
    return host in (PUBLIC_4, PUBLIC_6)


class Names:
    """Name servers of an enemy: what is not in ``known`` is read as C libraries do, or private."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = {name.replace("_", "."): found for name, found in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name."""
        self.asked.append(host)
        if host in self.known:
            return self.known[host]
        with contextlib.suppress(OSError):
            return [socket.inet_ntoa(socket.inet_aton(host))]
        return ["127.0.0.1"]


def png(side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(out, "PNG")
    return out.getvalue()


class Server:
    """A real HTTP server on loopback: its answers by path, and the requests it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, bytes] = {}
        self.requests: list[bytes] = []
        self.stalls, self.busy = asyncio.Event(), asyncio.Event()  # busy: two are under way
        self.open, self.most_open = 0, 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's one request; ``/stall`` waits until it may go on."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            if self.open == 2:
                self.busy.set()
            path = request.split(b" ")[1].decode()
            if path == "/stall":
                await self.stalls.wait()
            self.open -= 1
            writer.write(self.answers.get(path, reply(png())))
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def reply(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    given = {"Content-Type": "image/png", "Content-Length": str(len(body))}
    given |= {key.replace("_", "-"): value for key, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{key}: {value}" for key, value in given.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.stalls.set()
        listening.close()
        await listening.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


def good(*addresses: str) -> Names:
    return Names(good_example=addresses or (PUBLIC_4,))


async def refusal(fetcher: PictureFetcher, url: str) -> str:
    with pytest.raises(FetchRefused) as caught:
        await fetcher.fetch(url)
    told = str(caught.value)
    assert told.isprintable()
    assert "data URI" in told
    return told


class TestNothingPrivateIsReached:
    async def test_no_form_of_a_private_address_is_connected_to(self, server: Server) -> None:
        """Of at least 470 forms not one leads to a connection with a non-public address."""
        urls = private_urls()
        assert len(urls) >= 470
        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=Names(good_example=(PUBLIC_4,))) as f:
            for url in urls:
                with contextlib.suppress(FetchRefused):
                    await f.fetch(url)
        assert network.leaks == []

    async def test_the_forms_would_be_reached_without_the_check(self) -> None:
        """The same connector, asked without the check, is led to hundreds of private addresses."""
        network = Counting()
        names = Names()
        for url in private_urls():
            host = url.partition("//")[2].partition("/")[0].strip("[]")
            with contextlib.suppress(httpcore.ConnectError):
                literal = [host] if ":" in host else await names(host, 80)
                await network.connect_tcp(literal[0], 80)
        assert len(network.leaks) >= 470

    async def test_redirects_to_private_addresses_are_not_followed(self, server: Server) -> None:
        """A public server that points at any of the forms leads nowhere else."""
        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=good()) as fetcher:
            for number, url in enumerate(private_urls()):
                where = url.encode("ascii", "ignore").decode().replace("\t", "")
                status = ("301 A", "302 A", "303 A", "307 A", "308 A")[number % 5]
                server.answers["/go"] = reply(b"", status, Location=where)
                with contextlib.suppress(FetchRefused):
                    await fetcher.fetch("http://good.example/go")
        assert network.leaks == []
        assert len(network.reached) >= 470

    async def test_a_name_is_resolved_once(self, server: Server) -> None:
        """A name server that says a private address the second time is not asked again."""
        asked: list[str] = []

        async def rebinding(host: str, port: int) -> list[str]:
            asked.append(host)
            return [PUBLIC_4 if len(asked) == 1 else "127.0.0.1"]

        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=rebinding) as fetcher:
            assert await fetcher.fetch("http://good.example/a.png") == png()
            assert network.reached == [(PUBLIC_4, 80)]
            assert asked == ["good.example"]
            assert UNREACHABLE in await refusal(fetcher, "http://good.example/a.png")
        assert network.reached == [(PUBLIC_4, 80)]

    async def test_a_redirect_to_the_same_name_is_checked_anew(self, server: Server) -> None:
        """A name that was public a hop ago and is private now is not connected to."""
        answers = iter([[PUBLIC_4], ["10.0.0.1"]])

        async def rebinding(host: str, port: int) -> list[str]:
            return next(answers)

        server.answers["/go"] = reply(b"", "302 Found", Location="/a.png")
        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=rebinding) as fetcher:
            assert UNREACHABLE in await refusal(fetcher, "http://good.example/go")
        assert network.reached == [(PUBLIC_4, 80)]

    @pytest.mark.parametrize(
        "private", [*PRIVATE, *PRIVATE_6, "fe80::1%2", f"{PUBLIC_6}%eth0", "x"]
    )
    async def test_one_private_address_refuses_the_name(self, private: str) -> None:
        """A name with a public and a private address is not connected to at all."""
        network = Counting()
        async with PictureFetcher(network=network, resolve=good(PUBLIC_4, private)) as fetcher:
            assert UNREACHABLE in await refusal(fetcher, "http://good.example/")
        assert network.reached == []

    async def test_no_proxy_is_used(self, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
        """The environment's proxies are not taken for the way to the picture."""
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=good()) as fetcher:
            assert await fetcher.fetch("http://good.example/a.png") == png()
        assert network.reached == [(PUBLIC_4, 80)]

    async def test_the_systems_names_are_checked_too(self) -> None:
        """With the machine's own look-up, a name of this machine is refused."""
        names, network = SystemNames(1), Counting()
        assert set(await names("localhost", 80)) <= {"127.0.0.1", "::1"}
        async with PictureFetcher(network=network) as fetcher:
            assert UNREACHABLE in await refusal(fetcher, "http://localhost/")
            assert UNREACHABLE in await refusal(fetcher, "http://nothing.invalid/")
        names.close()
        assert network.reached == []


class TestPublicAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            *(PUBLIC_4, PUBLIC_6, "1.1.1.1", "8.8.8.8", "192.0.1.1", "172.32.0.1", "11.0.0.1"),
            *("100.128.0.1", "198.20.0.1", "223.255.255.254", "169.253.1.1", "128.0.0.1"),
            *("2001:4860:4860::8888", f"::ffff:{PUBLIC_4}", f"64:ff9b::{PUBLIC_4}"),
        ],
    )
    async def test_a_public_address_is_reached(self, address: str, server: Server) -> None:
        """A name leads to exactly its address, as does the address itself, and gives a picture."""
        network, names = Counting(server.port), good(address)
        host = f"[{address}]" if ":" in address else address
        async with PictureFetcher(network=network, resolve=names) as fetcher:
            data = await fetcher.fetch("http://good.example/a.png?size=2")
            assert read_picture(data).width == 8
            assert await fetcher.fetch(f"http://{host}/a.png") == data
        assert names.asked == ["good.example"]
        (first, port), (second, _) = network.reached
        assert (first, port) == (address, 80)
        assert socket.getaddrinfo(first, 0)[0][4][0] == socket.getaddrinfo(second, 0)[0][4][0]
        request = server.requests[0].decode().lower()
        assert request.startswith("get /a.png?size=2 http/1.1\r\nhost: good.example\r\n")
        assert "accept-encoding: identity\r\n" in request

    async def test_the_next_address_is_tried(self, server: Server) -> None:
        """Where one address does not answer, the next that was checked with it is tried."""
        network = Counting(server.port, dead=[PUBLIC_6])
        async with PictureFetcher(network=network, resolve=good(PUBLIC_6, PUBLIC_4)) as fetcher:
            assert await fetcher.fetch("http://good.example/a.png") == png()
        assert network.reached == [(PUBLIC_6, 80), (PUBLIC_4, 80)]

    async def test_a_few_redirects_are_followed(self, server: Server) -> None:
        """Three are, absolute or relative, also to another name; a fourth is not."""
        for number in range(1, 5):
            where = f"http://other.example/{number - 1}" if number % 2 else f"/{number - 1}"
            server.answers[f"/{number}"] = reply(b"", "302 Found", Location=where)
        names = Names(good_example=[PUBLIC_4], other_example=[PUBLIC_6])
        async with PictureFetcher(network=Counting(server.port), resolve=names) as fetcher:
            assert await fetcher.fetch("http://good.example/3") == png()
            assert "3 redirects" in await refusal(fetcher, "http://good.example/4")
        assert names.asked[:2] == ["good.example", "other.example"]

    async def test_a_name_in_other_letters_is_reached(self, server: Server) -> None:
        """An international name is asked for in its ASCII form."""
        names = Names(**{"xn--bcher-kva_example": [PUBLIC_4]})
        async with PictureFetcher(network=Counting(server.port), resolve=names) as fetcher:
            assert await fetcher.fetch("http://bücher.example/a.png") == png()
        assert names.asked == ["xn--bcher-kva.example"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for good.example, and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command, which makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-addext", "subjectAltName=DNS:good.example"),
            *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


async def test_tls_names_and_checks_the_host(certificate: Path) -> None:
    """Over TLS the server is told the name and proves it; another name at its address fails."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    told: list[str | None] = []
    ours.sni_callback = lambda _, name, __: told.append(name)
    theirs = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")))
    names = Names(good_example=[PUBLIC_4], other_example=[PUBLIC_4])
    async with serving(ours) as server:
        network = Counting(server.port)
        async with PictureFetcher(network=network, resolve=names, ssl_context=theirs) as fetcher:
            assert await fetcher.fetch("https://good.example/a.png") == png()
            assert UNREACHABLE in await refusal(fetcher, "https://other.example/a.png")
        async with PictureFetcher(network=network, resolve=names) as fetcher:
            assert UNREACHABLE in await refusal(fetcher, "https://good.example/a.png")
        assert told == ["good.example", "other.example", "good.example"]
        assert len(server.requests) == 1
    assert network.reached == [(PUBLIC_4, 443)] * 3


class TestWhatIsTold:
    async def test_private_and_silent_hosts_are_told_alike(self, server: Server) -> None:
        """One line for a private address, no name, nobody there, a reset, and no HTTP."""
        server.answers["/"] = b"\x00\x01nonsense\r\n\r\n"
        no_tls = ssl.create_default_context()

        async def nameless(host: str, port: int) -> list[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def empty(host: str, port: int) -> list[str]:
            return []

        fetchers = [
            PictureFetcher(network=Counting(), resolve=good("127.0.0.1")),
            PictureFetcher(network=Counting(), resolve=good("::1", PUBLIC_4)),
            PictureFetcher(network=Counting(), resolve=good()),
            PictureFetcher(network=Counting(), resolve=nameless),
            PictureFetcher(network=Counting(), resolve=empty),
            PictureFetcher(network=Counting(server.port), resolve=good()),
            PictureFetcher(network=Counting(server.port), resolve=good(), ssl_context=no_tls),
        ]
        urls = ["http://good.example/"] * 6 + ["https://good.example/"]
        told = {await refusal(f, url) for f, url in zip(fetchers, urls, strict=True)}
        server.answers["/go"] = reply(b"", "302 Found", Location="http://127.0.0.1/")
        told.add(await refusal(fetchers[5], "http://good.example/go"))
        assert told == {f"good.example: {UNREACHABLE}; send it as a data URI"}

    async def test_a_host_that_does_not_answer_in_time_is_told_alike(self, server: Server) -> None:
        """The whole time is limited, and running out of it is told like the rest."""
        async with PictureFetcher(
            network=Counting(server.port), resolve=good(), seconds=0.2
        ) as fetcher:
            told = await refusal(fetcher, "http://good.example/stall")
        assert told == f"good.example: {UNREACHABLE}; send it as a data URI"

    async def test_no_secret_of_a_url_is_told(self) -> None:
        """Neither a password nor a path nor a query is in the error or in what it chains to."""
        async with PictureFetcher(network=Counting(), resolve=good()) as fetcher:
            for url in (
                "http://me:hunter2@good.example/hunter2?key=hunter2",
                "http://good.example/hunter2?key=hunter2#hunter2",
                "http://good.example:81/hunter2?key=hunter2",
                "ftp://me:hunter2@good.example/hunter2",
                "http://me:hunter2@[/hunter2",
            ):
                with pytest.raises(FetchRefused) as caught:
                    await fetcher.fetch(url)
                assert "hunter2" not in str(caught.value)
                assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://good.example:8080/", "only the ports 80, 443"),
            ("http://good.example:0/", "only the ports 80, 443"),
            ("http://me@good.example/", "a name or password"),
            ("http://@good.example/", "a name or password"),
            ("ftp://good.example/", "not http or https"),
            ("file:///etc/passwd", "not http or https"),
            ("data:image/png;base64,AAAA", "not http or https"),
            ("", "not http or https"),
            ("http://", "not http or https"),
            ("http://good.example/" + "a" * 2048, "2068 characters"),
            ("http://good.example/\n", "malformed"),
            ("http://good.example/\ud800", "malformed"),
            ("http://good.example:99999999/", "only the ports 80, 443"),
            ("http://good.example:x/", "malformed"),
        ],
    )
    async def test_a_url_that_is_not_asked_says_why(self, url: str, why: str) -> None:
        """What can be seen in the URL alone is said plainly, and nothing is looked up."""
        names = good()
        async with PictureFetcher(network=Counting(), resolve=names) as fetcher:
            assert why in await refusal(fetcher, url)
        assert names.asked == []


class TestCaps:
    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (reply(b"", "404 Not Found"), "answered 404"),
            (reply(b"", "302 Found"), "answered 302"),
            (reply(b"x", Content_Type="text/html"), "no picture"),
            (reply(b"x", Content_Type=""), "no picture"),
            (reply(b"x", Content_Encoding="gzip"), "compressed"),
            (reply(b"x", Content_Encoding="identity, br"), "compressed"),
            (reply(b"x", Content_Length="5000"), "the most is"),
            (reply(bytes(4097)), "the most is"),
            (
                reply(
                    b"1001\r\n" + bytes(4097) + b"\r\n0\r\n\r\n", Transfer_Encoding="chunked"
                ).replace(b"Content-Length", b"X-Length"),
                "the most is",
            ),
            (reply(bytes(100_000), Content_Length=""), "the most is"),
            (reply(b"", Location="x" * 200_000), UNREACHABLE),
            (reply(b"x", Content_Length="50"), UNREACHABLE),
            (reply(b"", "302 Found", Location="http://x:y/"), "redirect that is malformed"),
            (reply(b"", "302 Found", Location="http://a@good.example/"), "name or password"),
        ],
    )
    async def test_an_answer_that_is_no_picture_is_refused(
        self, answer: bytes, why: str, server: Server
    ) -> None:
        """Other answers, types and encodings, and more bytes than the cap, are refused."""
        server.answers["/"] = answer
        async with PictureFetcher(
            network=Counting(server.port), resolve=good(), most=4096
        ) as fetcher:
            told = await refusal(fetcher, "http://good.example/")
        assert why in told
        assert told.startswith("good.example: ")

    @pytest.mark.parametrize("kind", ["image/webp", "IMAGE/PNG; q=1", "application/octet-stream"])
    async def test_a_picture_up_to_the_cap_is_fetched(self, kind: str, server: Server) -> None:
        """To the last byte of the cap, under the types that pictures have."""
        server.answers["/"] = reply(bytes(4096), Content_Type=kind)
        async with PictureFetcher(
            network=Counting(server.port), resolve=good(), most=4096
        ) as fetcher:
            assert await fetcher.fetch("http://good.example/") == bytes(4096)

    async def test_few_are_fetched_at_once(self, server: Server) -> None:
        """Of ten fetches two are under way at a time, and all of them succeed."""
        network = Counting(server.port)
        async with PictureFetcher(
            network=network, resolve=good(), at_once=2, seconds=60
        ) as fetcher:
            tasks = [
                asyncio.create_task(fetcher.fetch("http://good.example/stall")) for _ in range(10)
            ]
            await server.busy.wait()
            server.stalls.set()
            assert await asyncio.gather(*tasks) == [png()] * 10
        assert server.most_open <= 2
        assert len(network.reached) == 10

    async def test_who_waits_too_long_for_a_turn_is_told_so(self, server: Server) -> None:
        """A fetch that never began says that too many are under way; the next one finds room."""
        begun, ended = asyncio.Event(), asyncio.Event()

        async def stubborn(host: str, port: int) -> list[str]:
            try:
                if not begun.is_set():
                    begun.set()
                    await asyncio.Event().wait()
            finally:
                await ended.wait()
            return [PUBLIC_4]

        async with PictureFetcher(
            network=Counting(server.port), resolve=stubborn, at_once=1, seconds=0.3
        ) as fetcher:
            first = asyncio.create_task(refusal(fetcher, "http://good.example/a.png"))
            await begun.wait()
            assert "too many" in await refusal(fetcher, "http://good.example/a.png")
            ended.set()
            assert UNREACHABLE in await first
            assert UNREACHABLE in await refusal(fetcher, "http://127.0.0.1/")


@pytest.mark.parametrize(
    "address", [*PRIVATE, *PRIVATE_6, "", "x", "127.1", "1.2.3.4/8", "fe80::1%1"]
)
def test_what_is_not_public_is_known(address: str) -> None:
    """Every private and special range is told from the public internet."""
    assert not is_public(address)
