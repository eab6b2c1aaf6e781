"""A small Slack on loopback: its Web API, Socket Mode, files, and what people see of it.

The real ``slack_sdk`` and ``slack_bolt`` talk to it by ``base_url``. It keeps what Slack keeps -
channels, messages, streams, files, views - and refuses what Slack refuses: a wrong token, a missing
scope, a stream that ended, a markdown text over 12,000 characters. Knows nothing of Bifocal.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web

BOT, TEAM, APP = "UBOT", "T1", "A1"
MOST_RESPONSES = 5  #: to one response_url
MOST_MARKDOWN = 12_000  #: characters of markdown in one message
#: What a token may do, as the manifest asks for it
SCOPES = frozenset(
    "app_mentions:read assistant:write channels:history channels:read chat:write commands"
    " files:read files:write groups:history groups:read im:history im:read im:write mpim:history"
    " mpim:read users:read".split()
)
_NEEDS = {
    "chat.postMessage": "chat:write", "chat.update": "chat:write", "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write", "chat.startStream": "chat:write",
    "chat.appendStream": "chat:write", "chat.stopStream": "chat:write",
    "assistant.threads.setStatus": "chat:write", "assistant.threads.setTitle": "assistant:write",
    "assistant.threads.setSuggestedPrompts": "assistant:write",
    "conversations.replies": "channels:history", "conversations.history": "channels:history",
    "conversations.info": "channels:read", "users.info": "users:read", "files.info": "files:read",
    "files.getUploadURLExternal": "files:write", "files.completeUploadExternal": "files:write",
}  # fmt: skip


class Refused(Exception):
    """What Slack answers with ``"ok": false``."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.body = {"ok": False, "error": error, **more}


@dataclass
class Shown:
    """A message as it lies in a channel."""

    channel: str
    ts: str
    user: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    to: str | None = None  #: the one who sees it, when it is ephemeral
    streaming: bool = False
    edits: int = 0
    unfurl: tuple[Any, Any] = (None, None)  #: as they were given at last
    history: list[str] = field(default_factory=list)  #: what could be read, one after another

    @property
    def read(self) -> str:
        """All words that a person reads in it."""
        return "\n".join(filter(None, [self.text if not self.blocks else "", *_words(self.blocks)]))

    def event(self) -> dict[str, Any]:
        """The message as events and ``conversations.replies`` carry it."""
        made: dict[str, Any] = {
            "type": "message",
            "user": self.user,
            "text": self.text,
            "ts": self.ts,
        }
        if self.thread_ts:
            made["thread_ts"] = self.thread_ts
        if self.files:
            made["files"] = self.files
        if self.blocks:
            made["blocks"] = self.blocks
        if self.user == BOT:
            made |= {"bot_id": "B1", "app_id": APP}
        return made


def _words(blocks: Any) -> list[str]:
    if isinstance(blocks, list):
        return [word for block in blocks for word in _words(block)]
    if isinstance(blocks, Mapping):
        own = [blocks["text"]] if isinstance(blocks.get("text"), str) else []
        return own + [w for k, v in blocks.items() if k != "text" or not own for w in _words(v)
                      if isinstance(v, list | Mapping)]  # fmt: skip
    return []


