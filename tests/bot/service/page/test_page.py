"""The web page, used in a real Chromium as people use it."""

import base64
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the web page needs the extra web")

TALL = "How tall is the lighthouse?"
WHY = '[aria-label="Why this answer"]'
#: Pastes a picture as a browser does
PASTE = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const items = new DataTransfer();
  items.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
  const box = document.querySelector("textarea");
  box.dispatchEvent(new ClipboardEvent("paste", {clipboardData: items, bubbles: true}));
}"""
DROP = PASTE.replace("ClipboardEvent", "DragEvent").replace(
    '"paste", {clipboardData: items', '"drop", {dataTransfer: items'
)


class Visitor:
    """A tab, and what a person does in it; what went wrong in the browser is noted."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.trouble: list[str] = []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.trouble.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.trouble.append(request.url)

    async def opens(self, path: str = "/") -> None:
        await self.page.goto(self.url + path)
        await self.page.wait_for_selector("textarea")

    async def asks(self, text: str) -> str:
        """Ask, and return the answer once it is whole."""
        before = await self.page.locator(WHY).count()
        await self.page.fill("textarea", text)
        await self.page.keyboard.press("Enter")
        await self.page.locator(WHY).nth(before).wait_for()
        return str(await self.page.locator(".words").nth(before).inner_text())

    async def closes(self) -> None:
        await self.page.click("[aria-label=Close]")
        await self.page.wait_for_selector("[aria-label=Close]", state="detached")


async def visits(browser: Any, served: Any, **kind: Any) -> Visitor:
    return Visitor(await (await browser.new_context(**kind)).new_page(), served.url)


async def test_an_answer_comes_and_its_mark_opens_the_passage(serve: Any, browser: Any) -> None:
    """A question is answered, its mark opens the passage with the quoted words marked, and nothing
    is asked of another host."""
    async with serve() as served:
        visitor = await visits(browser, served)
        await visitor.opens()
        assert "34 metres" in await visitor.asks(TALL)
        await visitor.page.click(".mark")
        assert "34 metres" in await visitor.page.inner_text(".passage.meant mark")
        await visitor.closes()
        await visitor.page.close()
    assert visitor.trouble == []


async def test_pictures_are_chosen_pasted_dropped_and_removed(
    serve: Any, browser: Any, demo_files: Path
) -> None:
    """Pictures come in three ways, one is removed, the others are sent with numbers that stay, and
    a cited picture opens with its box."""
    receipt = demo_files / "receipt-chandlery.png"
    data = base64.b64encode((demo_files / "map-of-skerrin.png").read_bytes()).decode()
    async with serve() as served:
        visitor = await visits(browser, served)
        page = visitor.page
        await visitor.opens()
        waiting = page.locator(".composer .thumb")
        await page.set_input_files(".composer input[type=file]", str(receipt))
        await waiting.nth(0).wait_for()
        await page.evaluate(PASTE, data)
        await waiting.nth(1).wait_for()
        await page.evaluate(DROP, data)
        await waiting.nth(2).wait_for()
        await page.click('[aria-label="Remove picture 3"]')
        await waiting.nth(2).wait_for(state="detached")
        await visitor.asks("What is the total of the receipt?")
        await page.wait_for_function(
            "[...document.querySelectorAll('.asked .number')].map(e => e.innerText).join() == '1,2'"
        )
        await page.locator("img.cited").first.click()
        await page.wait_for_selector("img.boxed")
        assert await page.evaluate("document.querySelector('img.boxed').naturalWidth") > 100
        await visitor.closes()
        await page.locator(".asked img").nth(1).click()
        await page.wait_for_selector('img[alt="Picture 2"].whole')
        await page.close()
    assert visitor.trouble == []


async def test_what_is_no_picture_is_refused_in_a_line(
    serve: Any, browser: Any, tmp_path: Path
) -> None:
    """A file that only says that it is a picture is not taken, and a line says so."""
    (bad := tmp_path / "bad.png").write_bytes(b"no picture")
    async with serve() as served:
        visitor = await visits(browser, served)
        await visitor.opens()
        await visitor.page.set_input_files(".composer input[type=file]", str(bad))
        told = await visitor.page.inner_text(".q-notification")
        await visitor.page.close()
    assert "picture" in told.lower()
    assert str(tmp_path) not in told


