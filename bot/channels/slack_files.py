"""Pictures from Slack and to it.

A file is fetched with the bot's token, from Slack's own hosts only. Without the scope
``files:read`` Slack answers with a page to sign in, which is recognised. Knows nothing of turns.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.final import Drawn
from bot.channels.room import Room
from bot.channels.slack_errors import code_of
from bot.sent import SentPicture

MOST_BYTES = 32 * 1024 * 1024  #: of one file
MOST_HELD = 256 * 1024 * 1024  #: bytes of all questions' files at a time, by what Slack says
MOST_REDIRECTS = 3
APPS = "https://api.slack.com/apps"
#: What is read as a picture; the rest is named in the answer
READ = frozenset(f"image/{kind}" for kind in "png jpeg jpg webp gif bmp x-ms-bmp tiff".split())
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<!--")


class FileRefused(Exception):
    """A file cannot be had; says why, in a few words for people."""


@dataclass(slots=True)
class Fetched:
    """The pictures of a message, names of files that are none, and what went wrong."""

    pictures: list[SentPicture] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    missing: str = ""  #: what the app would need to read them


class Files:
    """Fetches files of messages. ``hosts`` are those that may see the token."""

    def __init__(
        self, client: AsyncWebClient, hosts: Sequence[str], session: aiohttp.ClientSession
    ) -> None:
        self._client, self._hosts, self._session = client, frozenset(hosts), session
        self._plain = urlsplit(client.base_url).scheme == "http"  # a Slack on this machine
        self._room = Room(MOST_HELD)

    def room(
        self, files: Sequence[Mapping[str, Any]], most: int
    ) -> AbstractAsyncContextManager[None]:
        """Return room for the pictures among files: enter it before they are fetched, and leave it
        when their question is answered."""
        told = [int(f.get("size") or MOST_BYTES) for f in files if _may_be_picture(f)]
        largest_first = sorted((size for size in told if size <= MOST_BYTES), reverse=True)
        return self._room.of(sum(largest_first[:most]))

    async def fetch(self, files: Sequence[Mapping[str, Any]], most: int) -> Fetched:
        """Return the pictures among files, ``most`` of them at most."""
        found = Fetched()
        for file in files:
            name = str(file.get("name") or file.get("title") or "a file")
            if not _may_be_picture(file):
                found.unsupported.append(name)
                continue
            if len(found.pictures) >= most:
                found.unsupported.append(f"{name} (only {most} pictures are looked at)")
                continue
            try:
                known = await self._whole(file)
                if str(known.get("mimetype")) not in READ:
                    found.unsupported.append(str(known.get("name") or name))
                    continue
                data = await self._download(known)
            except _NoScope:
                found.missing = (
                    f"pictures cannot be read: the app lacks the scope files:read ({APPS}, "
                    "page “OAuth & Permissions”; add it there and install the app again)"
                )
                return found
            except FileRefused as error:
                found.unsupported.append(f"{name} ({error})")
                continue
            found.pictures.append(SentPicture(data, name=name, alt=str(known.get("alt_txt") or "")))
        return found

    async def _whole(self, file: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is known of a file, asked for where an event says that it may not tell."""
        if file.get("file_access") != "check_file_info" and file.get("url_private"):
            return file
        try:
            said = await self._client.files_info(file=str(file.get("id")))
        except SlackApiError as error:
            if code_of(error) == "missing_scope":
                raise _NoScope from error
            raise FileRefused("it is not there") from error
        known = said.get("file")
        return known if isinstance(known, Mapping) else file

    async def _download(self, file: Mapping[str, Any]) -> bytes:
        if int(file.get("size") or 0) > MOST_BYTES:
            raise FileRefused("too large")
        url = str(file.get("url_private") or "")
        if not self._may_see(url):
            raise FileRefused("it does not lie at Slack")
        for _ in range(MOST_REDIRECTS + 1):
            headers = {"Authorization": f"Bearer {self._client.token}"}
            try:
                async with self._session.get(
                    url, headers=headers, allow_redirects=False
                ) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = urljoin(url, response.headers.get("Location", ""))
                        if not self._may_see(url):  # Slack sends it elsewhere to sign in
                            raise _NoScope
                        continue
                    return await _read(response)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise FileRefused("it could not be fetched") from error
        raise FileRefused("it is nowhere to be found")

    def _may_see(self, url: str) -> bool:
        """Tell whether an address may see the token."""
        try:
            parts = urlsplit(url)
            known = parts.hostname in self._hosts or parts.netloc in self._hosts
        except ValueError:
            return False
        safe = parts.scheme == "https" or (parts.scheme == "http" and self._plain)
        return known and safe and not parts.username


def _may_be_picture(file: Mapping[str, Any]) -> bool:
    return str(file.get("mimetype")) in READ or file.get("file_access") is not None


class _NoScope(Exception):
    """The token may not read files."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.status in (401, 403):
        raise _NoScope
    if response.status != 200:
        raise FileRefused("it could not be fetched")
    data = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        data += piece
        if len(data) > MOST_BYTES:
            raise FileRefused("too large")
    if not response.content_type.startswith("image/") and _is_page(data, response.content_type):
        raise _NoScope
    return bytes(data)


def _is_page(data: bytearray, kind: str) -> bool:
    return kind == "text/html" or bytes(data[:64]).lstrip().lower().startswith(_PAGES)


async def upload(
    client: AsyncWebClient, channel: str, thread: str, pictures: Sequence[Drawn]
) -> list[str]:
    """Show pictures in a thread; return the ids of the files.

    Raises ``FileRefused`` where that is not possible.
    """
    uploads = [
        {"file": p.data, "filename": p.name, "title": p.alt, "alt_txt": p.alt} for p in pictures
    ]
    try:
        said = await client.files_upload_v2(file_uploads=uploads, channel=channel, thread_ts=thread)
    except SlackApiError as error:
        if code_of(error) == "missing_scope":
            raise FileRefused(f"the app lacks the scope files:write ({APPS})") from error
        raise FileRefused("Slack did not take them") from error
    except SlackRequestError as error:
        raise FileRefused("Slack did not take them") from error
    return [str(file["id"]) for file in said.get("files") or []]


async def delete_file(client: AsyncWebClient, id: str) -> None:
    """Take a file away, unless it is gone or is not the bot's to delete."""
    with suppress(SlackApiError):
        await client.files_delete(file=id)
