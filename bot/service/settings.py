"""The settings of ``bifocal serve``: the table ``[serve]``, or ``BIFOCAL_SERVE_…``.

Knows nothing of what they are used for.
"""

import ipaddress
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field

MB = 1024 * 1024


class ServeSettings(BaseModel):
    """How the service listens, whom it lets in, and what it takes at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs API keys."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer. Each loads a local model of its own."""
    keys: Literal["auto", "on", "off"] = "auto"
    """Whether API keys are asked for. ``auto``: not on loopback. ``off`` is for loopback only."""
    libraries: Path = Field(default_factory=lambda: user_data_path("bifocal") / "libraries")
    """Folder whose folders are libraries by name, beside ``default``, the setting ``library``."""
    rate: str = "120/minute"
    """Requests that a key may make, unless the key says otherwise."""
    turns_per_day: int | None = Field(default=None, ge=1)
    """Turns that a key may take in a day, unless the key says otherwise; None: any number."""
    turns_at_once: int = Field(default=16, ge=1, le=1000)
    """Turns that a process works at; more wait."""
    turns_waiting: int = Field(default=64, ge=0, le=10_000)
    """Turns that wait at most in a process; more are told to come again (503)."""
    connections: int = Field(default=2048, ge=1, le=100_000)
    """Connections that a process holds at most; more are closed at once (503)."""
    requests_at_once: int = Field(default=512, ge=1, le=100_000)
    """Requests that a process has open at most; more are told to come again (503)."""
    bodies_bytes: int = Field(default=512 * MB, ge=1024)
    """Bytes of requests that a process holds at once, at most; more are told to come again."""
    body_bytes: int = Field(default=64 * MB, ge=1024)
    """Bytes of a request at most."""
    upload_bytes: int = Field(default=256 * MB, ge=1024)
    """Bytes of a request that brings sources for a library, at most."""
    read_seconds: float = Field(default=30, gt=0)
    """Seconds that a client may let the next piece of a request or of an answer wait."""
    resume_seconds: float = Field(default=60, gt=0, le=3600)
    """How long a resumable stream waits for its reader to come back."""
    grace_seconds: float = Field(default=20, gt=0, le=3600)
    """Seconds that turns under way get to end when the service is stopped."""
    origins: tuple[str, ...] = ()
    """Web origins (``https://app.example``) whose pages may call the service; none unless set."""
    hosts: tuple[str, ...] = ()
    """Names under which the service is reached; with keys off only loopback's are believed."""
    fetch_pictures: bool = False
    """Whether pictures may be given as web addresses, which the service then fetches."""
    citations: Literal["footnotes", "field", "both", "none"] = "both"
    """How the OpenAI-compatible interface gives citations, unless the request says."""
    page: bool = True
    """Whether the web page is shown at ``/`` (needs ``pip install 'bifocal[web]'``)."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_content: bool = False
    """Whether questions and answers are written to the log; keys and pictures never are."""

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keys_on(self) -> bool:
        """Whether a request needs an API key."""
        return self.keys == "on" or (self.keys == "auto" and not self.on_loopback)
