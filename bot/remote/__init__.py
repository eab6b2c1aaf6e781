"""A bot behind a service, used as one in this process is: see ``bot/remote/client.py``."""

from bot.remote.client import AsyncRemoteChatBot, RemoteChatBot

__all__ = ["AsyncRemoteChatBot", "RemoteChatBot"]
