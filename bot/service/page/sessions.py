"""Who is signed in on the page: a cookie, and in Redis what it stands for.

The cookie is 32 random bytes that no script can read. Redis holds, under its hash, the key's id
and the key's own hash, never the key; both are checked anew whenever something is done, so that a
revoked key ends its sessions. All processes share them. Knows nothing of the page.

    bifocal:{page:SHA-256 OF THE COOKIE}   the key's id and its SHA-256, as JSON; HOURS
"""

import hashlib
import json
import secrets
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from bot.service.access.rights import OPEN, Access

COOKIE = "bifocal_session"
HOURS = 12


class Sessions:
    """The sessions of a service; ``state`` is the application's."""

    def __init__(self, state: Any) -> None:
        self._state = state

    async def begin(self, token: str) -> str | None:
        """Return the cookie of a new session for an API key; ``None`` for one that is not good."""
        token = token.strip()
        access = await self._state.keys.check(token)
        if access is None:
            return None
        cookie = secrets.token_urlsafe(32)
        kept = json.dumps([access.key_id, hashlib.sha256(token.encode()).hexdigest()])

        async def work(client: Any) -> None:
            await client.set(_key(cookie), kept, ex=HOURS * 3600)

        await self._state.redis.write(work)
        return cookie

    async def access(self, cookie: str) -> Access | None:
        """Return what a session opens now; ``None`` when it is over or its key was revoked."""
        if self._state.keys is None:
            return OPEN
        if not cookie or len(cookie) > 100:
            return None

        async def work(client: Any) -> Any:
            return await client.get(_key(cookie))

        kept = await self._state.redis.read(work)
        if kept is None:
            return None
        id, digest = json.loads(kept)
        found: Access | None = await self._state.keys.check_hash(id, digest)
        return found

    async def end(self, cookie: str) -> None:
        """Forget a session."""

        async def work(client: Any) -> None:
            await client.delete(_key(cookie))

        await self._state.redis.write(work)


def cookie_of(connection: HTTPConnection) -> str:
    """Return the session's cookie, or nothing."""
    return connection.cookies.get(COOKIE, "")


def give(response: Response, cookie: str, *, secure: bool) -> None:
    """Send a session's cookie; an empty one takes it back."""
    response.set_cookie(
        COOKIE, cookie, max_age=HOURS * 3600 if cookie else 0, path="/", secure=secure,
        httponly=True, samesite="strict",
    )  # fmt: skip


def _key(cookie: str) -> str:
    return f"bifocal:{{page:{hashlib.sha256(cookie.encode()).hexdigest()}}}"
