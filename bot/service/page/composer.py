"""Where a question is written: words, and pictures that are chosen, dropped or pasted.

Pictures come through NiceGUI's uploader, one request each, and wait in the tab until they are sent.
Knows nothing of answers.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from nicegui import events, ui

from bot.service.http.problems import invalid
from bot.service.page.tab import Tab, Waiting
from bot.service.page.widgets import image, small_button, told
from retrievers.imaging import MAX_BYTES

if TYPE_CHECKING:
    from bot.service.page.talk import Talk

TYPES = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff"
#: Enter sends, with Shift it begins a line; not while a word is being composed
ON_ENTER = (
    "(e) => { if (!e.shiftKey && !e.isComposing) { e.preventDefault(); emit(e.target.value) } }"
)
#: Hands pasted or dropped files to the uploader UPLOADER
ON_FILES = (
    "(e) => { const f = (e.clipboardData || e.dataTransfer).files;"
    " if (f.length) { e.preventDefault(); getElement(UPLOADER).$refs.qRef.addFiles([...f]) } }"
)


class Composer:
    """The box at the foot of the page."""

    def __init__(self, tab: Tab, talk: "Talk") -> None:
        self._tab, self._talk = tab, talk
        self._pictures: list[Waiting] = []
        self._most = tab.state.bots.settings.pictures_per_turn
        self._coming = 0
        with ui.element("div").classes("composer") as box:
            self._row = ui.element("div").classes("thumbs")
            self._row.set_visibility(False)
            with ui.element("div").classes("line"):
                self._upload = ui.upload(
                    multiple=True, auto_upload=True, max_file_size=MAX_BYTES,
                    on_begin_upload=self._begin, on_upload=self._taken, on_rejected=self._rejected,
                )  # fmt: skip
                self._upload.props(f'accept="{TYPES}"').classes("hidden-upload")
                self._upload.props('aria-hidden="true"')
                add = small_button("add_photo_alternate", "Add pictures", self._choose)
                add.props("size=md")
                self._words = ui.textarea(placeholder="Ask something").classes("question")
                self._words.props('autogrow borderless dense autofocus aria-label="Question"')
                self._words.props('input-class="question-in"')
                self._words.props["maxlength"] = tab.state.bots.settings.question_chars
                self._send = ui.button(icon="arrow_upward", on_click=self.send)
                self._send.props('round unelevated dense aria-label="Send"').classes("send")
                self._stop = ui.button(icon="stop", on_click=talk.stop)
                self._stop.props('round unelevated dense aria-label="Stop"').classes("send")
                self._stop.set_visibility(False)
        self._words.on("keydown.enter", self._entered, js_handler=ON_ENTER)
        on_files = ON_FILES.replace("UPLOADER", str(self._upload.id))
        self._words.on("paste", js_handler=on_files)
        box.on("drop", js_handler=on_files)
        box.on("dragover", js_handler="(e) => e.preventDefault()")

    # pictures

    def _choose(self) -> None:
        self._upload.run_method("pickFiles")

    def _begin(self) -> None:
        self._coming += 1

    async def _taken(self, event: events.UploadEventArguments) -> None:
        try:
            if len(self._pictures) >= self._most:
                raise invalid("pictures", f"{self._most} in one turn are the most")
            if event.file.size() > MAX_BYTES:
                raise invalid("pictures", f"a picture has {MAX_BYTES:,} bytes at most")
            kept = await self._tab.keep(await event.file.read(), event.file.name)
            if len(self._pictures) < self._most:
                self._pictures.append(kept)
        except Exception as error:
            ui.notify(told(error), type="negative", position="top")
        finally:
            self._coming -= 1
            self._upload.reset()
            self._show()

    def _rejected(self) -> None:
        ui.notify(
            f"Only pictures of {MAX_BYTES >> 20} MB at most: PNG, JPEG, WebP, GIF, BMP, TIFF",
            type="negative", position="top",
        )  # fmt: skip

    def _show(self) -> None:
        self._row.clear()
        self._row.set_visibility(bool(self._pictures))
        with self._row:
            for at, waiting in enumerate(self._pictures):
                with ui.element("figure").classes("thumb"):
                    image(waiting.shown, f"Picture {at + 1} to be sent")
                    small_button("close", f"Remove picture {at + 1}", partial(self._remove, at))

    def _remove(self, at: int) -> None:
        del self._pictures[at : at + 1]
        self._show()

    # sending

    def _entered(self, event: Any) -> None:
        if isinstance(event.args, str):
            self._words.set_value(event.args)
        self.send()

    def send(self) -> None:
        """Ask what was written, with the pictures."""
        text = str(self._words.value or "").strip()
        if self._talk.busy or not (text or self._pictures):
            return
        if self._coming > 0:
            ui.notify("A picture is still on its way", position="top")
            return
        pictures, self._pictures = self._pictures, []
        self._words.set_value("")
        self._show()
        self._talk.ask(text, pictures)

    def set_busy(self, busy: bool) -> None:
        """Show what can be done: send, or stop."""
        self._send.set_visibility(not busy)
        self._stop.set_visibility(busy)
