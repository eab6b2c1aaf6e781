"""The gateway half of a small real Discord: sessions that can be resumed, and what breaks them.

See ``discord_double.py``. Events of a session are kept, so that a client that resumes gets what it
has not seen; a session that is invalidated loses them, as Discord's do.
"""

import itertools
import json
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT = 0, 1, 2, 6, 7
INVALID, HELLO, ACK = 9, 10, 11
MESSAGE_CONTENT = 1 << 15  #: the privileged intent


class Socket:
    """One connection, compressed when the client wants that."""

    def __init__(self, ws: web.WebSocketResponse, compress: bool) -> None:
        self.ws, self._zlib = ws, zlib.compressobj() if compress else None

    async def send(self, payload: dict[str, Any]) -> None:
        text = json.dumps(payload)
        if self.ws.closed:
            return
        try:
            if self._zlib is None:
                await self.ws.send_str(text)
            else:
                data = self._zlib.compress(text.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
                await self.ws.send_bytes(data)
        except ConnectionError:
            pass  # the client is gone; the session keeps the event


@dataclass
class Session:
    """What a client that identified may resume."""

    id: str
    intents: int
    shard: tuple[int, int]  #: its number, and how many there are
    socket: Socket | None
    seq: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Gateway:
    """All sessions. ``hello`` and so on count what was seen, for tests to assert on."""

    token: str
    ready: Callable[[tuple[int, int]], tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]]
    allowed_intents: int = (1 << 40) - 1
    compress: bool = True  #: it takes the client's wish to compress
    heartbeat_interval: int = 41_250
    close_with: int | None = None  #: answers IDENTIFY with this close code
    refuse_resume: bool = False
    sessions: dict[str, Session] = field(default_factory=dict)
    sockets: set[Socket] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)  #: identify, resume, resumed, heartbeat …
    changed: Callable[[], None] = lambda: None
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        wants = request.query.get("compress")
        socket = Socket(ws, self.compress and wants == "zlib-stream")
        self.sockets.add(socket)
        self._note("connect")
        try:
            await socket.send({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_interval}})
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    await self._receive(socket, json.loads(message.data))
        finally:
            self.sockets.discard(socket)
            for session in self.sessions.values():
                if session.socket is socket:
                    session.socket = None
            self._note("disconnect")
        return ws

    async def _receive(self, socket: Socket, payload: dict[str, Any]) -> None:
        if payload["op"] == HEARTBEAT:
            self._note("heartbeat")
            await socket.send({"op": ACK})
        elif payload["op"] == IDENTIFY:
            await self._identify(socket, payload["d"])
        elif payload["op"] == RESUME:
            await self._resume(socket, payload["d"])

    async def _identify(self, socket: Socket, given: dict[str, Any]) -> None:
        self._note("identify")
        if given["token"] != self.token:
            await socket.ws.close(code=4004, message=b"Authentication failed.")
        elif self.close_with is not None:
            await socket.ws.close(code=self.close_with)
        elif given["intents"] & ~self.allowed_intents:
            await socket.ws.close(code=4014, message=b"Disallowed intent(s).")
        else:
            number, count = given.get("shard") or (0, 1)
            shard = int(number), int(count)
            session = Session(secrets.token_hex(8), given["intents"], shard, socket)
            self.sessions[session.id] = session
            ready, events = self.ready(shard)
            await self._send(session, "READY", {**ready, "session_id": session.id})
            for name, data in events:
                await self._send(session, name, data)

    async def _resume(self, socket: Socket, given: dict[str, Any]) -> None:
        self._note("resume")
        session = self.sessions.get(given["session_id"] or "")
        if given["token"] != self.token:
            await socket.ws.close(code=4004)
        elif session is None or self.refuse_resume:
            await socket.send({"op": INVALID, "d": False})
        else:
            seen = given["seq"] or 0  # events are numbered from 1
            while seen < len(session.events):  # more may come meanwhile
                await socket.send(session.events[seen])
                seen += 1
            session.socket = socket
            await self._send(session, "RESUMED", {})
            self._note("resumed")

    async def dispatch(self, name: str, shape: Callable[[int], dict[str, Any]]) -> None:
        """Tell every session of its shard of something; ``shape`` gives what its intents let it
        see."""
        for session in list(self.sessions.values()):
            data, (number, count) = shape(session.intents), session.shard
            if shard_of(data.get("guild_id"), count) == number:
                await self._send(session, name, data)

    async def _send(self, session: Session, name: str, data: dict[str, Any]) -> None:
        session.seq += 1
        event = {"op": DISPATCH, "t": name, "s": session.seq, "d": data}
        session.events.append(event)
        if session.socket is not None:
            await session.socket.send(event)

    async def reconnect(self) -> None:
        """Ask all clients to come back (op 7)."""
        for socket in list(self.sockets):
            await socket.send({"op": RECONNECT, "d": None})

    async def invalidate(self, *, resumable: bool) -> None:
        """Invalidate all sessions (op 9); those that cannot be resumed are gone."""
        if not resumable:
            self.sessions.clear()
        for socket in list(self.sockets):
            await socket.send({"op": INVALID, "d": resumable})

    async def drop(self, code: int = 4000) -> None:
        """Hang up on all clients."""
        for socket in list(self.sockets):
            await socket.ws.close(code=code)

    @property
    def connected(self) -> int:
        """How many clients are listening to a session."""
        sockets = [session.socket for session in self.sessions.values()]
        return sum(socket is not None and not socket.ws.closed for socket in sockets)

    def _note(self, what: str) -> None:
        self.seen.append(what)
        self.changed()


def shard_of(guild: str | None, count: int) -> int:
    """Return the shard that hears of a guild; direct messages are the first one's."""
    return (int(guild) >> 22) % count if guild else 0