class SlackDouble:
    """One workspace. ``async with SlackDouble() as slack`` listens on a free port of loopback."""

    def __init__(self, *, bot_token: str = "", app_token: str = "", secret: str = "") -> None:
        unique = uuid.uuid4().hex
        self.bot_token = bot_token or f"xoxb-{unique}"
        self.app_token = app_token or f"xapp-{unique}"
        self.secret = secret or f"signing-{unique}"
        self.scopes = set(SCOPES)
        self.messages: dict[tuple[str, str], Shown] = {}
        self.deleted: list[Shown] = []
        self.whole: list[Shown] = []  #: the bot's messages as each call left them, unless streaming
        self.ephemeral: list[Shown] = []
        self.responses: list[dict[str, Any]] = []  #: what came to a response_url
        self.calls: list[tuple[str, dict[str, Any]]] = []  #: of the Web API, in order
        self.times: list[float] = []  #: when each of them came
        self.uploads: list[dict[str, Any]] = []  #: files that were shared in a channel
        self.views: list[dict[str, Any]] = []
        self.acks: dict[str, list[float]] = {}  #: seconds until each delivery was acknowledged
        self.responding: list[str] = []  #: secrets of the addresses for answers
        self.acked: list[dict[str, Any]] = []  #: what acknowledgements carried
        self.sockets: list[web.WebSocketResponse] = []
        self.limited: Counter[str] = Counter()  #: 429 so many times, by method
        self.retry_after = 1
        self.broken: Counter[str] = Counter()  #: 503 so many times, by method
        self.garbled: Counter[str] = Counter()  #: no JSON so many times, by method
        self.expired = False  #: no response_url is taken any more, as after half an hour
        self._responded: Counter[str] = Counter()
        self.failing: dict[str, str] = {}  #: answer these methods with this error
        self.slow: dict[str, float] = {}  #: seconds that these methods take
        self.stream_pieces: int | None = None  #: a stream ends by itself after so many pieces
        self.echo = True  #: the bot's own messages come back as events, as Slack has it
        self.signs_in_elsewhere = False  #: a file that may not be read leads to another host
        self.wrong_hosts: list[str] = []  #: authorisations seen where none belongs
        self.downloads: list[str] = []  #: names of the files that were asked for, in order
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.waiting: Counter[str] = Counter()  #: calls that were slow, by method
        self.envelopes = 0  #: that were sent
        self._ending = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._triggers: set[str] = set()
        self._pieces: Counter[str] = Counter()
        self._clock = 1_700_000_000_000_000
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Condition()
        self.url = ""

    # --- the server ---------------------------------------------------------------------------

    async def __aenter__(self) -> "SlackDouble":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/socket", self._socket)
        app.router.add_get("/files/{id}", self._download)
        app.router.add_post("/upload/{id}", self._upload)
        app.router.add_post("/respond/{id}", self._respond)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._ending.set()
        for socket in list(self.sockets):
            await socket.close()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        """What clients take for ``https://slack.com/api/``."""
        return f"{self.url}/api/"

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait until something is true of this Slack; fails with what people see when it is not."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                while not (found := true()):
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"waited in vain; seen: {self.transcript()}") from None

    def transcript(self, channel: str | None = None) -> list[str]:
        """What people see, in order: ``U1: text``."""
        shown = sorted(self.messages.values(), key=lambda m: m.ts)
        return [f"{m.user}: {m.read}" for m in shown if channel in (None, m.channel)]

    def answers(self, thread: str | None = None) -> list[Shown]:
        """The bot's messages that are whole, in order; of one thread, when it is named."""
        return [m for m in sorted(self.messages.values(), key=lambda m: m.ts)
                if m.user == BOT and not m.streaming and not m.files
                and thread in (None, m.thread_ts)]  # fmt: skip

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def ts(self) -> str:
        """A time stamp that nothing else has."""
        self._clock += 1_000_001
        return f"{self._clock // 1_000_000}.{self._clock % 1_000_000:06d}"

    # --- the Web API --------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        args = await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.calls.append((method, args))
        self.times.append(time.perf_counter())
        if method in self.slow:
            self.waiting[method] += 1
            await self._tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self.slow[method])
        if self.limited[method] > 0:
            self.limited[method] -= 1
            limited = {"ok": False, "error": "ratelimited"}
            return web.json_response(
                limited, status=429, headers={"Retry-After": str(self.retry_after)}
            )
        if self.broken[method] > 0:
            self.broken[method] -= 1
            return web.json_response({"ok": False, "error": "unavailable"}, status=503)
        if self.garbled[method] > 0:
            self.garbled[method] -= 1
            return web.Response(text='{"ok": fal', content_type="application/json")
        try:
            body = await self._call(method, args, token or str(args.get("token", "")))
        except Refused as refused:
            body = refused.body
        await self._tell()
        return web.json_response(body, headers={"X-OAuth-Scopes": ",".join(sorted(self.scopes))})

    async def _call(self, method: str, args: dict[str, Any], token: str) -> dict[str, Any]:
        if token != (self.app_token if method == "apps.connections.open" else self.bot_token):
            raise Refused("invalid_auth")
        if method in self.failing:
            raise Refused(self.failing[method])
        if (need := _NEEDS.get(method)) and need not in self.scopes:
            raise Refused("missing_scope", needed=need, provided=",".join(sorted(self.scopes)))
        work: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] | None
        work = getattr(self, "_" + method.replace(".", "_"), None)
        if work is None:
            raise Refused("unknown_method")
        return {"ok": True, **await work(args)}

    async def _auth_test(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"url": self.url, "team": "Crew", "user": "bifocal", "team_id": TEAM,
                "user_id": BOT, "bot_id": "B1"}  # fmt: skip

    async def _apps_connections_open(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"url": self.url.replace("http", "ws") + "/socket"}

    def _checked(self, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the blocks, if Slack would take this message."""
        blocks = list(args.get("blocks") or [])
        if len(blocks) > 50:
            raise Refused("invalid_blocks")
        markdown = sum(len(b.get("text", "")) for b in blocks if b["type"] == "markdown")
        if markdown > MOST_MARKDOWN or len(args.get("text") or "") > 40_000:
            raise Refused("msg_too_long")
        for block in blocks:
            if block["type"] == "section" and len(block["text"]["text"]) > 3000:
                raise Refused("invalid_blocks")
        if not blocks and not args.get("text") and not args.get("markdown_text"):
            raise Refused("no_text")
        return blocks

    async def _chat_postMessage(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = Shown(args["channel"], self.ts(), BOT, args.get("text") or "",
                      self._checked(args), args.get("thread_ts"))  # fmt: skip
        self._put(shown, args)
        if self.echo:
            await self.event({**shown.event(), "channel": shown.channel}, wait=False)
        return {"channel": shown.channel, "ts": shown.ts, "message": shown.event()}

    def _put(self, shown: Shown, args: Mapping[str, Any]) -> None:
        shown.unfurl = (args.get("unfurl_links"), args.get("unfurl_media"))
        shown.history.append(shown.read)
        self.messages[shown.channel, shown.ts] = shown
        self.whole.append(replace(shown))

    async def _chat_postEphemeral(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = Shown(args["channel"], self.ts(), BOT, args.get("text") or "",
                      self._checked(args), args.get("thread_ts"), to=args["user"])  # fmt: skip
        shown.unfurl = (args.get("unfurl_links"), args.get("unfurl_media"))
        self.ephemeral.append(shown)
        return {"message_ts": shown.ts}

    async def _chat_update(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = self._own(args)
        if shown.streaming:
            raise Refused("streaming_state_conflict")
        shown.blocks, shown.text = self._checked(args), args.get("text") or ""
        shown.edits += 1
        self._put(shown, args)
        return {"channel": shown.channel, "ts": shown.ts, "text": shown.text}

    async def _chat_delete(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = self._own(args)
        del self.messages[shown.channel, shown.ts]
        self.deleted.append(shown)
        return {"channel": shown.channel, "ts": shown.ts}

    def _own(self, args: Mapping[str, Any]) -> Shown:
        shown = self.messages.get((args.get("channel", ""), args.get("ts", "")))
        if shown is None:
            raise Refused("message_not_found")
        if shown.user != BOT:
            raise Refused("cant_update_message")
        return shown

    async def _chat_startStream(self, args: dict[str, Any]) -> dict[str, Any]:
        if not args.get("thread_ts"):
            raise Refused("invalid_arguments")
        if not args["channel"].startswith("D"):
            for name in ("recipient_team_id", "recipient_user_id"):
                if not args.get(name):
                    raise Refused(f"missing_{name}")
        shown = Shown(args["channel"], self.ts(), BOT, thread_ts=args["thread_ts"], streaming=True)
        self._append(shown, args)
        shown.unfurl = (args.get("unfurl_links"), args.get("unfurl_media"))
        self.messages[shown.channel, shown.ts] = shown
        return {"channel": shown.channel, "ts": shown.ts}

    async def _chat_appendStream(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = self._streaming(args)
        self._append(shown, args)
        return {"channel": shown.channel, "ts": shown.ts}

    async def _chat_stopStream(self, args: dict[str, Any]) -> dict[str, Any]:
        shown = self._streaming(args)
        self._append(shown, args)
        if len(args.get("blocks") or []) > 50:
            raise Refused("invalid_blocks")
        shown.blocks += args.get("blocks") or []
        shown.streaming = False
        self.whole.append(replace(shown))
        return {"channel": shown.channel, "ts": shown.ts, "message": shown.event()}

    def _streaming(self, args: Mapping[str, Any]) -> Shown:
        shown = self._own(args)
        self._pieces[shown.ts] += 1
        if self.stream_pieces is not None and self._pieces[shown.ts] > self.stream_pieces:
            shown.streaming = False
        if not shown.streaming:
            raise Refused("message_not_in_streaming_state")
        return shown

    def _append(self, shown: Shown, args: Mapping[str, Any]) -> None:
        chunks = [c for c in args.get("chunks") or [] if c["type"] == "markdown_text"]
        more = (args.get("markdown_text") or "") + "".join(c["text"] for c in chunks)
        old = "".join(b["text"] for b in shown.blocks if b["type"] == "markdown")
        if len(old + more) > MOST_MARKDOWN:
            raise Refused("msg_too_long")
        shown.blocks = [{"type": "markdown", "text": old + more}] if old + more else []
        shown.text = old + more
        if more:
            shown.history.append(shown.read)

    def expire_streams(self) -> None:
        """End all open streams, as Slack does after five minutes."""
        for shown in self.messages.values():
            shown.streaming = False

    async def _conversations_replies(self, args: dict[str, Any]) -> dict[str, Any]:
        found = [m.event() for (channel, ts), m in sorted(self.messages.items())
                 if channel == args["channel"] and args["ts"] in (ts, m.thread_ts)]  # fmt: skip
        if not found:
            raise Refused("thread_not_found")
        return {"messages": found, "has_more": False}

    async def _conversations_history(self, args: dict[str, Any]) -> dict[str, Any]:
        latest, oldest = args.get("latest") or "9", args.get("oldest") or "0"
        found = [m.event() for (channel, ts), m in sorted(self.messages.items())
                 if channel == args["channel"] and oldest <= ts <= latest
                 and m.thread_ts in (None, ts)]  # fmt: skip
        return {"messages": found[::-1][: int(args.get("limit") or 100)], "has_more": False}

    async def _conversations_info(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"channel": {"id": args["channel"], "name": "crew",
                            "is_im": args["channel"].startswith("D")}}  # fmt: skip

    async def _users_info(self, args: dict[str, Any]) -> dict[str, Any]:
        name = {"U1": "Anna", "U2": "Bo"}.get(args["user"], args["user"].title())
        return {"user": {"id": args["user"], "name": name.lower(), "team_id": TEAM,
                         "profile": {"display_name": name, "real_name": name}}}  # fmt: skip

    async def _files_info(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["file"] not in self._files:
            raise Refused("file_not_found")
        return {"file": self._files[args["file"]][0]}

    async def _files_getUploadURLExternal(self, args: dict[str, Any]) -> dict[str, Any]:
        id = f"F{uuid.uuid4().hex[:8].upper()}"
        self._files[id] = ({"id": id, "name": args["filename"], "size": int(args["length"]),
                            "alt_txt": args.get("alt_txt") or ""}, b"")  # fmt: skip
        return {"upload_url": f"{self.url}/upload/{id}", "file_id": id}

    async def _files_completeUploadExternal(self, args: dict[str, Any]) -> dict[str, Any]:
        files = []
        for given in args["files"]:
            known, data = self._files[given["id"]]
            if len(data) != known["size"]:
                raise Refused("file_not_found")
            known = {**known, "title": given.get("title", "")}
            files.append(known)
            self.uploads.append({**known, "data": data, "channel": args.get("channel_id"),
                                 "thread_ts": args.get("thread_ts")})  # fmt: skip
        if channel := args.get("channel_id"):
            said = args.get("initial_comment") or ""
            shown = Shown(channel, self.ts(), BOT, said, [], args.get("thread_ts"), files)
            self.messages[channel, shown.ts] = shown
            for file in files:
                file["shares"] = {"public": {channel: [{"ts": shown.ts}]}}
        return {"files": files}

    async def _files_delete(self, args: dict[str, Any]) -> dict[str, Any]:
        for key, shown in list(self.messages.items()):
            if any(f["id"] == args["file"] for f in shown.files):
                self.deleted.append(self.messages.pop(key))
        return {}

    async def _views_open(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("trigger_id") not in self._triggers:
            raise Refused("invalid_trigger_id")
        self._triggers.discard(args["trigger_id"])
        view = args["view"]
        if len(view["blocks"]) > 100 or len(view["title"]["text"]) > 24:
            raise Refused("invalid_arguments")
        for block in view["blocks"]:
            if block["type"] == "section" and len(block["text"]["text"]) > 3000:
                raise Refused("invalid_arguments")
        self.views.append(view)
        return {"view": {"id": f"V{len(self.views)}", **view}}

    async def _views_update(self, args: dict[str, Any]) -> dict[str, Any]:
        self.views[int(args["view_id"][1:]) - 1] = args["view"]
        return {"view": {"id": args["view_id"], **args["view"]}}

    async def _views_publish(self, args: dict[str, Any]) -> dict[str, Any]:
        self.views.append(args["view"])
        return {"view": args["view"]}

    async def _nothing(self, args: dict[str, Any]) -> dict[str, Any]:
        return {}

    _assistant_threads_setStatus = _assistant_threads_setTitle = _nothing
    _assistant_threads_setSuggestedPrompts = _reactions_add = _reactions_remove = _nothing

    def called(self, method: str) -> list[dict[str, Any]]:
        """The arguments with which a method was called, in order."""
        return [args for name, args in self.calls if name == method]

    # --- files --------------------------------------------------------------------------------

    def file(
        self, name: str, data: bytes, mimetype: str = "image/png", **more: Any
    ) -> dict[str, Any]:
        """Keep a file, and return it as messages carry it."""
        id = f"F{uuid.uuid4().hex[:8].upper()}"
        made = {"id": id, "name": name, "mimetype": mimetype, "size": len(data), "mode": "hosted",
                "url_private": f"{self.url}/files/{id}",
                "url_private_download": f"{self.url}/files/{id}", **more}  # fmt: skip
        self._files[id] = (made, data)
        return made

    async def _download(self, request: web.Request) -> web.Response:
        entry = self._files.get(request.match_info["id"])
        if entry is None:
            raise web.HTTPNotFound
        self.downloads.append(str(entry[0]["name"]))
        token = request.headers.get("Authorization", "")
        if request.host.startswith("localhost"):  # where no client may bring the token
            self.wrong_hosts.append(token)
        if self.signs_in_elsewhere and "files:read" not in self.scopes:
            elsewhere = self.url.replace("127.0.0.1", "localhost")
            raise web.HTTPFound(f"{elsewhere}{request.path}?redir")
        if token != f"Bearer {self.bot_token}" or "files:read" not in self.scopes:
            page = (
                "<!DOCTYPE html><html><head><title>Slack</title></head><body>Sign in</body></html>"
            )
            return web.Response(text=page, content_type="text/html")
        return web.Response(body=entry[1], content_type=entry[0].get("mimetype", "image/png"))

    async def _upload(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            self.wrong_hosts.append(str(request.url))
        id = request.match_info["id"]
        data = await request.read()
        self._files[id] = (self._files[id][0], data)
        return web.Response(text=f"OK - {len(data)}")

    async def _respond(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if self.expired or self._responded[id] >= MOST_RESPONSES:
            return web.Response(status=404, text="expired_url" if self.expired else "used_url")
        self._responded[id] += 1
        self.responses.append(await request.json())
        await self._tell()
        return web.Response(text="ok")

    # --- Socket Mode --------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        hello = {"type": "hello", "num_connections": len(self.sockets) + 1,
                 "connection_info": {"app_id": APP},
                 "debug_info": {"approximate_connection_time": 18060}}  # fmt: skip
        await socket.send_json(hello)
        self.sockets.append(socket)
        await self._tell()
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    said = json.loads(message.data)
                    waiting = self._waiting.get(said.get("envelope_id", ""))
                    if waiting is not None and not waiting.done():
                        waiting.set_result(said)
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
            await self._tell()
        return socket

    async def deliver(
        self, kind: str, payload: dict[str, Any], *, times: int = 1, wait: bool = True,
        deadline: float = 3.0, tries: int = 4,
    ) -> dict[str, Any]:  # fmt: skip
        """Send an envelope ``times`` over, each again until it is acknowledged within 3 s; return
        what the last acknowledgement carried. Sockets take turns, as with Slack."""
        said: dict[str, Any] = {}
        for _ in range(times):
            for retry in range(tries):
                await self.until(lambda: self.sockets)
                socket = self.sockets[len(self.calls) % len(self.sockets)]
                envelope = {
                    "envelope_id": str(uuid.uuid4()),
                    "type": kind,
                    "payload": payload,
                    "accepts_response_payload": kind != "events_api",
                    "retry_attempt": retry,
                    "retry_reason": "timeout" if retry else "",
                }
                future = asyncio.get_running_loop().create_future()
                self._waiting[str(envelope["envelope_id"])] = future
                began = time.monotonic()
                try:
                    await socket.send_json(envelope)
                    self.envelopes += 1
                    await self._tell()
                    if not wait:
                        break
                    said = await asyncio.wait_for(future, deadline)
                except (TimeoutError, ConnectionError):
                    continue
                key = str(payload.get("event_id") or payload.get("trigger_id"))
                self.acks.setdefault(key, []).append(time.monotonic() - began)
                break
            else:
                raise AssertionError(f"{tries} deliveries were not acknowledged")
        payload = said.get("payload") or {}
        self.acked.append(payload if isinstance(payload, dict) else {"text": payload})
        return self.acked[-1]

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask clients to come again, or close on them (``reason=""``)."""
        for socket in list(self.sockets):
            if reason:
                await socket.send_json({"type": "disconnect", "reason": reason})
            await socket.close()

    # --- what people do -----------------------------------------------------------------------

    def envelope(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event as it is delivered, over either way."""
        return {"type": "event_callback", "team_id": TEAM, "api_app_id": APP,
                "event_id": f"Ev{uuid.uuid4().hex[:10].upper()}", "event": event,
                "event_time": 1_700_000_000,
                "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True}]}  # fmt: skip

    async def event(self, event: dict[str, Any], *, times: int = 1, wait: bool = True) -> str:
        """Deliver an event; returns its id."""
        if not self.sockets and not wait:
            return ""
        made = self.envelope(event)
        await self.deliver("events_api", made, times=times, wait=wait)
        return str(made["event_id"])

    def write(
        self, text: str, *, user: str = "U1", channel: str = "C1", thread: str | None = None,
        files: Sequence[dict[str, Any]] = (),
    ) -> tuple[Shown, list[dict[str, Any]]]:  # fmt: skip
        """Put a person's message into a channel; return it, and the events that tell of it."""
        shown = Shown(channel, self.ts(), user, text, [], thread, list(files))
        self.messages[channel, shown.ts] = shown
        kind = {"D": "im", "G": "group"}.get(channel[0], "channel")
        message = {**shown.event(), "channel": channel, "channel_type": kind, "team": TEAM}
        if files:
            message["subtype"] = "file_share"
        events = [message]
        if f"<@{BOT}>" in text and kind != "im":
            mention = {
                k: v for k, v in message.items() if k not in ("files", "subtype", "channel_type")
            }
            events.insert(0, {**mention, "type": "app_mention"})
        return shown, events

    async def say(self, text: str, *, times: int = 1, **more: Any) -> Shown:
        """Write a message, and deliver its events. See :meth:`write`."""
        shown, events = self.write(text, **more)
        for event in events:
            await self.event(event, times=times)
        return shown

    async def edit(
        self, shown: Shown, text: str, *, files: Sequence[dict[str, Any]] | None = None
    ) -> None:
        """Change a person's message; ``files`` are those that stay, all unless given."""
        before = shown.event()
        shown.text = text
        if files is not None:
            kept = [file["id"] for file in files]
            gone = {"mode": "tombstone"}
            shown.files = [f if f["id"] in kept else {"id": f["id"], **gone} for f in shown.files]
        edited = {"user": shown.user, "ts": self.ts()}
        await self.event({"type": "message", "subtype": "message_changed", "channel": shown.channel,
                          "channel_type": "im" if shown.channel[0] == "D" else "channel",
                          "ts": self.ts(), "previous_message": before,
                          "message": {**shown.event(), "edited": edited}})  # fmt: skip

    async def remove(self, shown: Shown) -> None:
        """Delete a person's message."""
        self.deleted.append(self.messages.pop((shown.channel, shown.ts)))
        await self.event({"type": "message", "subtype": "message_deleted", "channel": shown.channel,
                          "channel_type": "im" if shown.channel[0] == "D" else "channel",
                          "ts": self.ts(), "deleted_ts": shown.ts,
                          "previous_message": shown.event()})  # fmt: skip

    def _trigger(self) -> tuple[str, str]:
        trigger = f"13345224609.{uuid.uuid4().hex}"
        self._triggers.add(trigger)
        self.responding.append(uuid.uuid4().hex)
        return trigger, f"{self.url}/respond/{self.responding[-1]}"

    async def command(self, text: str, *, user: str = "U1", channel: str = "C1") -> dict[str, Any]:
        """Type ``/bifocal …``; returns what the acknowledgement shows."""
        trigger, respond = self._trigger()
        return await self.deliver("slash_commands", {
            "command": "/bifocal", "text": text, "user_id": user, "user_name": "anna",
            "channel_id": channel, "team_id": TEAM, "api_app_id": APP, "trigger_id": trigger,
            "response_url": respond,
        })  # fmt: skip

    async def click(self, shown: Shown, action: str, *, up: bool = True, user: str = "U1") -> None:
        """Press a button of a message, by the beginning of its ``action_id``."""
        for block in shown.blocks:
            for element in block.get("elements", []):
                if str(element.get("action_id", "")).startswith(action):
                    value = element.get("value") or element.get(
                        "positive_button" if up else "negative_button", {}
                    ).get("value")
                    trigger, respond = self._trigger()
                    await self.deliver("interactive", {
                        "type": "block_actions", "team": {"id": TEAM}, "api_app_id": APP,
                        "user": {"id": user, "team_id": TEAM}, "channel": {"id": shown.channel},
                        "message": shown.event(), "trigger_id": trigger, "response_url": respond,
                        "container": {"type": "message", "message_ts": shown.ts,
                                      "channel_id": shown.channel},
                        "actions": [{"action_id": element["action_id"], "type": element["type"],
                                     "block_id": block.get("block_id", "b"), "value": value,
                                     "action_ts": self.ts()}],
                    })  # fmt: skip
                    return
        raise AssertionError(f"no button {action} in {shown.blocks}")

    def signed(self, body: bytes, *, at: float | None = None, secret: str = "") -> dict[str, str]:
        """The headers with which Slack signs a request of HTTP mode."""
        stamp = str(int(time.time() if at is None else at))
        key = (secret or self.secret).encode()
        digest = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        kind = "application/json" if body[:1] == b"{" else "application/x-www-form-urlencoded"
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}",
                "Content-Type": kind}  # fmt: skip

    @staticmethod
    def form(**values: str) -> bytes:
        """A slash command as HTTP mode carries it."""
        return urlencode(values).encode()


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Read what a client gave, however: query, form or JSON."""
    args: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        args |= await request.json()
    elif request.can_read_body:
        args |= {k: v for k, v in (await request.post()).items() if isinstance(v, str)}
    for name, value in args.items():
        if name in ("blocks", "chunks", "files", "view", "prompts", "metadata") and isinstance(
            value, str
        ):
            args[name] = json.loads(value)
        elif value in ("true", "false", "1", "0") and name.startswith("unfurl"):
            args[name] = value in ("true", "1")
    return args
