"""What a forgotten conversation leaves outside its history, and how that goes.

A local model keeps what it has read and the pictures that it has encoded, by tenant and not by
conversation; so all of a tenant's goes, which costs its other conversations one reading. Likewise
the words that were read from pictures. Other models keep nothing here. Knows nothing of
conversations.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import ModelError

if TYPE_CHECKING:
    from bot.turn_state import Parts


def forget_kept(parts: "Parts", cache: Path) -> None:
    """Drop what this process keeps of the tenant, in memory and in the folder ``cache``."""
    tenant = parts.settings.tenant
    clear = getattr(parts.read_words, "clear", None)
    if clear is not None:
        clear()
    forget = getattr(parts.model, "forget", None)
    if forget is not None:
        try:
            forget(tenant)
        except ModelError:  # its process is gone, and its memory with it
            forget_on_disk(cache, tenant)


def forget_on_disk(cache: Path, tenant: str) -> None:
    """Drop what local models left of a tenant in the folder ``cache``.

    A model that runs in another process may still know it, until it ends.
    """
    from bot.models.llama.kept import Kept

    for folder in cache.glob("*/*"):  # MODEL/pictures and MODEL/sequences
        Kept(0, folder).forget(tenant)
