"""Who may do what: pure values.

Knows nothing of keys, of Redis and of HTTP. An ``Access`` is what a key opens: one tenant, and in
it libraries by name.
"""

import re
from dataclasses import dataclass

from bot.errors import AccessError

ALL = "*"  #: among the libraries of an access: every one of the tenant
MOST_TURNS = 10**9

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it may name a tenant, a library or a key; ``what`` says which it names.

    A name is never a path (no ``/``, and ``..`` cannot begin it) and is the same on every file
    system. Raises ``AccessError``.
    """
    if _NAME.fullmatch(name) is None:
        shown = repr(name if len(name) <= 64 else name[:64] + "…")
        raise AccessError(
            f"{what} {shown}: give 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter "
            "or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may do. Writing a library implies reading it.

    ``rate`` is as in ``60/minute``, empty for the service's own; ``turns_per_day`` is ``None`` for
    the service's own. Raises ``AccessError`` for names that are none.
    """

    key_id: str  #: empty where there are no keys
    name: str
    tenant: str
    read: frozenset[str]
    write: frozenset[str]
    rate: str = ""
    turns_per_day: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "key")
        check_name(self.tenant, "tenant")
        for library in sorted((self.read | self.write) - {ALL}):
            check_name(library, "library")
        if self.turns_per_day is not None and not 1 <= self.turns_per_day <= MOST_TURNS:
            raise AccessError(
                f"turns per day {self.turns_per_day}: give 1 to {MOST_TURNS}, or none at all"
            )

    def may_read(self, library: str) -> bool:
        """Tell whether the library of that name may be asked."""
        return library in self.read or ALL in self.read or self.may_write(library)

    def may_write(self, library: str) -> bool:
        """Tell whether sources of the library of that name may be added and removed."""
        return library in self.write or ALL in self.write


#: What everybody may do where keys are off, which is on loopback only. Never limited.
OPEN = Access("", "open", "default", frozenset({ALL}), frozenset({ALL}))
