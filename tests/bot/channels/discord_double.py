"""A small real Discord on loopback: REST v10, a CDN and a gateway, for the real ``discord.py``.

It keeps messages, channels and threads as Discord does, refuses what Discord refuses (2,000
characters, ten embeds, empty messages, late answers to commands), limits rates by headers and 429,
shows no embed of a message that suppresses them, makes previews of addresses in one that does not,
and says whom a message pings. ``transcript`` holds every request. People are played by :meth:`say`,
:meth:`edit`, :meth:`delete`, :meth:`command` and :meth:`press`.

A client is pointed here by ``discord.http.Route.BASE`` and ``DiscordWebSocket.DEFAULT_GATEWAY``,
as Bifocal's settings ``api_url`` and ``gateway_url`` do.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import BodyPartReader, web
from discord_gateway import MESSAGE_CONTENT, Gateway, shard_of

Json = dict[str, Any]
BODY = web.RequestKey("body", dict[str, Any])
FILES = web.RequestKey("files", list[tuple[str, bytes]])
SEND = 1 << 11 | 1 << 38  #: permissions to write in channels and threads
EPHEMERAL, SUPPRESS_EMBEDS, LOADING = 1 << 6, 1 << 2, 1 << 7
TOKEN = "MTA.double.do-not-show-this-bot-token"


@dataclass(frozen=True)
class File:
    """A file that somebody attaches."""

    name: str
    data: bytes = field(repr=False)
    type: str = "image/png"
    alt: str = ""


@dataclass(frozen=True)
class Call:
    """A request that was made; ``status`` is what it was answered with."""

    method: str
    path: str
    body: Json
    status: int
    at: float


class Refused(Exception):
    """A request that Discord refuses."""

    def __init__(self, status: int, code: int, why: str) -> None:
        super().__init__(why)
        self.status, self.code = status, code


class Discord:
    """The server. An asynchronous context manager."""

    def __init__(self) -> None:
        self.bot = user("900", "Bifocal", bot=True)
        self.guild = "100"
        self.channels: dict[str, Json] = {}
        self.messages: dict[str, Json] = {}
        self.commands: list[Json] = []
        self.transcript: list[Call] = []
        self.interactions: dict[str, Json] = {}  #: by token
        self.downloads = 0
        self.cdn: dict[str, bytes] = {}
        self.pixels: dict[str, list[bytes]] = {}  #: files of the bot's messages
        self.denied: set[str] = set()  #: of "send", "threads", "files", "commands"
        self.errors: list[tuple[int, Json]] = []  #: what the next message requests get instead
        self.limited: Counter[str] = Counter()  #: 429 so many times, by "POST /api/…/{pattern}"
        self.responses: int | None = None  #: to a command, after which its time is over
        self.late = False  #: the next command is acknowledged too late
        self.shards = 1
        self.limit, self.window = 1000, 1.0  #: messages and edits of a channel, by time (s)
        self.down = False
        self.gateway_down = False
        self.held = asyncio.Event()  #: clear it, and no message can be posted
        self.held.set()
        self.waiting = 0  #: messages that are held up
        self._windows: dict[str, list[float]] = {}
        self._last = int((time.time() - 1_420_070_400) * 1000) << 22
        self._changed = asyncio.Condition()
        self._noting: set[asyncio.Task[None]] = set()
        self.gateway = Gateway(TOKEN, self._ready)
        self.channel("200", "general")

    async def __aenter__(self) -> Self:
        self.gateway.changed = self._note
        app = web.Application(client_max_size=1 << 28, middlewares=[self._middleware])
        route: Any = app.router.add_route  # what a handler returns becomes JSON
        app.router.add_get("/gateway", self._listen)
        app.router.add_get("/cdn/{path:.*}", self._download)
        route("GET", "/api/gateway", self._where)
        route("GET", "/api/gateway/bot", self._where)
        route("GET", "/api/users/@me", self._me)
        route("GET", "/api/oauth2/applications/@me", self._application)
        route("PUT", "/api/applications/{app}/commands", self._sync)
        route("GET", "/api/channels/{channel}", self._get_channel)
        route("POST", "/api/channels/{channel}/typing", self._typing)
        route("GET", "/api/channels/{channel}/messages/{id}", self._get_message)
        route("POST", "/api/channels/{channel}/messages", self._post)
        route("PATCH", "/api/channels/{channel}/messages/{id}", self._patch)
        route("DELETE", "/api/channels/{channel}/messages/{id}", self._remove)
        route("POST", "/api/channels/{channel}/messages/{id}/threads", self._open_thread)
        route("POST", "/api/interactions/{id}/{token}/callback", self._callback)
        route("POST", "/api/webhooks/{app}/{token}", self._follow_up)
        route("PATCH", "/api/webhooks/{app}/{token}/messages/{id}", self._patch_follow_up)
        route("DELETE", "/api/webhooks/{app}/{token}/messages/{id}", self._remove)
        self._runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.gateway.drop(1001)
        await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway"

    # people

    async def say(
        self,
        text: str = "",
        *,
        by: str = "1",
        channel: str = "200",
        to: str | None = None,
        mention: bool = False,
        files: Sequence[File] = (),
        ping: bool = True,
    ) -> str:
        """Have somebody write a message; ``to`` is the message that it replies to, ``ping``
        whether the reply calls its author. Returns the message's id."""
        message = self._new(channel, user(by, f"person{by}"), text)
        message["attachments"] = [self._attach(message["id"], n, f) for n, f in enumerate(files)]
        if mention:
            message["content"] = f"<@{self.bot['id']}> {text}".strip()
        if to is not None:
            answered = self.messages.get(to)
            message["type"] = 19
            message["message_reference"] = {"message_id": to, "channel_id": channel}
            message["referenced_message"] = answered
            mention = mention or (ping and answered is not None and self._is_mine(answered))
        message["mentions"] = [self.bot] if mention else []
        self.messages[message["id"]] = message
        await self.repeat(message["id"])
        return str(message["id"])

    async def repeat(self, id: str) -> None:
        """Deliver a message (again)."""
        message = self.messages[id]
        await self.gateway.dispatch("MESSAGE_CREATE", lambda seen: self._seen(message, seen))

    async def edit(self, id: str, text: str, *, files: int | None = None) -> None:
        """Have a person change a message; ``files`` is how many of its files stay, all unless
        given."""
        message = self.messages[id]
        message["attachments"] = message["attachments"][:files]
        called = f"<@{self.bot['id']}> " if self.bot in message["mentions"] else ""
        if message.get("message_reference"):
            called = ""
        message.update(content=called + text, edited_timestamp=_now())
        await self.gateway.dispatch("MESSAGE_UPDATE", lambda seen: self._seen(message, seen))

    async def delete(self, id: str) -> None:
        """Have a person delete a message."""
        message = self.messages.pop(id)
        gone = {"id": id, "channel_id": message["channel_id"], "guild_id": message.get("guild_id")}
        gone = {k: v for k, v in gone.items() if v is not None}
        await self.gateway.dispatch("MESSAGE_DELETE", lambda _: gone)

    async def command(
        self,
        name: str,
        *,
        by: str = "1",
        channel: str = "200",
        picture: File | None = None,
        age: float = 0.0,
        **options: str,
    ) -> str:
        """Have somebody use a slash command, ``age`` seconds ago by its id; returns the
        interaction's token."""
        given: list[Json] = [{"name": k, "type": 3, "value": v} for k, v in options.items()]
        data: Json = {"id": self._id(), "name": name, "type": 1, "options": given}
        if picture is not None:
            attached = self._attach(self._id(), 0, picture)
            data["resolved"] = {"attachments": {attached["id"]: attached}}
            given.append({"name": "picture", "type": 11, "value": attached["id"]})
        return await self._interact(2, data, by, channel, age=age)

    async def press(self, message: str, button: str, *, by: str = "1") -> str:
        """Have somebody press a button, named by the beginning of its custom id."""
        found = self.messages[message]
        ids = [c["custom_id"] for row in found["components"] for c in row["components"]]
        custom = next(id for id in ids if button in id)
        data = {"custom_id": custom, "component_type": 2}
        return await self._interact(3, data, by, found["channel_id"], found)

    async def _interact(
        self,
        kind: int,
        data: Json,
        by: str,
        channel: str,
        message: Json | None = None,
        age: float = 0.0,
    ) -> str:
        id, token = self._id(age), f"interaction-token-{self._id()}-do-not-show"
        place = self.channels[channel]
        event: Json = {
            "id": id,
            "application_id": self.bot["id"],
            "type": kind,
            "token": token,
            "version": 1,
            "data": data,
            "channel": place,
            "channel_id": channel,
            "app_permissions": "0" if "send" in self.denied else str(SEND),
            "attachment_size_limit": 10 << 20,
            "authorizing_integration_owners": {},
            "entitlements": [],
        }
        if message is not None:
            event["message"] = message
        person = user(by, f"person{by}")
        if "guild_id" in place:
            guild = place["guild_id"]
            event |= {"guild_id": guild, "guild": {"id": guild, "locale": "en-US"}}
            event["member"] = {**member(), "user": person, "permissions": "0"}
        else:
            event["user"] = person
        self.interactions[token] = {
            "responses": 0,
            "event": event,
            "at": time.monotonic(),
            "answer": None,
        }
        await self.gateway.dispatch("INTERACTION_CREATE", lambda _: event)
        return token

    # what tests look at

    def channel(self, id: str, name: str, kind: int = 0, **more: Any) -> Json:
        """Make a channel; one of kind 1 is a direct message."""
        made: Json = {"id": id, "name": name, "type": kind, "position": 0}
        if kind != 1:
            made |= {"guild_id": self.guild, "permission_overwrites": []}
        made |= more
        self.channels[id] = made
        return made

    async def thread(self, id: str, name: str, parent: str = "200") -> Json:
        """Make a thread that the bot opened."""
        meta = {"archived": False, "auto_archive_duration": 1440, "archive_timestamp": _now()}
        counts = {"message_count": 0, "member_count": 1}
        owner = {"parent_id": parent, "owner_id": self.bot["id"]}
        made = self.channel(id, name, 11, **owner, **counts, thread_metadata=meta)
        await self.gateway.dispatch("THREAD_CREATE", lambda _: {**made, "newly_created": True})
        return made

    def direct(self, id: str = "300", by: str = "1") -> str:
        """Make a direct channel with somebody, and return its id."""
        self.channel(id, "", 1, recipients=[user(by, f"person{by}")])
        return id

    def mine(self, channel: str | None = None) -> list[Json]:
        """Return the bot's messages, the first first; all, or those of a channel."""
        found = [m for m in self.messages.values() if self._is_mine(m)]
        return [m for m in found if channel in (None, m["channel_id"])]

    def answers(self, channel: str | None = None) -> list[str]:
        """Return the words of the bot's messages that have any."""
        return [m["content"] for m in self.mine(channel) if m["content"]]

    def to(self, question: str) -> list[Json]:
        """Return the bot's replies to a message."""
        found = self.mine()
        return [m for m in found if _reference(m) == question]

    async def until(self, true: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait until something is so, and return it."""
        async with asyncio.timeout(seconds), self._changed:
            while not (found := true()):
                await self._changed.wait()
            return found

    def _is_mine(self, message: Json) -> bool:
        return bool(message["author"]["id"] == self.bot["id"])

    # REST

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)  # type: ignore[no-any-return]
        body, files = await _body(request)
        request[BODY], request[FILES] = body, files
        status, headers = 200, {"Via": "1.1 double"}
        answer: Any = None
        try:
            if self.down:
                raise Refused(503, 0, "down")
            self._authorise(request)
            self._check_rate(request, headers)
            answer = await handler(request)
        except Refused as error:
            status, answer = error.status, {"code": error.code, "message": str(error)}
        except web.HTTPTooManyRequests as error:
            status, answer = 429, json.loads(error.text or "{}")
            headers["Retry-After"] = str(answer["retry_after"])
            if answer.get("global"):
                headers["X-RateLimit-Global"] = "true"
        path = request.path.removeprefix("/api")
        self.transcript.append(Call(request.method, path, body, status, time.monotonic()))
        self._note()
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None and status == 200:
            return web.Response(status=204, headers=headers)
        text = json.dumps(answer).encode()  # discord.py reads JSON without a charset only
        return web.Response(
            body=text, status=status, headers=headers, content_type="application/json"
        )

    def _authorise(self, request: web.Request) -> None:
        if request.path.startswith(("/api/interactions/", "/api/webhooks/")):
            known = self.interactions.get(request.match_info["token"])
            if known is None or known["responses"] == self.responses:
                raise Refused(401, 50027, "Invalid Webhook Token")
            if request.path.startswith("/api/webhooks/"):
                known["responses"] += 1
        elif request.headers.get("Authorization") != f"Bot {self.gateway.token}":
            raise Refused(401, 0, "401: Unauthorized")

    def _check_rate(self, request: web.Request, headers: dict[str, str]) -> None:
        """Count messages and edits of a channel, and say in headers how many are left."""
        resource = request.match_info.route.resource
        pattern = f"{request.method} {resource.canonical if resource else request.path}"
        if self.limited[pattern] > 0:
            self.limited[pattern] -= 1
            body = {"message": "limited", "retry_after": 0.05, "global": False}
            raise web.HTTPTooManyRequests(text=json.dumps(body))
        if "/messages" not in request.path or request.method not in ("POST", "PATCH"):
            return
        if self.errors:
            status, body = self.errors.pop(0)
            if status == 429:
                raise web.HTTPTooManyRequests(text=json.dumps(body))
            raise Refused(status, 0, "error")
        place = request.match_info.get("channel", "")
        now, key = time.monotonic(), f"{request.method}:{place}"
        recent = [at for at in self._windows.get(key, []) if at > now - self.window]
        reset = (recent[0] + self.window - now) if recent else self.window
        if len(recent) >= self.limit:
            body = {"message": "limited", "retry_after": reset, "global": False}
            raise web.HTTPTooManyRequests(text=json.dumps(body))
        self._windows[key] = [*recent, now]
        headers |= {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - len(recent) - 1),
            "X-RateLimit-Reset-After": f"{reset:.3f}",
            "X-RateLimit-Reset": f"{time.time() + reset:.3f}",
            "X-RateLimit-Bucket": f"messages-{request.method}",
        }

    async def _where(self, _: web.Request) -> Json:
        left = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
        return {"url": self.gateway_url, "shards": self.shards, "session_start_limit": left}

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if self.gateway_down:
            self.transcript.append(Call("GET", "/gateway-down", {}, 503, time.monotonic()))
            self._note()
            return web.Response(status=503)
        return await self.gateway.handle(request)

    async def _me(self, _: web.Request) -> Json:
        return self.bot

    async def _application(self, _: web.Request) -> Json:
        return {
            "id": self.bot["id"],
            "name": "Bifocal",
            "description": "",
            "icon": None,
            "bot_public": False,
            "bot_require_code_grant": False,
            "owner": user("1", "owner"),
            "verify_key": "00",
            "flags": 0,
        }

    async def _sync(self, request: web.Request) -> web.Response:
        self._need("commands")
        self.commands = [
            {
                "default_member_permissions": None,
                "id": self._id(),
                "application_id": self.bot["id"],
                "version": "1",
                "description": "",
                **command,
            }
            for command in request[BODY]["_"]
        ]
        return web.Response(
            body=json.dumps(self.commands).encode(), content_type="application/json"
        )

    async def _get_channel(self, request: web.Request) -> Json:
        return self._channel(request)

    async def _typing(self, request: web.Request) -> None:
        self._channel(request)

    async def _get_message(self, request: web.Request) -> Json:
        message = self._message(request)
        for attached in message["attachments"]:  # addresses are renewed
            path = attached["url"].partition("/cdn/")[2].partition("?")[0]
            renewed = f"{path}-renewed"
            if path not in self.cdn and f"gone:{path}" in self.cdn:
                self.cdn[renewed] = self.cdn[f"gone:{path}"]
                attached["url"] = f"http://127.0.0.1:{self.port}/cdn/{renewed}?ex=1"
        return message

    async def _post(self, request: web.Request) -> Json:
        if not self.held.is_set():
            self.waiting += 1
            self._note()
            await self.held.wait()
            if request.transport is None or request.transport.is_closing():
                raise Refused(400, 0, "the client is gone")
        channel = self._channel(request)
        self._need("send")
        body = request[BODY]
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            for known in self.messages.values():
                if known.get("nonce") == nonce and known["channel_id"] == channel["id"]:
                    return known
        message = self._new(channel["id"], self.bot, "")
        if (reference := body.get("message_reference")) is not None:
            if str(reference["message_id"]) not in self.messages and reference.get(
                "fail_if_not_exists", True
            ):
                raise Refused(400, 50035, "Unknown message")
            message |= {"type": 19, "message_reference": reference}
        message["nonce"] = nonce
        self._fill(message, body, request[FILES])
        self.messages[message["id"]] = message
        await self.gateway.dispatch("MESSAGE_CREATE", lambda seen: self._seen(message, seen))
        return message

    async def _patch(self, request: web.Request) -> Json:
        message = self._message(request)
        if not self._is_mine(message):
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        self._fill(message, request[BODY], request[FILES])
        message["edited_timestamp"] = _now()
        await self.gateway.dispatch("MESSAGE_UPDATE", lambda seen: self._seen(message, seen))
        return message

    async def _remove(self, request: web.Request) -> None:
        await self.delete(self._message(request)["id"])

    async def _open_thread(self, request: web.Request) -> Json:
        self._need("threads")
        start = self._message(request)
        if start["id"] in self.channels:
            raise Refused(400, 160004, "A thread has already been created for this message")
        return await self.thread(start["id"], request[BODY]["name"], start["channel_id"])

    async def _callback(self, request: web.Request) -> Json | None:
        known = self.interactions[request.match_info["token"]]
        known["acknowledged"] = time.monotonic() - known["at"]
        late, self.late = self.late, False
        if late or known["acknowledged"] > 3 or known.get("type"):
            raise Refused(404, 10062, "Unknown interaction")
        body = request[BODY]
        known["type"] = body["type"]
        data = body.get("data") or {}
        event = known["event"]
        resource: Json = {"type": body["type"]}
        if body["type"] in (4, 5):
            message = self._new(event["channel_id"], self.bot, "")
            message["interaction_token"] = request.match_info["token"]
            if body["type"] == 4:
                self._fill(message, data, request[FILES])
            else:
                message["flags"] = data.get("flags", 0) | LOADING
            self.messages[message["id"]] = message
            known["answer"] = message["id"]
            resource["message"] = message
        return {
            "interaction": {"id": event["id"], "type": event["type"]},
            "resource": resource,
        }

    async def _follow_up(self, request: web.Request) -> Json:
        known = self.interactions[request.match_info["token"]]
        first = self.messages.get(known["answer"] or "")
        if first is not None and first["flags"] & LOADING:
            first["flags"] &= EPHEMERAL
            message = first
        else:
            message = self._new(known["event"]["channel_id"], self.bot, "")
            message["interaction_token"] = request.match_info["token"]
        kept = message["flags"]
        self._fill(message, request[BODY], request[FILES])
        message["flags"] |= kept
        self.messages[message["id"]] = message
        return message

    async def _patch_follow_up(self, request: web.Request) -> Json:
        message = self._message(request)
        self._fill(message, request[BODY], request[FILES])
        return message

    async def _download(self, request: web.Request) -> web.Response:
        self.downloads += 1
        data = self.cdn.get(request.match_info["path"])
        if data is None:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=data)

    def expire(self) -> None:
        """Let all addresses of files expire."""
        for path in [p for p in self.cdn if not p.startswith("gone:")]:
            self.cdn[f"gone:{path}"] = self.cdn.pop(path)

    # messages

    def _fill(self, message: Json, body: Json, files: list[tuple[str, bytes]]) -> None:
        """Give a message what a request says, as Discord would show it."""
        for name in ("content", "embeds", "components", "flags"):
            if name in body:
                message[name] = body[name] or ([] if name in ("embeds", "components") else "")
        message["flags"] = message["flags"] or 0
        embeds = message["embeds"]
        if files:
            self._need("files")
            message["attachments"] = [
                self._attach(message["id"], n, File(name, data))
                for n, (name, data) in enumerate(files)
            ]
            self.pixels[message["id"]] = [data for _, data in files]
        elif "attachments" in body:
            message["attachments"] = []
        if len(message["content"]) > 2000 or len(embeds) > 10 or _size(embeds) > 6000:
            raise Refused(400, 50035, "Invalid Form Body")
        if not (message["content"] or embeds or message["attachments"]):
            raise Refused(400, 50006, "Cannot send an empty message")
        message["said"] = [*message.get("said", []), message["content"]]
        suppressed = bool(message["flags"] & SUPPRESS_EMBEDS)
        message["hidden"] = embeds if suppressed else []
        message["previews"] = [] if suppressed else re.findall(r"https?://\S+", message["content"])
        if suppressed:
            message["embeds"] = []
        message["pinged"] = [*message.get("pinged", []), *_pinged(message, body)]

    def _new(self, channel: str, author: Json, text: str) -> Json:
        place = self.channels[channel]
        message: Json = {
            "id": self._id(),
            "type": 0,
            "channel_id": channel,
            "author": author,
            "content": text,
            "timestamp": _now(),
            "edited_timestamp": None,
            "flags": 0,
        }
        message |= {name: [] for name in ("embeds", "attachments", "mentions", "mention_roles")}
        message |= {"components": [], "pinned": False, "tts": False, "mention_everyone": False}
        if "guild_id" in place:
            message["guild_id"] = place["guild_id"]
        return message

    def _attach(self, message: str, number: int, file: File) -> Json:
        path = f"{message}/{number}/{file.name}"
        self.cdn[path] = file.data
        url = f"http://127.0.0.1:{self.port}/cdn/{path}?ex=1"
        return {
            "id": self._id(),
            "filename": file.name,
            "size": len(file.data),
            "url": url,
            "proxy_url": url,
            "content_type": file.type,
            **({"description": file.alt} if file.alt else {}),
        }

    def _seen(self, message: Json, intents: int) -> Json:
        """Return a message as a client sees it: without content unless it concerns the bot, or the
        privileged intent is there."""
        shown = {k: v for k, v in message.items() if k not in ("said", "hidden", "pinned_by")}
        if "guild_id" in message:
            shown["member"] = member()
        about = self._is_mine(message) or self.bot in message["mentions"]
        if "guild_id" in message and not about and not intents & MESSAGE_CONTENT:
            shown |= {"content": "", "attachments": [], "embeds": [], "components": []}
        return shown

    def _ready(self, shard: tuple[int, int]) -> tuple[Json, list[tuple[str, Json]]]:
        guilds = {c["guild_id"] for c in self.channels.values() if "guild_id" in c}
        guilds = {guild for guild in guilds if shard_of(guild, shard[1]) == shard[0]}
        ready = {
            "v": 10,
            "user": self.bot,
            "guilds": [{"id": guild, "unavailable": True} for guild in guilds],
            "resume_gateway_url": self.gateway_url,
            "application": {"id": self.bot["id"], "flags": 0},
            "shard": list(shard),
        }
        return ready, [("GUILD_CREATE", self._guild(guild)) for guild in guilds]

    def _guild(self, id: str) -> Json:
        places = [c for c in self.channels.values() if c.get("guild_id") == id]
        everyone = {"id": id, "name": "@everyone", "permissions": "0", "position": 0}
        everyone |= {"color": 0, "hoist": False, "managed": False, "mentionable": False}
        return {
            "id": id,
            "name": "Guild",
            "owner_id": "1",
            "member_count": 2,
            "roles": [everyone],
            "members": [{**member(), "user": self.bot}],
            "channels": [c for c in places if c["type"] != 11],
            "threads": [c for c in places if c["type"] == 11],
        }

    def _channel(self, request: web.Request) -> Json:
        try:
            return self.channels[request.match_info["channel"]]
        except KeyError:
            raise Refused(404, 10003, "Unknown Channel") from None

    def _message(self, request: web.Request) -> Json:
        id = request.match_info["id"]
        if id == "@original":
            id = self.interactions[request.match_info["token"]]["answer"]
        try:
            return self.messages[id]
        except KeyError:
            raise Refused(404, 10008, "Unknown Message") from None

    def _need(self, permission: str) -> None:
        if permission in self.denied:
            raise Refused(403, 50013, "Missing Permissions")

    def _id(self, age: float = 0.0) -> str:
        self._last += 1 << 22
        return str(self._last - (int(age * 1000) << 22))

    def _note(self) -> None:
        async def note() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.get_running_loop().create_task(note())
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)


def user(id: str, name: str, bot: bool = False) -> Json:
    """Return a person as Discord describes one."""
    more = {"discriminator": "0", "avatar": None, "global_name": name.title()}
    return {"id": id, "username": name, "bot": bot, **more}


def member() -> Json:
    """Return the part of a person that belongs to a guild."""
    return {"roles": [], "joined_at": _now(), "deaf": False, "mute": False, "flags": 0}


async def _body(request: web.Request) -> tuple[Json, list[tuple[str, bytes]]]:
    """Return the JSON of a request, and its files."""
    if request.content_type != "multipart/form-data":
        given = await request.json() if request.can_read_body and await request.text() else {}
        return (given if isinstance(given, dict) else {"_": given}), []
    body: Json = {}
    files: list[tuple[str, bytes]] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files.append((part.filename or "", data))
    return body, files


def _pinged(message: Json, body: Json) -> list[str]:
    """Return whom a message calls, as far as its request allows."""
    allowed = body.get("allowed_mentions")
    kinds = ["users", "roles", "everyone"] if allowed is None else allowed.get("parse", [])
    found = re.findall(r"<@!?(\d+)>", message["content"]) if "users" in kinds else []
    if "everyone" in kinds:
        found += re.findall(r"@(?:everyone|here)\b", message["content"])
    if "roles" in kinds:
        found += re.findall(r"<@&(\d+)>", message["content"])
    answers = allowed is None or allowed.get("replied_user", False)
    return [*found, "author"] if answers and _reference(message) else found


def _reference(message: Json) -> str:
    return str((message.get("message_reference") or {}).get("message_id", ""))


def _size(embeds: list[Json]) -> int:
    texts = [e.get(k, "") for e in embeds for k in ("title", "description")]
    texts += [(e.get("footer") or {}).get("text", "") for e in embeds]
    return sum(map(len, texts))


def _now() -> str:
    return datetime.now(UTC).isoformat()
