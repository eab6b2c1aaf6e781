"""``python -m bot`` is the same as ``bifocal``."""

from bot.cli import main

main()
