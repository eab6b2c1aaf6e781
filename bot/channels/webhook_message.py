"""What the webhook's bodies hold, and how they are signed.

Every body, either way, is signed: ``X-Bifocal-Signature: v1=HMAC-SHA256(secret, "v1:TIME:BODY")``
in hex, with TIME (seconds since 1970) in ``X-Bifocal-Timestamp``. Knows nothing of bots.
"""

import base64
import hashlib
import hmac
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request

from bot.channels.delivery import Final
from bot.sent import SentPicture
from bot.service.http.bodies import from_base64
from bot.service.http.problems import Problem

Name = Annotated[str, Field(min_length=1, max_length=200)]
TOLERANCE = 300  #: seconds that a signature's time may differ from ours


class Given(BaseModel):
    """A picture: base64, a file name, what it shows."""

    data: str
    name: str = Field("", max_length=200)
    alt: str = Field("", max_length=2000)


class Message(BaseModel):
    """What is posted to us. ``of`` is the id of the message that is edited or deleted."""

    model_config = ConfigDict(extra="forbid")
    id: Name
    conversation: Name
    type: Literal["message", "edit", "delete"] = "message"
    of: Name | None = None
    place: str = Field("", max_length=200)
    sender: str = Field("", max_length=200)
    text: str = ""
    pictures: list[Given] = Field(default_factory=list, max_length=64)
    wait: bool = False

    def sent(self) -> tuple[list[SentPicture], list[str]]:
        """Return the pictures, and what those are called that are not base64, or too large."""
        pictures: list[SentPicture] = []
        unread: list[str] = []
        for number, one in enumerate(self.pictures, 1):
            try:
                data = from_base64(one.data, "pictures")
            except Problem:
                unread.append(one.name or f"picture {number}")
                continue
            pictures.append(SentPicture(data, name=one.name, alt=one.alt))
        return pictures, unread

    def reply(self, type: str, **of: Any) -> dict[str, Any]:
        """Return what is told of this message."""
        return {"type": type, "id": self.id, "conversation": self.conversation, **of}


def told_of(final: Final) -> dict[str, Any]:
    """Return what is told of a whole answer."""
    return {
        "parts": final.parts,
        "footnotes": [
            {"mark": f.mark, "place": f.place, "quote": f.quote} for f in final.footnotes
        ],
        "pictures": [
            {"name": p.name, "alt": p.alt, "data": base64.b64encode(p.data).decode()}
            for p in final.pictures
        ],
        "notices": final.notices,
        "turn": final.answer.turn,
    }


def signed(secret: SecretStr | None, body: bytes, at: str = "") -> dict[str, str]:
    """Return the headers that sign a body, now unless a time is given."""
    assert secret is not None
    at = at or str(int(time.time()))
    message = b"v1:%s:%s" % (at.encode(), body)
    mac = hmac.new(secret.get_secret_value().encode(), message, hashlib.sha256).hexdigest()
    return {
        "X-Bifocal-Timestamp": at,
        "X-Bifocal-Signature": f"v1={mac}",
        "Content-Type": "application/json",
    }


async def authentic(secret: SecretStr | None, request: Request) -> bytes:
    """Return the body of a request that was signed, lately, with the secret; else the problem of
    status 401."""
    at = request.headers.get("x-bifocal-timestamp", "")
    if at.isascii() and at.isdigit() and abs(time.time() - int(at[:12])) <= TOLERANCE:
        body = await request.body()
        given = request.headers.get("x-bifocal-signature", "").encode()
        if hmac.compare_digest(signed(secret, body, at)["X-Bifocal-Signature"].encode(), given):
            return body
    raise Problem(401, "unauthorized", "the signature is wrong, or its time is not now")
