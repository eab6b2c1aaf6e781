"""The conversation on the page: turns begun, one at a time, and ended with their tab.

Knows nothing of how a question is written (``composer``) or an exchange shown (``exchange``).
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from nicegui import background_tasks, ui

from bot.events import Event
from bot.service.page.exchange import Exchange
from bot.service.page.tab import Tab, Waiting
from bot.service.page.widgets import told

if TYPE_CHECKING:
    from bot.service.page.composer import Composer
    from bot.service.page.conversations import ConversationList

MOST = 60  #: exchanges that a tab shows; the first ones go


class Talk:
    """A conversation on the page; one turn at a time."""

    composer: "Composer"

    def __init__(self, tab: Tab, listed: "ConversationList", title: ui.label) -> None:
        self.tab, self._listed, self._title = tab, listed, title
        self._task: asyncio.Task[None] | None = None
        with ui.element("main").classes("talk") as self.root:
            self.empty = _welcome()
            self._column = ui.element("div").classes("turns").props('role="log" aria-live="polite"')
            self._column.props('aria-label="Conversation"')

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._task is not None and not self._task.done()

    def ask(self, text: str, pictures: Sequence[Waiting]) -> None:
        """Ask a question in this conversation."""
        exchange = self._exchange()
        exchange.show_question(text, [(None, one.shown) for one in pictures])
        self._run(exchange, lambda: self.tab.ask(text, pictures))

    def ask_again(self, exchange: Exchange, text: str | None = None) -> None:
        """Answer a turn again, in other words if there are any."""
        if self.busy or not exchange.turn:
            return
        turn = exchange.turn
        if text is not None:
            exchange.show_words(text)
        self._run(exchange, lambda: self.tab.ask_again(turn, text))

    def _run(
        self, exchange: Exchange, begin: Callable[[], Awaitable[AsyncGenerator[Event, None]]]
    ) -> None:
        self.empty.set_visibility(False)
        self.composer.set_busy(True)
        exchange.again = lambda: self._run(exchange, begin)
        self._task = background_tasks.create(self._answer(exchange, begin), name="turn")

    async def _answer(
        self, exchange: Exchange, begin: Callable[[], Awaitable[AsyncGenerator[Event, None]]]
    ) -> None:
        me = asyncio.current_task()
        cut = asyncio.create_task(self.tab.state.cut.wait())
        cut.add_done_callback(lambda done: me.cancel() if me and not done.cancelled() else None)
        with self.root:
            exchange.begin()
            self._to_end()
            try:
                async with aclosing(await begin()) as events:
                    async for event in events:
                        exchange.take(event)
                await exchange.complete()
                await self._listed.show()
                self._name()
            except asyncio.CancelledError:
                if not self.root.is_deleted:
                    exchange.fail("stopped", again=not self.tab.state.cut.is_set())
            except Exception as error:
                exchange.fail(told(error), again=True)
            finally:
                cut.cancel()
                if not self.root.is_deleted:
                    self.composer.set_busy(False)

    def stop(self) -> None:
        """End the turn under way."""
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """End everything: the tab is gone."""
        self.stop()

    def clear(self) -> None:
        """Begin a new conversation."""
        self.stop()
        self.tab.conversation = None
        self._column.clear()
        self.empty.set_visibility(True)
        self._title.set_text("Bifocal")
        self._address()

    async def open(self, name: str) -> None:
        """Show a conversation that there is."""
        self.stop()
        conversation = await self.tab.opened(name)
        self._address()
        self._column.clear()
        self.empty.set_visibility(False)
        self._title.set_text(self._listed.title_of(name))
        if conversation.total > len(conversation.turns):
            with self._column:
                shown = f"The last {len(conversation.turns)} of {conversation.total} turns"
                ui.label(shown).classes("hint")
        known = {ref.number for ref in conversation.pictures}
        for turn in conversation.turns:
            exchange = self._exchange()
            await exchange.show(turn, [n for n in turn.question.pictures if n in known])
        self._to_end()

    def _exchange(self) -> Exchange:
        while len(self._column.default_slot.children) >= MOST:
            self._column.remove(0)
        with self._column:
            return Exchange(self)

    def _name(self) -> None:
        if self._title.text == "Bifocal" and self.tab.conversation:
            self._title.set_text(self._listed.title_of(self.tab.conversation))
            self._address()

    def _address(self) -> None:
        """Put the conversation into the address, so that loading the page again shows it."""
        name = json.dumps(self.tab.conversation or "").replace("<", "\\u003c")
        with self.root:
            ui.run_javascript(
                f"history.replaceState(null, '', {name} ? '/?c=' + encodeURIComponent({name})"
                " : '/')"
            )

    def _to_end(self) -> None:
        ui.run_javascript("window.scrollTo({top: document.body.scrollHeight})")


def _welcome() -> ui.element:
    with ui.element("section").classes("welcome") as made:
        ui.html("<h1>What would you like to know?</h1>", sanitize=False)
        ui.label(
            "Ask about the documents and pictures of your library. Drop or paste pictures to ask"
            " about them. Every answer shows what it rests on."
        )
    return made