async def test_why_shows_the_ledger_as_a_chart_and_a_table(serve: Any, browser: Any) -> None:
    """Every piece of evidence has its line, with each retriever's score and what became of it."""
    async with serve() as served:
        visitor = await visits(browser, served)
        await visitor.opens()
        await visitor.asks(TALL)
        await visitor.page.click(WHY)
        await visitor.page.wait_for_selector(".chart svg")
        heads = await visitor.page.locator(".ledger th").all_inner_texts()
        rows = await visitor.page.locator(".ledger tbody tr").all_inner_texts()
        await visitor.page.close()
    assert {"Source", "Score", "In prompt", "Pixels shown", "Cited"} <= {h.strip() for h in heads}
    assert len(rows) >= 5
    assert any("yes" in row and "skerrin-guide.md" in row for row in rows)
    assert visitor.trouble == []


async def test_thumbs_reach_whoever_runs_the_service(serve: Any, browser: Any) -> None:
    """A thumb is kept as feedback, and a second click takes it back."""
    async with serve() as served:
        visitor = await visits(browser, served)
        page = visitor.page
        await visitor.opens()
        await visitor.asks(TALL)
        await page.click('[aria-label="Good answer"]')
        await page.wait_for_selector('[aria-label="Good answer"][aria-pressed=true]')
        given = (await served.client.get("/v1/feedback")).json()["feedback"]
        await page.click('[aria-label="Good answer"]')
        await page.wait_for_selector('[aria-label="Good answer"][aria-pressed=false]')
        left = (await served.client.get("/v1/feedback")).json()["feedback"]
        await page.close()
    assert [one["rating"] for one in given] == ["up"]
    assert left == []


async def test_conversations_are_listed_opened_named_and_forgotten(
    serve: Any, browser: Any
) -> None:
    """A conversation is gone back to, by the list and by loading the page again; it is given
    another name, found by its words, and forgotten after a question."""
    async with serve() as served:
        visitor = await visits(browser, served)
        page = visitor.page
        await visitor.opens()
        await visitor.asks(TALL)
        await page.click("text=New conversation")
        await page.wait_for_selector(".words", state="detached")
        await visitor.asks("When does the ferry leave?")
        await page.wait_for_selector(".entry.chosen:has-text('ferry')")  # the list is drawn anew
        await page.wait_for_function("location.search.startsWith('?c=')")
        before = page.url
        await page.click(f".entry .name:has-text('{TALL}')")
        await page.wait_for_selector(f".bubble:has-text('{TALL}')")
        await page.wait_for_selector(WHY)
        await page.wait_for_function("before => location.href != before", arg=before)
        await page.reload()
        await page.wait_for_selector(f".bubble:has-text('{TALL}')")
        await page.wait_for_selector(".mark")
        more = '.entry.chosen [aria-label="More about this conversation"]'
        await page.click(more)
        await page.click("text=Rename")
        await page.fill("input[aria-label=Title]", "Heights <b>")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".entry .name:has-text('Heights <b>')")
        await page.fill('[aria-label="Search conversations"]', "ferry")
        await page.wait_for_function("document.querySelectorAll('.entry').length == 1")
        await page.fill('[aria-label="Search conversations"]', "")
        await page.wait_for_function("document.querySelectorAll('.entry').length == 2")
        await page.click(more)
        await page.click(".q-menu >> text=Forget")
        await page.click(".q-dialog button:has-text('Forget')")
        await page.wait_for_function("document.querySelectorAll('.entry').length == 1")
        left = (await served.client.get("/v1/conversations")).json()
        await page.close()
    assert left["total"] == 1
    assert visitor.trouble == []


async def test_a_turn_is_asked_in_other_words_answered_again_and_deleted(
    serve: Any, browser: Any
) -> None:
    """What was asked is changed in its place, and taken out."""
    async with serve() as served:
        visitor = await visits(browser, served)
        page = visitor.page
        await visitor.opens()
        await visitor.asks(TALL)
        await page.click('[aria-label="Ask in other words"]')
        await page.fill(".q-dialog textarea", "How many steps does the lighthouse have?")
        await page.click(".q-dialog button:has-text('Ask')")
        await page.wait_for_selector(".bubble:has-text('How many steps')")
        await page.wait_for_selector(WHY)
        await page.click('[aria-label="Delete this turn"]')
        await page.click(".q-dialog button:has-text('Delete')")
        await page.wait_for_selector(".bubble", state="detached")
        left = (await served.client.get("/v1/conversations")).json()
        await page.close()
    assert sum(one["turns"] for one in left["conversations"]) == 0
    assert visitor.trouble == []


