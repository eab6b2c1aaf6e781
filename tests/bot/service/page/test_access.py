"""The page lets in whom the service lets in: keys, tenants, hosts, origins, queue and budget; and
a turn ends with the tab that asked."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bot.service.page.sessions import COOKIE

pytest.importorskip("nicegui", reason="the web page needs the extra web")

TALL = "How tall is the lighthouse?"
WHY = '[aria-label="Why this answer"]'
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
KEYS = {"serve": {"keys": "on"}}


def token(header: dict[str, str]) -> str:
    return header["Authorization"].removeprefix("Bearer ")


async def signed_in(browser: Any, served: Any, key: str) -> Any:
    """Return a tab in which somebody signed in through the form."""
    page = await (await browser.new_context()).new_page()
    page.set_default_timeout(15_000)
    await page.goto(served.url)
    await page.fill("#key", key)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("textarea")
    return page


async def asks(page: Any, text: str) -> None:
    before = await page.locator(WHY).count()
    await page.fill("textarea", text)
    await page.keyboard.press("Enter")
    await page.locator(WHY).nth(before).wait_for()


async def until(what: Any) -> None:
    """Wait until ``what()`` is true."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.02)


async def test_a_key_signs_in_and_is_kept_nowhere_in_the_browser(serve: Any, browser: Any) -> None:
    """A key opens its tenant's page; the browser holds a cookie that scripts cannot read, and the
    key is neither in the address, nor in storage, nor in the page; signing out ends the session."""
    async with serve(**KEYS) as served:
        key = token(await served.key("anna"))
        page = await signed_in(browser, served, key)
        await asks(page, TALL)
        kept = await page.evaluate(
            "JSON.stringify([location.href, document.cookie, {...localStorage},"
            " {...sessionStorage}, document.documentElement.outerHTML])"
        )
        assert key not in kept
        assert COOKIE not in kept
        cookies = {one["name"]: one for one in await page.context.cookies()}
        assert cookies[COOKIE]["httpOnly"]
        assert cookies[COOKIE]["sameSite"] == "Strict"
        assert key not in str(cookies)
        await page.click('[aria-label="Sign out"]')
        await page.wait_for_selector("#key")
        old = await served.client.get(
            "/", headers={"Cookie": f"{COOKIE}={cookies[COOKIE]['value']}"}
        )
        assert 'id="key"' in old.text
        await page.close()


async def test_who_is_not_signed_in_gets_a_form_and_nothing_else(serve: Any) -> None:
    """Without a session there is a form without scripts; no connection is opened and no file taken;
    a wrong key is told so."""
    async with serve(**KEYS) as served:
        await served.key("anna")
        form = await served.client.get("/")
        assert "<script" not in form.text
        assert "script-src" not in form.headers["content-security-policy"]
        wrong = await served.client.post("/sign-in", data={"key": "bf_aaaaaaaa_" + 43 * "x"})
        assert wrong.status_code == 401
        assert COOKIE not in wrong.cookies
        upload = "/_nicegui/client/00000000-0000-0000-0000-000000000000/upload/1"
        assert (await served.client.post(upload, files={"f": b"x"})).status_code == 401
        with pytest.raises(InvalidStatus):
            await connect(served.url.replace("http", "ws") + SOCKET)
        long = await served.client.post("/sign-in", content=b"key=" + b"x" * 5000)
        assert long.status_code == 413


async def test_a_connection_from_another_page_is_refused(serve: Any) -> None:
    """A page of another origin, or a name that is not ours, opens no connection; ours does."""
    async with serve() as served:
        url = served.url.replace("http", "ws") + SOCKET
        for origin in ("https://bad.invalid", "null"):
            with pytest.raises(InvalidStatus):
                await connect(url, additional_headers={"Origin": origin})
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(InvalidStatus):
            await connect(f"ws://bad.invalid:{port}{SOCKET}", host="127.0.0.1", port=port)
        async with connect(url, additional_headers={"Origin": served.url}) as opened:
            assert str(await opened.recv()).startswith("0")


