"""What the bot may do in a Discord server, and the link by which it is invited with just that.

Knows nothing of connections.
"""

import discord

#: Each is on the page docs/discord.md, with its reason
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
)
SCOPES = ("bot", "applications.commands")


def permissions(*, threads: bool) -> discord.Permissions:
    """Return what the bot needs; ``threads``: it answers in threads that it opens."""
    needed = discord.Permissions(PERMISSIONS.value)
    needed.create_public_threads = threads
    return needed


def invite_of(application: int, *, threads: bool) -> str:
    """Return the address at which somebody invites the bot to a server."""
    return discord.utils.oauth_url(
        application, permissions=permissions(threads=threads), scopes=SCOPES
    )
