"""Which sequence of the model's memory reads a prompt, and how much of it is known there already.

A sequence keeps what was read until its room is needed. A new prompt begins with the longest
stretch that one of the same tenant's sequences (or states that were put aside) has in common with
it; the rest is read anew. Nothing passes between tenants. Knows nothing of requests or steps.
"""

import hashlib
import json
from collections.abc import Sequence as Several
from dataclasses import dataclass, field

from bot.models.llama.kept import Kept
from bot.models.llama.native import Native
from bot.models.llama.prompt import Cell, Mark, positions_of, tokens_of

_WORTH_SAVING = 64  # tokens: less is read again faster than it is fetched
_WORTH_COPYING = 32  # cells: a copy may take the whole memory of a sequence


@dataclass(eq=False, slots=True)
class Sequence:
    """One sequence: ``cells`` were read and stand before ``position``.

    While ``busy``, ``claimed`` tokens of the memory are set apart for it. ``tenant`` is None when
    it is nobody's: empty, or being answered after its tenant was forgotten.
    """

    id: int
    tenant: str | None = None
    cells: list[Cell] = field(default_factory=list)
    position: int = 0
    tokens: int = 0
    busy: bool = False
    claimed: int = 0
    used: int = 0

    def extend(self, cells: Several[Cell]) -> None:
        """Note that these cells were read."""
        self.cells.extend(cells)
        self.position += positions_of(cells)
        self.tokens += tokens_of(cells)

    def keep(self, count: int) -> None:
        """Note that only the first ``count`` cells are left."""
        gone = self.cells[count:]
        del self.cells[count:]
        self.position -= positions_of(gone)
        self.tokens -= tokens_of(gone)


