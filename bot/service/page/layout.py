"""The page itself: header, list of conversations, talk, composer; and NiceGUI set up once.

Knows nothing of how any part works.
"""

from contextlib import suppress
from functools import partial
from importlib.resources import files

from fastapi import FastAPI
from nicegui import Client, app, ui
from starlette.requests import Request
from starlette.responses import Response

from bot.service.http.problems import not_found, problem_of
from bot.service.page.composer import Composer
from bot.service.page.conversations import ConversationList
from bot.service.page.library import upload_dialog
from bot.service.page.mounting import visit_of
from bot.service.page.tab import Tab
from bot.service.page.talk import Talk
from bot.service.page.widgets import guarded

NARROW = 820  #: pixels below which the drawer covers the talk
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" '
    'rx="8" fill="#2f5d62"/><circle cx="11" cy="17" r="6" fill="none" stroke="#fff" '
    'stroke-width="2.4"/><circle cx="21" cy="17" r="6" fill="none" stroke="#fff" '
    'stroke-width="2.4"/></svg>'
)


def nicegui_app() -> FastAPI:
    """Return an application that NiceGUI is mounted in; once for a process."""
    style = files("bot.service.page").joinpath("style.css").read_text(encoding="utf-8")
    ui.add_css(style, shared=True)
    ui.page("/")(page)
    app.config.socket_io_js_transports = ["websocket"]  # polling would need the same process, too
    host = FastAPI()
    ui.run_with(
        host,
        title="Bifocal",
        favicon=ICON,
        dark=None,  # as the system is
        language="en-US",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=5.0,
        message_history_length=200,
        show_welcome_message=False,
    )
    app.add_exception_handler(404, _absent)
    app.add_exception_handler(Exception, _failed)
    return host


async def _absent(request: Request, error: Exception) -> Response:
    return not_found("address").response(request.state.request_id)


async def _failed(request: Request, error: Exception) -> Response:
    return problem_of(error).response(request.state.request_id)


async def page(request: Request, client: Client) -> None:
    """Build the page of one tab."""
    visit = visit_of(request)
    tab = Tab(visit.state, visit.cookie)
    ui.colors(primary="#2f5d62", secondary="#5b8a72", accent="#b4582f")
    with ui.header(elevated=False).classes("top") as header:
        menu = _icon("menu", "Conversations")
        title = ui.label("Bifocal").classes("title")
        ui.space()
        libraries = await tab.libraries()
        access = await tab.access()
        pick = ui.select(libraries, value=tab.library if tab.library in libraries else None)
        pick.props("dense borderless options-dense label=Library").classes("pick")
        pick.set_visibility(len(libraries) > 1)
        add = _icon("library_add", "Add files to the library")
        add.set_visibility(any(access.may_write(name) for name in libraries))
        add.on_click(partial(guarded, partial(upload_dialog, tab)))
        if visit.state.keys is not None:
            with ui.element("form").props('method="post" action="/sign-out"'):
                _icon("logout", "Sign out").props('type="submit"')
    header.props('role="banner"')
    if tab.library not in libraries and libraries:
        tab.library = libraries[0]
        pick.set_value(tab.library)
    with (
        ui.left_drawer(bordered=True, bottom_corner=True)
        .props(f"width=290 breakpoint={NARROW}")
        .classes("side") as drawer
    ):
        listed = ConversationList(tab)
    menu.on_click(drawer.toggle)
    talk = Talk(tab, listed, title)
    with ui.footer().classes("bottom"):
        composer = Composer(tab, talk)

    async def make_room() -> None:
        with suppress(TimeoutError):  # a browser too busy to say keeps its drawer open
            if await ui.run_javascript(f"window.innerWidth < {NARROW}", timeout=5.0):
                drawer.hide()

    talk.composer = composer
    listed.talk, listed.make_room = talk, make_room
    pick.on_value_change(lambda event: setattr(tab, "library", str(event.value)))
    client.on_delete(talk.leave)
    await guarded(listed.show)
    if wanted := request.query_params.get("c"):
        await guarded(partial(talk.open, wanted))
        await guarded(listed.show)  # which of them is open


def _icon(name: str, label: str) -> ui.button:
    button = ui.button(icon=name).props(f'flat round dense color=inherit aria-label="{label}"')
    return button.tooltip(label)
