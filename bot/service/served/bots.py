"""The bots of a service: one for each tenant and library, over shared encoders, model and Redis.

Knows nothing of HTTP, nor of who may use which library.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bot.build import Engines, Shelf, assemble, open_shared, open_shelf
from bot.compose import Prompts
from bot.errors import AccessError
from bot.service.access.rights import check_name
from bot.service.served.bot import ServedBot
from bot.service.served.names import LibraryNames
from bot.settings import Settings
from memory.redis_history import RedisHistory
from retrievers.errors import LibraryNotFound
from retrievers.library import Library
from retrievers.library_schema import FILE

DEFAULT = "default"  #: the library of the setting ``library``


class Bots:
    """Opens bots when they are first asked for, and keeps them. Made by :meth:`open`."""

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        prompts: Prompts,
        history: RedisHistory,
        stack: AsyncExitStack,
    ) -> None:
        self.settings = settings
        self.engines = engines
        self.history = history
        self._prompts = prompts
        self._stack = stack
        self._shelves: dict[str, Shelf] = {}
        self._histories = {settings.tenant: history}
        self._names: dict[str, LibraryNames] = {}
        self._bots: dict[tuple[str, str], ServedBot] = {}
        self._opening = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["Bots"]:
        """Load what all bots share, and the library ``default``, which is made if there is none.

        Raises one of ``bot.errors.KNOWN_ERRORS``, in one line.
        """
        async with AsyncExitStack() as stack:
            library = stack.enter_context(Library.open(settings.library, create=True))
            prompts, engines, shelf, history = await open_shared(settings, stack, library)
            bots = cls(settings, engines, prompts, history, stack)
            bots._shelves[DEFAULT] = shelf
            yield bots

    def libraries(self) -> list[str]:
        """Return the names of all libraries, ``default`` first. Reads a folder: work for a
        thread."""
        root = self.settings.serve.libraries
        found = [p.name for p in root.iterdir() if self._is_there(p.name)] if root.is_dir() else []
        return [DEFAULT, *sorted(name for name in found if name != DEFAULT)]

    def folder(self, name: str) -> Path:
        """Return the folder of a library, which need not be there; ``LibraryNotFound`` for what is
        no name."""
        if name == DEFAULT:
            return self.settings.library
        try:
            return self.settings.serve.libraries / check_name(name, "library")
        except AccessError:
            raise LibraryNotFound(f"there is no library {name!r}") from None

    def _is_there(self, name: str) -> bool:
        try:
            return (self.folder(name) / FILE).is_file()
        except LibraryNotFound:
            return False

    async def create(self, name: str) -> None:
        """Make an empty library; does nothing when it is there."""
        async with self._opening:
            if name not in self._shelves:
                self._shelves[name] = await self._open_shelf(name, create=True)

    async def shelf(self, name: str) -> Shelf:
        """Return a library with its retrievers; ``LibraryNotFound`` when there is none."""
        if (shelf := self._shelves.get(name)) is not None:
            return shelf
        async with self._opening:
            if name not in self._shelves:
                if not await asyncio.to_thread(self._is_there, name):
                    raise LibraryNotFound(f"there is no library {name!r}")
                self._shelves[name] = await self._open_shelf(name, create=False)
            return self._shelves[name]

    async def _open_shelf(self, name: str, *, create: bool) -> Shelf:
        def opened() -> Shelf:
            library = Library.open(self.folder(name), create=create)
            try:
                return open_shelf(self.settings, library, self.engines)
            except BaseException:
                library.close()
                raise

        shelf = await asyncio.to_thread(opened)
        self._stack.callback(shelf.library.close)
        return shelf

    async def names(self, name: str) -> LibraryNames:
        """Return what the sources of a library are called; ``LibraryNotFound`` when there is
        none."""
        library = (await self.shelf(name)).library
        return self._names.setdefault(name, LibraryNames(library))

    def history_of(self, tenant: str) -> RedisHistory:
        """Return a tenant's conversations."""
        if tenant not in self._histories:
            self._histories[tenant] = self.history.for_tenant(tenant)
        return self._histories[tenant]

    async def bot(self, tenant: str, library: str) -> ServedBot:
        """Return a tenant's bot over a library; ``LibraryNotFound`` when there is none."""
        if (bot := self._bots.get((tenant, library))) is not None:
            return bot
        shelf = await self.shelf(library)
        if (tenant, library) not in self._bots:
            settings = self.settings.model_copy(
                update={"tenant": tenant, "library": self.folder(library)}
            )
            model = self.engines.model
            if hasattr(model, "for_tenant"):  # nothing that was read for one serves another
                model = model.for_tenant(tenant)
            parts = assemble(
                settings,
                self._prompts,
                replace(self.engines, model=model),
                shelf,
                self.history_of(tenant),
                self._stack,
            )
            self._bots[tenant, library] = ServedBot(parts, await self.names(library))
        return self._bots[tenant, library]