def shared_prefix(one: Several[Cell], other: Several[Cell]) -> int:
    """Return how many cells at the beginning are the same, by bisection on slices."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Sequences:
    """The sequences of one model; from one thread at a time."""

    def __init__(self, native: Native, aside: Kept) -> None:
        self._native, self._aside = native, aside
        self._kv_tokens = native.kv_tokens
        self._all = [Sequence(n) for n in range(native.sequences)]
        self._saved: dict[str, dict[str, list[Cell]]] = {}
        self._clock = 0

    def take(self, tenant: str, cells: list[Cell], need: int) -> tuple[Sequence, int] | None:
        """Return a sequence for a prompt, and how many of its cells stand there already.

        ``need``: tokens of the prompt and its answer. None when nothing is free now. At least the
        last cell is left to read, because the answer follows from it.
        """
        free = [s for s in self._all if not s.busy]
        busy = sum(s.claimed for s in self._all if s.busy)
        if not free or busy + need > self._kv_tokens:
            return None
        prompt = cells[:-1]
        source, shared = self._best(tenant, prompt)
        name, saved = self._best_saved(tenant, prompt)
        if saved > shared + _WORTH_SAVING:
            self._fetch(tenant, name, free)
            source, shared = self._best(tenant, prompt)
        target = self._target(source, shared, free)
        known = self._begin(target, source, shared, tenant)
        self._clock += 1
        target.busy, target.claimed, target.used = True, need, self._clock
        self._make_room(0)
        return target, known

    def give_back(self, sequence: Sequence) -> None:
        """Let a sequence rest with what it knows."""
        sequence.busy, sequence.claimed = False, 0
        if sequence.tenant is None:
            self.clear(sequence)

    def clear(self, sequence: Sequence) -> None:
        """Forget what a sequence knows."""
        self._native.clear(sequence.id)
        sequence.keep(0)

    def rewind(self, sequence: Sequence) -> bool:
        """Forget what the last, unfinished step may have read; False when all had to be forgotten.

        What stands in ``cells`` was read in earlier steps.
        """
        if self._native.cut(sequence.id, sequence.position):
            return True
        self.clear(sequence)
        return False

    def drop_idle(self) -> bool:
        """Forget all that rests; False when there was nothing."""
        idle = [s for s in self._all if not s.busy and s.cells]
        for sequence in idle:
            self._put_aside(sequence)
            self.clear(sequence)
        return bool(idle)

    def save(self) -> None:
        """Put aside all that rests, on the disk too, the least used first."""
        for sequence in sorted(self._all, key=lambda s: s.used):
            if not sequence.busy:
                self._put_aside(sequence, to_disk=True)
                self._aside.flush()  # more than a few may not wait to be written

    def forget(self, tenant: str) -> None:
        """Forget what was read for a tenant; what is being answered is nobody's from now on."""
        for sequence in self._all:
            if sequence.tenant == tenant:
                sequence.tenant = None
                if not sequence.busy:
                    self.clear(sequence)
        self._aside.forget(tenant)
        self._saved.pop(tenant, None)

    @property
    def tokens(self) -> int:
        """Tokens in the memory, shared ones counted as often as they are used."""
        return sum(s.tokens for s in self._all)

    # choosing

    def _best(self, tenant: str, prompt: list[Cell]) -> tuple[Sequence | None, int]:
        best: Sequence | None = None
        most = 0
        for sequence in self._all:
            if sequence.tenant != tenant:
                continue
            shared = shared_prefix(sequence.cells, prompt)
            if not self._native.cuts and (shared != len(sequence.cells) or sequence.busy):
                continue
            if shared > most or (shared == most and best is not None and best.busy):
                best, most = sequence, shared
        return (best, most) if most else (None, 0)

    def _best_saved(self, tenant: str, prompt: list[Cell]) -> tuple[str, int]:
        best, most = "", 0
        for name, cells in self._known(tenant).items():
            shared = shared_prefix(cells, prompt)
            if shared > most and (self._native.cuts or shared == len(cells)):
                best, most = name, shared
        return best, most

    def _target(self, source: Sequence | None, shared: int, free: list[Sequence]) -> Sequence:
        """Return the source when the prompt goes on with what it holds; else the least used.

        A sequence that shares no more than its beginning (the system prompt, say) is left to whom
        it belongs, and copied from; so is one of which anything of worth would be lost, while
        there are empty ones.
        """
        others = sorted((s for s in free if s is not source), key=lambda s: (bool(s.cells), s.used))
        if source is None or source.busy or not others:
            return others[0] if others else free[0]
        lost = tokens_of(source.cells[shared:])
        if 2 * shared < len(source.cells) or (lost >= _WORTH_SAVING and not others[0].cells):
            return others[0]
        return source

    def _begin(self, target: Sequence, source: Sequence | None, shared: int, tenant: str) -> int:
        """Make ``target`` begin with the shared cells; return how many it has."""
        if target is source:
            if 2 * shared < len(target.cells):
                self._put_aside(target)
            target.keep(shared)
            return shared if self.rewind(target) else 0
        if target.cells:
            self._put_aside(target)
        self.clear(target)
        target.tenant = tenant
        if source is None or shared < _WORTH_COPYING:
            return 0
        self._native.copy(source.id, target.id)
        target.extend(source.cells[:shared])
        return shared if self.rewind(target) else 0

    def _make_room(self, more: int) -> bool:
        """Empty the least used until ``more`` tokens fit; False when they cannot."""
        idle = sorted((s for s in self._all if not s.busy and s.cells), key=lambda s: s.used)
        busy = sum(s.claimed for s in self._all if s.busy)
        resting = sum(s.tokens for s in idle)
        for sequence in idle:
            if busy + resting + more <= self._kv_tokens:
                return True
            resting -= sequence.tokens
            self._put_aside(sequence)
            self.clear(sequence)
        return busy + more <= self._kv_tokens

    # states that were put aside

    def _put_aside(self, sequence: Sequence, *, to_disk: bool = False) -> None:
        if sequence.tokens < _WORTH_SAVING or sequence.tenant is None:
            return
        state = self._native.save(sequence.id)
        if not state:
            return
        cells = json.dumps([_as_json(c) for c in sequence.cells]).encode()
        name = hashlib.sha256(cells).hexdigest()
        for kind, blob in (("c", cells), ("s", state)):
            self._aside.put(sequence.tenant, kind + name, blob, to_disk=to_disk)
        self._saved.setdefault(sequence.tenant, {})[name] = list(sequence.cells)
        for tenant, saved in list(self._saved.items()):  # those that had to make room for it
            for old in [n for n in saved if not self._aside.has(tenant, "s" + n)]:
                del saved[old]
            if not saved:
                del self._saved[tenant]

    def _known(self, tenant: str) -> dict[str, list[Cell]]:
        """Return the cells of the tenant's states that were put aside, by name."""
        if tenant in self._saved:
            return self._saved[tenant]
        found = {}
        for name in self._aside.names(tenant):
            if name.startswith("c") and self._aside.has(tenant, "s" + name[1:]):
                blob = self._aside.get(tenant, name)
                if blob is not None:
                    found[name[1:]] = [_from_json(c) for c in json.loads(blob)]
        if found:  # of others nothing is noted: there may be very many
            self._saved[tenant] = found
        return found

    def _fetch(self, tenant: str, name: str, free: list[Sequence]) -> None:
        """Bring a state back into a free sequence; drop one that cannot be read."""
        state = self._aside.get(tenant, "s" + name)
        cells = self._saved[tenant][name]
        if state is not None:
            target = min(free, key=lambda s: (bool(s.cells), s.used))
            self._put_aside(target)
            self.clear(target)
            if not self._make_room(tokens_of(cells)):
                return
            if self._native.restore(target.id, state):
                target.tenant = tenant
                target.extend(cells)
                return
        self._saved.get(tenant, {}).pop(name, None)
        for kind in "cs":
            self._aside.drop(tenant, kind + name)


def _as_json(cell: Cell) -> int | list[str | int]:
    if isinstance(cell, Mark):
        return [cell.picture, cell.index, cell.tokens, cell.positions]
    return cell


def _from_json(cell: int | list[str | int]) -> Cell:
    if isinstance(cell, int):
        return cell
    picture, *numbers = cell
    return Mark(str(picture), *(int(n) for n in numbers))
