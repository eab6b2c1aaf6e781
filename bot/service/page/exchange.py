"""A question and its answer on the page: as it comes, as it was stored, what can be done with it.

Knows nothing of the turns beside it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from nicegui import background_tasks, ui

from bot.events import Answer, Citation, Done, Event, Notice, Token
from bot.service.http.problems import Problem
from bot.service.page.drawing import SMALL
from bot.service.page.evidence import cited_picture, open_citation, open_picture, open_why
from bot.service.page.rendering import safe_html
from bot.service.page.tab import Tab
from bot.service.page.widgets import confirmed, guarded, image, small_button, told
from bot.show import plain, where
from memory.messages import Turn

if TYPE_CHECKING:
    from bot.service.page.talk import Talk

OFTEN = 0.05  #: seconds between two renderings of an answer that comes, at least
PICTURES = 4  #: cited pictures that an answer shows; the others open from their marks
#: A click on a mark tells which; anything else in an answer does nothing
ON_MARK = "(e) => { const m = e.target.closest('[data-mark]'); if (m) emit(m.dataset.mark) }"


class Exchange:
    """A question and its answer, as shown."""

    def __init__(self, talk: "Talk") -> None:
        self._talk = talk
        self.turn = ""
        self.again: Callable[[], None] = lambda: None
        self.answer: Answer | None = None
        self._text = ""
        self._question = ""
        self._notices: list[str] = []
        self._rendered = 0.0  #: when, and for how long
        self._cost = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._thumbs: list[Thumb] = []
        self._bubble: ui.label | None = None
        self._rated: str | None = None
        with ui.element("article").classes("exchange") as self.root:
            self._asked = ui.element("div").classes("asked")
            self._waits = ui.element("div").classes("waits").props('aria-label="Answering"')
            with self._waits:
                ui.spinner("dots", size="1.6rem")
            self._waits.set_visibility(False)
            self._words = (
                ui.html("").classes("words").on("click", self._on_mark, js_handler=ON_MARK)
            )
            self._sources = ui.element("div").classes("sources")
            self._pictures = ui.element("div").classes("pictures")
            self._notes = ui.element("div").classes("notes")
            self._trouble = ui.element("div").classes("trouble").props('role="alert"')
            self._actions = ui.element("div").classes("actions")

    # the question

    def show_question(self, text: str, pictures: Sequence[tuple[int | None, str]]) -> None:
        """Show what was asked, with its pictures and their numbers."""
        self._question = text
        self._asked.clear()
        with self._asked:
            if pictures:
                with ui.element("div").classes("thumbs"):
                    self._thumbs = [Thumb(self._talk.tab, n, drawn) for n, drawn in pictures]
            self._bubble = ui.label(plain(text)).classes("bubble") if text else None

    def show_words(self, text: str) -> None:
        """Show other words in place of the question's."""
        self._question = text
        if self._bubble is not None:
            self._bubble.set_text(plain(text))

    # the answer

    def begin(self) -> None:
        """Make room for an answer that is about to come."""
        self._text, self._notices, self.answer = "", [], None
        for part in (self._sources, self._pictures, self._notes, self._trouble, self._actions):
            part.clear()
        self._words.set_content("")
        self._waits.set_visibility(True)

    def take(self, event: Event) -> None:
        """Show an event of the turn."""
        if isinstance(event, Token):
            first = not self._text
            self._text += event.text
            if first:
                self._waits.set_visibility(False)
            self._render_soon()
        elif isinstance(event, Notice):
            self._note(event.text)
        elif isinstance(event, Done):
            self.answer = event.answer
            self.turn = event.answer.turn

    def _render_soon(self) -> None:
        """Render at once, or as soon as it is not too often."""
        if self._later is not None:
            return
        now = time.monotonic()
        due = self._rendered + max(OFTEN, 4 * self._cost)
        if now >= due:
            self._render()
        else:
            self._later = asyncio.get_running_loop().call_later(due - now, self._render)

    def _render(self) -> None:
        self._later = None
        if self._words.is_deleted:
            return
        began = time.monotonic()
        marks = {c.mark for c in self.answer.citations} if self.answer else ()
        self._words.set_content(safe_html(self._text, marks))
        self._rendered = time.monotonic()
        self._cost = self._rendered - began

    def _note(self, text: str) -> None:
        self._notices.append(text)
        with self._notes:
            ui.label(plain(text)).classes("note")

    def _settle(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._waits.set_visibility(False)

    def fail(self, text: str, *, again: bool) -> None:
        """Say in a line why there is no answer, or no more of it."""
        if self._trouble.is_deleted:
            return
        self._settle()
        self._trouble.clear()
        with self._trouble:
            ui.label("Stopped; nothing was saved." if text == "stopped" else text)
            if again:
                ui.button("Try again", on_click=lambda: self._retry()).props("flat dense no-caps")

    def _retry(self) -> None:
        if not self._talk.busy:
            self.again()

    async def complete(self) -> None:
        """Show what belongs to a whole answer: its sources, and what can be done with it."""
        self._settle()
        answer = self.answer
        if answer is None:
            raise Problem(500, "internal", "the turn ended without an answer; ask again")
        self._text = answer.text
        self._render()
        told_already = set(self._notices)
        for text in answer.notices:
            if text not in told_already:
                self._note(text)
        await self._show_sources(answer)
        self._show_actions()
        await self._number_pictures()

    async def show(self, turn: Turn, pictures: Sequence[int]) -> None:
        """Show a stored turn."""
        self.turn = turn.id
        thumbs = []
        for number in pictures:
            try:
                thumbs.append((number, await self._talk.tab.picture(number, SMALL)))
            except Exception as error:
                self._note(f"picture {number}: {told(error)}")
        self.show_question(turn.question.text, thumbs)
        try:
            self.answer = await self._talk.tab.answer(turn)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._text = turn.answer.text
            self._render()
            return
        await self.complete()

    async def _number_pictures(self) -> None:
        """Give the pictures that were sent the numbers that the conversation gave them."""
        if all(thumb.number is not None for thumb in self._thumbs):
            return
        stored = await self._talk.tab.turn(self.turn)
        for thumb, number in zip(self._thumbs, stored.question.pictures, strict=False):
            thumb.name(number)

    async def _show_sources(self, answer: Answer) -> None:
        with self._sources:
            first = {c.mark: c for c in reversed(answer.citations)}
            for mark in sorted(first):
                self._chip(first[mark])
        shown: set[tuple[Any, ...]] = set()
        for citation in answer.citations:
            seen = (citation.media, citation.picture, citation.box)
            if citation.kind != "picture" or seen in shown or len(shown) >= PICTURES:
                continue
            shown.add(seen)
            try:
                address = await cited_picture(self._talk.tab, citation, SMALL)
            except Exception as error:
                self._note(f"[{citation.mark}]: {told(error)}")
                continue
            alt = f"Source {citation.mark}: {where(citation)}"
            with self._pictures:
                image(address, alt, partial(self._open, citation.mark)).classes("cited")

    def _chip(self, citation: Citation) -> None:
        chip = ui.element("button").classes("source").props('type="button"')
        chip.on("click", partial(self._open, citation.mark), args=[])
        with chip:
            ui.label(str(citation.mark)).classes("number")
            ui.label(where(citation)).classes("place")

    def _show_actions(self) -> None:
        self._actions.clear()
        with self._actions:
            self._up = small_button("thumb_up_off_alt", "Good answer", partial(self._rate, "up"))
            self._down = small_button(
                "thumb_down_off_alt", "Bad answer", partial(self._rate, "down")
            )
            small_button("help_outline", "Why this answer", self._why)
            small_button("refresh", "Answer again", self._regenerate)
            small_button("edit", "Ask in other words", self._edit)
            small_button("delete_outline", "Delete this turn", self._delete)
        self._rated = None

    # what can be done

    async def _on_mark(self, event: Any) -> None:
        if str(event.args).isdigit():
            await self._open(int(str(event.args)[:3]))

    async def _open(self, mark: int) -> None:
        found = [c for c in self.answer.citations if c.mark == mark] if self.answer else []
        if found:
            await guarded(lambda: open_citation(self._talk.tab, found))

    async def _why(self) -> None:
        if self.answer is not None:
            answer = self.answer
            await guarded(lambda: open_why(self._talk.tab, answer))

    async def _rate(self, rating: Literal["up", "down"]) -> None:
        wanted = None if self._rated == rating else rating
        try:
            await self._talk.tab.rate(self.turn, wanted)
        except Exception as error:
            ui.notify(told(error), type="negative", position="top")
            return
        self._rated = wanted
        for button, name in ((self._up, "up"), (self._down, "down")):
            chosen = wanted == name
            button.props(f"icon=thumb_{name}{'' if chosen else '_off_alt'}")
            button.props(f'aria-pressed="{str(chosen).lower()}"')

    def _regenerate(self) -> None:
        self._talk.ask_again(self)

    def _edit(self) -> None:
        with ui.dialog() as dialog, ui.card().classes("card"):
            ui.label("Ask in other words").classes("heading")
            words = ui.textarea(value=self._question).props("outlined autogrow autofocus")
            words.props('aria-label="Question"').classes("wide")
            with ui.row().classes("buttons"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Ask", on_click=lambda: dialog.submit(words.value)).props("no-caps")

        async def wait() -> None:
            text = await dialog
            dialog.delete()
            if text and text.strip():
                self._talk.ask_again(self, text.strip())

        background_tasks.create(wait(), name="edit")

    async def _delete(self) -> None:
        if await confirmed("Delete this question and its answer?", "Delete"):
            try:
                await self._talk.tab.delete_turn(self.turn)
            except Exception as error:
                ui.notify(told(error), type="negative", position="top")
                return
            self.root.delete()


class Thumb:
    """A picture of a question; it is opened by its number, once it has one."""

    def __init__(self, tab: Tab, number: int | None, address: str) -> None:
        self._tab, self.number = tab, number
        with ui.element("figure").classes("thumb"):
            self._image = image(address, _called(number), self._open)
            self._label = ui.label(str(number or "")).classes("number")

    def name(self, number: int) -> None:
        """Give it its number."""
        self.number = number
        self._label.set_text(str(number))
        self._image.props["alt"] = _called(number)

    async def _open(self) -> None:
        if (number := self.number) is not None:
            await guarded(lambda: open_picture(self._tab, number))


def _called(number: int | None) -> str:
    return f"Picture {number}" if number is not None else "Picture of this question"