async def test_files_are_uploaded_into_the_library_with_progress(
    serve: Any, browser: Any, tmp_path: Path
) -> None:
    """An uploaded file is taken in, and the next question finds it; one of an unknown kind is
    refused in a line."""
    (bees := tmp_path / "bees.md").write_text("# Bees\n\nThe apiary of Skerrin keeps 41 hives.\n")
    (other := tmp_path / "other.exe").write_bytes(b"MZ")
    async with serve() as served:
        visitor = await visits(browser, served)
        page = visitor.page
        await visitor.opens()
        await page.click('[aria-label="Add files to the library"]')
        await page.set_input_files(".card input[type=file]", str(other))
        assert "no known kind" in await page.inner_text(".q-notification")
        await page.set_input_files(".card input[type=file]", str(bees))
        await page.wait_for_selector(".files .indexed:has-text('bees.md')")
        await page.wait_for_selector(".progress:has-text('Done')")
        await visitor.closes()
        assert "41 hives" in await visitor.asks("How many hives does the apiary keep?")
        await page.close()


async def test_the_page_fits_a_phone(serve: Any, browser: Any) -> None:
    """On 390 pixels nothing scrolls sideways, the composer is in view, and the list makes room."""
    async with serve() as served:
        phone = {"viewport": {"width": 390, "height": 760}, "is_mobile": True, "has_touch": True}
        visitor = await visits(browser, served, **phone)
        page = visitor.page
        await visitor.opens()
        await visitor.asks(TALL)
        for _ in range(3):
            await visitor.asks("Who kept the light, and when? List every keeper.")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        box = await page.locator(".composer").bounding_box()
        assert box["y"] + box["height"] <= 760
        await page.click("[aria-label=Conversations]")
        await page.locator(".entry .name").first.click()
        await page.wait_for_function(
            "document.querySelector('.q-drawer').getBoundingClientRect().right <= 0"
        )
        await page.close()
    assert visitor.trouble == []


async def test_every_button_has_a_name(serve: Any, browser: Any) -> None:
    """Whoever cannot see the page hears what each button does, each picture shows."""
    async with serve() as served:
        visitor = await visits(browser, served)
        await visitor.opens()
        await visitor.asks(TALL)
        unnamed = await visitor.page.evaluate(
            "[...document.querySelectorAll('button, img, textarea, input:not([type=file])')]"
            ".filter(e => e.offsetParent && !(e.getAttribute('aria-label') || e.alt ||"
            " (e.tagName == 'BUTTON' && e.innerText.trim()))).map(e => e.outerHTML)"
        )
        await visitor.page.close()
    assert unnamed == []


async def test_only_the_page_s_own_addresses_are_answered(serve: Any) -> None:
    """What is not the page's is the same 404 as ever, as a problem document."""
    async with serve() as served:
        for path in ("/nowhere", "/_nicegui/x", "/_nicegui/1.0/static/none.js", "/favicon.ico"):
            answer = await served.client.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json", path
        assert (await served.client.post("/")).status_code == 405
        assert (await served.client.post("/livez")).status_code == 405
        assert (await served.client.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling")).is_error


async def test_the_page_says_what_it_needs_where_several_processes_serve(serve: Any) -> None:
    """A page and its connection need one process: with several, words say what to do."""
    async with serve(serve={"workers": 2}) as served:
        answer = await served.client.get("/")
    assert answer.status_code == 200
    assert "--workers 1" in answer.text


async def test_no_page_when_it_is_turned_off(serve: Any) -> None:
    """``serve.page = false`` takes the page away."""
    async with serve(serve={"page": False}) as served:
        assert (await served.client.get("/")).status_code == 404


async def test_the_page_s_policy_is_strict(serve: Any) -> None:
    """Scripts need the answer's own nonce; nothing is loaded from or framed by anybody else."""
    async with serve() as served:
        first, second = [await served.client.get("/") for _ in range(2)]
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert policy != second.headers["content-security-policy"]
    assert first.text.count("<script") == first.text.count('<script nonce="')
    assert "http://" not in first.text.replace("http://www.w3.org/", "")
    assert "https://" not in first.text
