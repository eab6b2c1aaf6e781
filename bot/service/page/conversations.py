"""The list of conversations: found, opened, named, forgotten.

Knows nothing of what is in them.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from bot.service.page.tab import Tab
from bot.service.page.widgets import confirmed, guarded, small_button
from bot.show import plain
from memory.messages import Summary

if TYPE_CHECKING:
    from bot.service.page.talk import Talk

TITLE = 200  #: characters of a title


class ConversationList:
    """The drawer at the side."""

    talk: "Talk"
    make_room: Callable[[], Awaitable[None]]  #: closes the drawer where it covers the talk

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._titles: dict[str, str] = {}
        new = ui.button("New conversation", icon="add", on_click=self._new)
        new.props("unelevated no-caps").classes("new")
        self._words = ui.input(placeholder="Search").props(
            'dense outlined clearable debounce=300 aria-label="Search conversations"'
        )
        self._words.classes("search").on_value_change(lambda: guarded(self.show))
        self._list = ui.element("nav").classes("list").props('aria-label="Conversations"')

    def title_of(self, name: str) -> str:
        """Return what a conversation is called in the list."""
        return self._titles.get(name, "Conversation")

    async def show(self) -> None:
        """Show the list as it is now."""
        found = await self._tab.conversations(str(self._words.value or ""))
        self._titles = {one.id: plain(one.title).replace("\n", " ")[:TITLE] for one in found}
        self._list.clear()
        with self._list:
            if not found:
                ui.label("No conversations" if not self._words.value else "Nothing found").classes(
                    "hint"
                )
            for one in found:
                self._line(one)

    def _line(self, one: Summary) -> None:
        chosen = one.id == self._tab.conversation
        title = self._titles[one.id] or "(pictures)"
        with ui.element("div").classes("entry chosen" if chosen else "entry"):
            button = ui.element("button").props('type="button"').classes("name")
            button.on("click", partial(self._open, one.id), args=[])
            if chosen:
                button.props('aria-current="true"')
            with button:
                ui.label(title)
            with (
                small_button("more_vert", "More about this conversation", lambda: None),
                ui.menu(),
            ):
                ui.menu_item("Rename", partial(self._rename, one.id, title))
                ui.menu_item("Forget", partial(self._forget, one.id, title))

    async def _new(self) -> None:
        await self.make_room()
        self.talk.clear()
        await guarded(self.show)

    async def _open(self, name: str) -> None:
        await self.make_room()
        await guarded(partial(self.talk.open, name))
        await guarded(self.show)

    async def _rename(self, name: str, title: str) -> None:
        with ui.dialog() as dialog, ui.card().classes("card"):
            ui.label("Rename").classes("heading")
            words = ui.input(value=title).props(f"outlined autofocus maxlength={TITLE}")
            words.props('aria-label="Title"').classes("wide")
            words.on("keydown.enter", lambda: dialog.submit(words.value), args=[])
            with ui.row().classes("buttons"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Rename", on_click=lambda: dialog.submit(words.value)).props("no-caps")
        given = await dialog
        dialog.delete()
        if given and str(given).strip():
            wanted = str(given).strip()[:TITLE]
            await guarded(partial(self._tab.rename, name, wanted))
            await guarded(self.show)

    async def _forget(self, name: str, title: str) -> None:
        question = f"Forget “{title[:80]}”, with its pictures? This cannot be undone."
        if not await confirmed(question, "Forget"):
            return
        if name == self._tab.conversation:
            self.talk.clear()
        await guarded(partial(self._tab.forget, name))
        await guarded(self.show)
