"""The settings of the channels: the tables ``[slack]``, ``[discord]`` and ``[webhook]``, or
``BIFOCAL_SLACK_…`` and so on.

Knows nothing of what they are used for. Tokens are secrets: they show themselves nowhere.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class ChannelSettings(BaseModel):
    """What all channels have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    libraries: Mapping[str, str] = Field(default_factory=dict)
    """Which library answers where: ``{"T1" = "handbook", "T1/C2" = "papers"}``, by workspace or
    guild, and by channel in it; ``default`` everywhere else."""
    at_once: int = Field(default=16, ge=1, le=1000)
    """Questions that a process works at; more wait."""
    every: float = Field(default=1.0, ge=0.2, le=60)
    """Seconds between two edits of an answer that is being written, at least."""

    @field_validator("libraries", mode="before")
    @classmethod
    def _read_pairs(cls, value: Any) -> Any:
        """Read ``T1=handbook,T1/C2=papers``."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not (place.strip() and name.strip()) for place, _, name in pairs):
            raise ValueError("give PLACE=LIBRARY,PLACE=LIBRARY")
        return {place.strip(): name.strip() for place, _, name in pairs}


class SlackSettings(ChannelSettings):
    """How Bifocal is a member of Slack workspaces."""

    bot_token: SecretStr | None = None
    """``xoxb-…``, of the page "OAuth & Permissions" of the app."""
    app_token: SecretStr | None = None
    """``xapp-…`` with the scope ``connections:write``, of "Basic Information"; for Socket Mode."""
    signing_secret: SecretStr | None = None
    """Of "Basic Information"; for HTTP mode."""
    mode: Literal["socket", "http"] = "socket"
    """``socket``: ``bifocal slack`` connects to Slack; ``http``: Slack calls ``bifocal serve``."""
    ephemeral: bool = False
    """Whether answers to ``/bifocal ask`` are seen by the asker alone."""
    api_url: str = "https://slack.com/api/"
    """Where Slack's Web API is."""
    file_hosts: tuple[str, ...] = ("files.slack.com",)
    """Hosts from which files are fetched with the token; never from others."""


class DiscordSettings(ChannelSettings):
    """How Bifocal is a member of Discord guilds."""

    token: SecretStr | None = None
    """Of the page "Bot" of the application."""
    message_content: bool = False
    """Whether the privileged intent "Message Content" is on: threads need no mention then."""


class WebhookSettings(ChannelSettings):
    """How another program hands messages to ``bifocal serve``, and where answers go."""

    secret: SecretStr | None = None
    """Signs what comes and what goes; the webhook is there when this is set."""
    callback: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/\S*)?$")
    """Address to which answers are posted; without it only ``"wait": true`` is answered."""
    drafts: bool = False
    """Whether an answer is posted while it is being written, too."""

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < 16:
            raise ValueError("give 16 characters or more")
        return secret
