"""Says what to install where Slack's packages are missing. Imports nothing of them."""

from importlib.util import find_spec

from bot.errors import SettingsError


def needed() -> None:
    """Raise ``SettingsError`` where the packages for Slack are missing."""
    if find_spec("slack_bolt") is None or find_spec("aiohttp") is None:
        raise SettingsError("Slack needs packages: pip install 'bifocal[slack]'")