async def test_a_revoked_key_ends_its_session(serve: Any, browser: Any) -> None:
    """Whoever is signed in with a key that is revoked can ask nothing more."""
    async with serve(**KEYS) as served:
        page = await signed_in(browser, served, token(await served.key("anna")))
        await asks(page, TALL)
        await served.server.config.app.inner.state.keys.revoke("anna")
        await page.fill("textarea", TALL)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".trouble:has-text('session is over')")
        await page.close()


async def test_tenants_never_meet_on_the_page(serve: Any, browser: Any) -> None:
    """What one tenant asked is not listed for another, nor opened by its address."""
    async with serve(**KEYS) as served:
        anna = await signed_in(browser, served, token(await served.key("anna")))
        bert = await signed_in(browser, served, token(await served.key("bert")))
        await asks(anna, TALL)
        await anna.wait_for_selector(".entry")
        await bert.goto(served.url + anna.url.removeprefix(served.url))
        await bert.wait_for_selector(".q-notification:has-text('no conversation')")
        assert await bert.locator(".entry").count() == 0
        assert await bert.locator(".bubble").count() == 0
        await anna.close()
        await bert.close()


async def test_a_library_that_a_key_may_not_write_takes_no_files(serve: Any, browser: Any) -> None:
    """The button is not shown to who may only read."""
    async with serve(**KEYS) as served:
        page = await signed_in(browser, served, token(await served.key("anna")))
        assert not await page.is_visible('[aria-label="Add files to the library"]')
        await page.close()


async def test_the_budget_of_a_key_holds_on_the_page(serve: Any, browser: Any) -> None:
    """The turn after the day's last is refused in a line, with a way to try again."""
    async with serve(**KEYS) as served:
        page = await signed_in(browser, served, token(await served.key("anna", turns_per_day=1)))
        await asks(page, TALL)
        await page.fill("textarea", TALL)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".trouble:has-text('ask again later') >> text=Try again")
        await page.close()


async def test_an_answer_is_shown_as_it_comes_and_can_be_stopped(
    serve: Any, browser: Any, slow: Any
) -> None:
    """Each word is on the page before the next is said; Stop frees the model, saves nothing, and
    the same question can be tried again."""
    async with serve(writer=slow) as served:
        page = await browser.new_page()
        await page.goto(served.url)
        await page.fill("textarea", TALL)
        await page.keyboard.press("Enter")
        for number in range(3):
            slow.let.release()
            await page.wait_for_selector(f".words:has-text('w{number}')")
        await page.click("[aria-label=Stop]")
        await page.wait_for_selector(".trouble:has-text('nothing was saved')")
        await until(lambda: slow.ended == 1)
        assert (await served.client.get("/v1/conversations")).json()["total"] == 0
        for _ in range(slow.words):
            slow.let.release()
        await page.click("text=Try again")
        await page.wait_for_selector(WHY)
        await page.close()


async def test_a_tab_that_leaves_ends_its_turn(serve: Any, browser: Any, slow: Any) -> None:
    """When the tab is closed in the middle of an answer, the model and the queue are free."""
    async with serve(writer=slow) as served:
        state = served.server.config.app.inner.state
        page = await browser.new_page()
        await page.goto(served.url)
        await page.fill("textarea", TALL)
        await page.keyboard.press("Enter")
        slow.let.release()
        await page.wait_for_selector(".words:has-text('w0')")
        assert state.admission.running == 1
        await page.close()
        await until(lambda: slow.ended == 1 and state.admission.running == 0)


async def test_too_much_to_do_is_told_in_a_line(serve: Any, browser: Any, slow: Any) -> None:
    """A turn beyond the queue is sent away with a way to try again."""
    queue = {"turns_at_once": 1, "turns_waiting": 0}
    async with serve(writer=slow, serve=queue) as served:
        pages = [await browser.new_page() for _ in range(2)]
        for page in pages:
            await page.goto(served.url)
            await page.fill("textarea", TALL)
        await pages[0].keyboard.press("Enter")
        slow.let.release()
        await pages[0].wait_for_selector(".words:has-text('w0')")
        await pages[1].keyboard.press("Enter")
        await pages[1].wait_for_selector(".trouble:has-text('ask again later')")
        for page in pages:
            await page.close()
