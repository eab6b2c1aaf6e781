"""Small parts that several parts of the page are made of. Knows nothing of turns."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui

from bot.service.http.problems import problem_of
from bot.show import plain


async def guarded(work: Callable[[], Awaitable[Any]]) -> Any:
    """Do ``work``; what goes wrong is told in a line."""
    try:
        return await work()
    except Exception as error:
        ui.notify(told(error), type="negative", position="top")
        return None


def told(error: BaseException) -> str:
    """Return what a person is told of an error."""
    return plain(problem_of(error).detail)


def small_button(icon: str, label: str, on_click: Callable[..., Any]) -> ui.button:
    """Make a button that is only a picture, with words for those who cannot see it."""
    button = ui.button(icon=icon, on_click=on_click, color=None).classes("small")
    return button.props(f'flat round dense size=sm aria-label="{label}"').tooltip(label)


def image(address: str, alt: str, on_click: Callable[..., Any] | None = None) -> ui.element:
    """Show a picture that was drawn here; with ``on_click`` it can be opened."""
    made = ui.element("img")
    made.props["src"], made.props["alt"] = address, plain(alt)
    if on_click is not None:
        made.props["tabindex"], made.props["role"] = 0, "button"
        made.on("click", on_click, args=[]).on("keydown.enter", on_click, args=[])
    return made


@contextmanager
def card(title: str, name: str = "card") -> Iterator[ui.dialog]:
    """Open a dialog with a title and a button that closes it; it is gone when it is closed."""
    with ui.dialog() as dialog, ui.card().classes(name):
        dialog.on("hide", dialog.delete)
        with ui.row().classes("cardhead"):
            ui.label(plain(title)).classes("heading")
            ui.space()
            small_button("close", "Close", dialog.close)
        yield dialog
    dialog.open()


async def confirmed(question: str, label: str) -> bool:
    """Ask whether something is meant."""
    with ui.dialog() as dialog, ui.card().classes("card"):
        ui.label(question)
        with ui.row().classes("buttons"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            ui.button(label, on_click=lambda: dialog.submit(True)).props("no-caps color=negative")
    answer = await dialog
    dialog.delete()
    return bool(answer)
