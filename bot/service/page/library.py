"""Uploads into a library from the page: files are kept, a job takes them in, its progress is shown.

Knows nothing of how files are taken in.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from nicegui import background_tasks, events, ui
from nicegui.elements.upload_files import FileUpload
from starlette.datastructures import UploadFile

from bot.service.http.bodies import FILES
from bot.service.http.problems import Problem, invalid
from bot.service.ingestion.jobs import TooMany
from bot.service.ingestion.upload_files import clean_name, keep
from bot.service.page.tab import Tab
from bot.service.page.widgets import card, told
from bot.show import plain
from retrievers.ingest.kinds import known


class _Pieces:
    """A file of NiceGUI's uploader as :func:`keep` reads one."""

    def __init__(self, file: FileUpload) -> None:
        self._pieces: AsyncIterator[bytes] = file.iterate()

    async def read(self, size: int = -1) -> bytes:
        return await anext(self._pieces, b"")


async def upload_dialog(tab: Tab) -> None:
    """Open the dialog that takes files for the tab's library."""
    await tab.writable()
    most = tab.state.settings.serve.upload_bytes
    with card(f"Add files to “{tab.library}”"):
        ui.label(f"Files are read here: {known()}.").classes("hint")
        shown = ui.element("div").classes("progress").props('aria-live="polite"')

        async def taken(event: events.MultiUploadEventArguments) -> None:
            upload.reset()
            try:
                job = await _submit(tab, event.files)
            except Exception as error:
                ui.notify(told(error), type="negative", position="top")
                return
            background_tasks.create(_follow(tab, job, shown), name="follow job")

        upload = ui.upload(
            multiple=True, auto_upload=True, on_multi_upload=taken,
            max_total_size=most, max_files=FILES,
            on_rejected=lambda: ui.notify(
                f"At most {FILES} files, of {most >> 20} MB in all",
                type="negative", position="top",
            ),
            label="Drop files here, or choose them with +",
        )  # fmt: skip
        upload.props('flat bordered aria-label="Files for the library"').classes("wide")
        upload.move(target_index=1)


async def _submit(tab: Tab, files: list[Any]) -> dict[str, Any]:
    """Put the files into the library's folder, and begin to take them in."""
    access, library = await tab.writable()
    if tab.state.admission.stopping:
        raise Problem(503, "stopping", "the service is stopping; ask again", retry_after=5)
    names = [clean_name(file.name) for file in files[:FILES]]
    if len(set(names)) < len(names):
        raise invalid("files", "two files would have the same name; rename one")
    try:
        tab.state.jobs.check()
        pairs = zip(files, names, strict=False)
        paths = [
            await keep(cast(UploadFile, _Pieces(file)), library.folder, name)
            for file, name in pairs
        ]
        job: dict[str, Any] = await tab.state.jobs.submit(
            access.tenant, tab.library, library, paths
        )
    except TooMany:
        told = "many uploads are being taken in; try again later"
        raise Problem(503, "overloaded", told) from None
    except OSError:
        raise Problem(503, "unavailable", "the files cannot be stored now") from None
    return job


async def _follow(tab: Tab, job: dict[str, Any], place: ui.element) -> None:
    """Show how far a job is until it is over, or nobody looks any more."""
    tenant = (await tab.access()).tenant
    if place.is_deleted:
        return
    with place:
        bar = ui.linear_progress(0.0, show_value=False).props(
            'aria-label="Progress" rounded instant-feedback'
        )
        line = ui.label("Waiting").classes("hint")
        lines = ui.element("ul").classes("files")
    async with aclosing(tab.state.jobs.watch(tenant, job["id"])) as steps:
        async for now in steps:
            if place.is_deleted:
                return
            bar.set_value(now["done"] / now["total"] if now["total"] else 0.0)
            line.set_text(_said(now))
            lines.clear()
            with lines:
                for file in now["files"]:
                    reason = f": {file['reason']}" if file["reason"] else ""
                    with ui.element("li").classes(file["state"]):
                        ui.label(plain(f"{file['name']} – {file['state']}{reason}"))
    if not place.is_deleted:
        bar.set_value(1.0)


def _said(job: dict[str, Any]) -> str:
    if job["state"] == "done":
        return f"Done: {job['passages']} passages, {job['pictures']} pictures"
    if job["ended"] is not None:
        return plain(f"{job['state'].capitalize()}: {job['reason']}")
    if not job["file"]:
        return "Waiting" if job["state"] == "queued" else "Reading"
    return plain(f"{job['done']} of {job['total']}: {job['file']}")
