"""A bot behind a service, used as one in this process is: see ``bot/remote/client.py``."""

from bot.remote.blocking import RemoteChatBot
from bot.remote.client import AsyncRemoteChatBot

__all__ = ["AsyncRemoteChatBot", "RemoteChatBot"]
