"""The console as an operator uses it: in Chromium, before the whole program and its neighbours."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from proxy.domain.events.base import Held
from proxy.domain.events.ticket import CreateStarted
from proxy.domain.models import State
from proxy.observability.alarms import AlarmRecord
from proxy.security.key_ring import new_key
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall
from proxy.web.auth import hash_key
from tests.conftest import OpenRig
from tests.e2e.browsing import NARROW, WIDE, tab, without_policy
from tests.e2e.chromium import chromium
from tests.e2e.npm import npm_program
from tests.support.acting import happen
from tests.support.rig import GRANT, OPERATOR_KEY, Rig, desk_tree, get_json
from tests.support.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND: Final = 1_000
READER_KEY: Final = "ap_reader-key"
HOSTILE: Final = "<img src=x onerror=\"alert('in')\"><script>alert(1)</script>"
LINK: Final = "javascript:alert(document.domain)"
HOSTILE_FIELDS: Final[Mapping[str, Any]] = {
    "identities": [HOSTILE],
    "motivation": HOSTILE,
    "resource": LINK,
    HOSTILE: HOSTILE,
}
INJECT: Final = """() => {
    const script = document.createElement("script");
    try { script.textContent = "globalThis.ran = true"; } catch { return "refused"; }
    document.head.append(script);
    return String(globalThis.ran ?? false);
}"""
SPOIL: Final = """() => {
    document.querySelector("#key-hint").style.color = "#ddd";
    document.querySelector("h1").style.width = "500px";
    document.querySelector("label[for=key]").remove();
}"""
PAGES: Final = ("", "requests", "requests?state=dead")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a process; each has a profile of its own."""
    program = chromium()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program)
        yield launched
        await launched.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The script that looks for what keeps people out."""
    return Path(npm_program("axe-core/axe.min.js")[1]).read_text()


async def refused(rig: Rig, count: int = 1, **fields: Any) -> list[HookCall]:
    """Return requests that the desk refused to open tickets for."""
    rig.desk.switch_on(Fault("create", "answer", status=422, times=count))
    calls = [await rig.ask({**GRANT, **fields}) for _ in range(count)]
    await rig.work()
    assert {await rig.state(call) for call in calls} == {State.DEAD}
    return calls


async def counted(rig: Rig, received: int) -> bool:
    """Whether the program has noticed so many."""
    _, status = await get_json(f"{rig.url}/api/status", OPERATOR_KEY)
    return bool(status["requests"]["received"] == received)


async def test_a_key_opens_it_stays_in_the_tab_and_is_forgotten(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig) as opened:
        page = opened.page
        kept = "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])"
        await opened.sign_in("ap_nobody")
        await page.get_by_text("No operator has this key").wait_for()
        assert OPERATOR_KEY not in await page.evaluate(kept)
        await opened.sign_in(OPERATOR_KEY)
        await page.get_by_text("alice (admin)").wait_for()
        session, local, cookie = await page.evaluate(f"JSON.parse({kept})")
        assert list(session.values()) == [OPERATOR_KEY]
        assert (local, cookie) == ({}, "")
        await page.reload()
        await page.get_by_text("alice (admin)").wait_for()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_text("You are signed out").wait_for()
        assert OPERATOR_KEY not in await page.evaluate(kept) + await page.content()
        await page.reload()
        await page.get_by_label("Operator key").wait_for()
        async with tab(browser, rig) as other:
            await other.page.get_by_label("Operator key").wait_for()


async def test_what_people_typed_is_text_and_a_retry_leads_to_the_end(
    open_rig: OpenRig, browser: Browser
) -> None:
    encryption = {"keys": [{"id": "k1", "key": new_key()}], "index_key": new_key()}
    async with (
        open_rig(encryption=encryption) as rig,
        tab(browser, rig, key=OPERATOR_KEY) as opened,
    ):
        (call,) = await refused(rig, **HOSTILE_FIELDS)
        page, place = opened.page, f"requests/{call.correlation_id}"
        await opened.go("requests?state=dead", "Requests")
        await page.get_by_role("link", name=HOSTILE).wait_for()
        await page.get_by_label("Correlation id or ticket").fill(str(call.correlation_id))
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", level=1, name=f"Grant {HOSTILE} → {LINK}").wait_for()
        assert page.url.endswith(place)
        assert (await opened.text()).count(HOSTILE) >= 4
        assert await page.locator("main img, main script, main a[href^=javascript]").count() == 0

        await opened.act("Retry", reason=f"repaired {HOSTILE}", then="was sent back to work")
        await page.get_by_text(f"repaired {HOSTILE}").wait_for()
        await rig.work()
        (ticket,) = rig.tickets()
        rig.desk.decide(ticket["id"], "approved", by="mary", comment=HOSTILE)
        await rig.work(after=2 * SECOND)
        assert await rig.state(call) is State.HELD, "who approved cannot be told from who asks"
        await page.get_by_role("button", name="Refresh now").click()
        await opened.act("Release", reason="it was mary", then="was released")
        await rig.work()
        final = rig.final(call)
        assert final is not None
        assert final["status"] == "OK"
        await page.get_by_role("button", name="Refresh now").click()
        await page.get_by_text("Finished: witboost has the final status.").wait_for()
        await page.get_by_role("button", name="Show the signed receipt").click()
        await page.get_by_role("dialog").get_by_text("What it says:").wait_for()


async def test_a_field_that_may_not_be_seen_is_masked(open_rig: OpenRig, browser: Browser) -> None:
    """And a control: where it may be seen, it is."""
    for allowed, seen in ((["identities", "verb"], False), (None, True)):
        declared = {"allowed_fields": allowed}
        async with (
            open_rig(declare=lambda url, it=declared: {**desk_tree(url), **it}) as rig,
            tab(browser, rig, key=OPERATOR_KEY) as opened,
        ):
            call = await rig.ask({**GRANT, "resource": "private-thing", "salary": "private-sum"})
            for place in ("requests", f"requests/{call.correlation_id}"):
                await opened.go(place, "Requests" if place == "requests" else "Grant john.doe")
                await opened.page.get_by_text(
                    "(masked)" if not seen else "private-"
                ).first.wait_for()
                assert ("private-" in await opened.page.content()) == seen


async def test_who_may_only_read_is_told_so(open_rig: OpenRig, browser: Browser) -> None:
    clients = {
        "alice": {"keys": [hash_key(OPERATOR_KEY)], "role": "admin"},
        "rita": {"keys": [hash_key(READER_KEY)], "role": "read"},
    }
    async with open_rig(operators={"clients": clients}) as rig:
        (call,) = await refused(rig)
        place = f"requests/{call.correlation_id}"
        async with tab(browser, rig, key=READER_KEY) as opened:
            assert await opened.page.get_by_role("button", name="Pause").count() == 0
            await opened.go(place, "Grant")
            await opened.page.get_by_text("Your role is read").wait_for()
            assert await opened.page.get_by_role("button", name="Retry").count() == 0
        async with tab(browser, rig, key=OPERATOR_KEY) as opened:
            await opened.go(place, "Grant")
            swap = f"for (const it in {{...sessionStorage}}) sessionStorage[it] = '{READER_KEY}'"
            await opened.page.evaluate(swap)  # the role was taken away meanwhile
            await opened.act("Retry")
            alert = opened.page.get_by_role("dialog").get_by_role("alert")
            await alert.get_by_text("rita has the role read, and this needs operate").wait_for()
        assert await rig.state(call) is State.DEAD


async def test_what_is_refused_is_said_where_it_is(open_rig: OpenRig, browser: Browser) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        (call,) = await refused(rig)
        await opened.go(f"requests/{call.correlation_id}", "Grant")
        page = opened.page
        await page.get_by_role("button", name="Attach ticket").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Key or id of the ticket").fill("NONE-1")
        await dialog.get_by_label("Reason").fill("   ")
        await dialog.locator("button[type=submit]").click()
        await dialog.get_by_text("reason: String should have at least 1 character").wait_for()
        assert await dialog.locator("[aria-invalid=true]").get_attribute("name") == "reason"
        await page.keyboard.press("Escape")
        assert await dialog.count() == 0
        await opened.go("requests/nothing", "Request nothing")
        await page.get_by_role("alert").get_by_text("no request has the correlation id").wait_for()


async def test_a_desk_is_paused_and_resumed_and_alarms_are_shown(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig:
        await rig.program.alarm_board.write(
            [AlarmRecord(1, "backlog_full", f"More workers {HOSTILE}")]
        )
        async with tab(browser, rig, key=OPERATOR_KEY) as opened:
            await opened.page.get_by_text(f"More workers {HOSTILE}").wait_for()
            await opened.act("Pause desk", reason="upgrade tonight", then="desk is paused.")
            await opened.page.get_by_text("upgrade tonight").wait_for()
            assert (await rig.program.pause_store.pauses())["desk"].reason == "upgrade tonight"
            await opened.act("Resume desk", then="desk is used again.")
            assert not (await rig.program.pause_store.pauses())["desk"].since


async def test_many_are_counted_before_anything_is_done_to_them(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        calls, pending = await refused(rig, 3), await rig.ask()
        page = opened.page
        await opened.go("requests", "Requests")
        assert await page.get_by_role("button", name="Retry all of these").count() == 0
        await page.get_by_label("State").select_option("dead")
        await page.get_by_role("button", name="Retry all of these").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_text("3 requests match.").wait_for()
        assert {await rig.state(call) for call in calls} == {State.DEAD}
        await dialog.get_by_label("Reason").fill("the desk is back")
        await dialog.get_by_role("button", name="Retry (3)").click()
        await page.get_by_text("3 requests done, 0 not.").wait_for()
        assert {await rig.state(call) for call in (*calls, pending)} == {State.RECEIVED}
        await page.get_by_text("No request matches.").wait_for()


async def test_a_create_in_doubt_is_sent_again_by_whoever_vouches_that_it_made_no_ticket(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        call = await rig.ask()
        doubt = Held(at=2, code="create_in_doubt", reason="Its answer was lost.")
        await happen(rig.program.store, str(call.correlation_id), CreateStarted(at=1), doubt)
        await opened.go(f"requests/{call.correlation_id}", "Grant")
        page = opened.page
        await page.get_by_role("button", name="Retry").click()
        await page.get_by_label("I looked: no ticket exists").check()
        await page.get_by_role("dialog").get_by_label("Reason").fill("I looked")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_text("was sent back to work").wait_for()
        assert await rig.state(call) is State.RECEIVED
        assert (await rig.program.store.history(str(call.correlation_id)))[-1]["no_ticket"]


async def test_what_does_not_fit_on_a_page_is_on_the_next(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        await asyncio.gather(*[rig.ask() for _ in range(51)])
        await opened.go("requests?system=desk", "Requests")
        page, rows = opened.page, opened.page.locator("#results tbody tr")
        await page.get_by_role("link", name="Older").click()
        await page.get_by_role("link", name="Newest").wait_for()
        assert await rows.count() == 1
        await page.get_by_role("link", name="Newest").click()
        await page.get_by_role("link", name="Older").wait_for()
        assert await rows.count() == 50
        assert await page.get_by_label("Ticket system").input_value() == "desk"


async def test_a_request_is_found_by_its_ticket(open_rig: OpenRig, browser: Browser) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        mine, _ = await rig.ask(), await rig.ask({**GRANT, "identities": ["somebody-else"]})
        await rig.work()
        (key,) = [it["key"] for it in rig.tickets() if it["correlation_id"] == mine.correlation_id]
        page, rows = opened.page, opened.page.locator("#results tbody tr")
        await page.get_by_label("Correlation id or ticket").fill(key)
        await page.get_by_role("button", name="Find").click()
        await rows.get_by_text(str(mine.correlation_id)).wait_for()
        assert await rows.count() == 1
        link = rows.get_by_role("link", name=key)
        assert (await link.get_attribute("rel"), await link.get_attribute("target")) == (
            "noopener noreferrer",
            "_blank",
        )


async def test_it_looks_again_by_itself_while_somebody_sees_it(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig) as opened:
        page = opened.page
        await page.clock.install()
        await page.reload()
        await opened.sign_in()
        await page.get_by_role("link", name="0 received").wait_for()
        await rig.ask()
        await wait_until(lambda: counted(rig, 1))
        await page.clock.run_for(11 * SECOND)
        await page.get_by_role("link", name="1 received").wait_for()
        await page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
        await page.clock.run_for(11 * SECOND)  # the look that was planned is left out
        before = len(opened.asked)
        await page.clock.run_for(60 * SECOND)
        assert len(opened.asked) == before


async def test_a_server_that_cannot_be_reached_is_said_and_what_was_shown_stays(
    open_rig: OpenRig, browser: Browser
) -> None:
    async with open_rig() as rig, tab(browser, rig, key=OPERATOR_KEY) as opened:
        page = opened.page
        await page.route("**/api/**", lambda route: route.abort())
        await page.get_by_role("button", name="Refresh now").click()
        await page.get_by_text("cannot be reached").wait_for()
        assert await page.get_by_role("heading", name="Needs a person").is_visible()
        await page.unroute("**/api/**")
        await page.get_by_role("button", name="Refresh now").click()
        await page.get_by_text("cannot be reached").wait_for(state="hidden")


async def test_a_script_that_got_in_does_not_run(open_rig: OpenRig, browser: Browser) -> None:
    """And a control: without the header it does."""
    async with open_rig() as rig, tab(browser, rig) as opened:
        page = opened.page
        await page.get_by_label("Operator key").wait_for()
        assert await page.evaluate(INJECT) == "refused"
        assert await opened.violations() == ["require-trusted-types-for"]
        assert (
            await page.evaluate("fetch('https://example.com/').catch(() => 'refused')") == "refused"
        )
        assert "connect-src" in await opened.violations()
        await page.route("**/console/", without_policy)
        opened.wrong.clear()
        await page.reload()
        await page.get_by_label("Operator key").wait_for()
        assert await page.evaluate(INJECT) == "true"
        opened.asked.clear()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")])
async def test_it_can_be_read_by_everybody_on_every_screen(
    open_rig: OpenRig, browser: Browser, axe: str, size: tuple[int, int], scheme: Any
) -> None:
    """WCAG 2.2 AA as far as axe-core can tell, and no scrolling sideways."""
    async with (
        open_rig() as rig,
        tab(browser, rig, size=size, key=OPERATOR_KEY, color_scheme=scheme) as opened,
    ):
        (call,) = await refused(rig, resource="urn:" + "a" * 120)
        await rig.program.alarm_board.write([AlarmRecord(1, "request_dead", "It was given up.")])
        for place in (*PAGES, f"requests/{call.correlation_id}"):
            await opened.go(place)
            await opened.page.locator(".badge.dead").first.wait_for()
            assert not await _obstacles(opened.page, axe), place
        await opened.page.get_by_role("button", name="Reject").click()
        await opened.page.get_by_role("dialog").wait_for()
        assert not await _obstacles(opened.page, axe)


async def test_what_keeps_people_out_is_found(
    open_rig: OpenRig, browser: Browser, axe: str
) -> None:
    """A control of the test before: pale, unnamed and too wide."""
    async with open_rig() as rig, tab(browser, rig, size=NARROW) as opened:
        await opened.page.get_by_label("Operator key").wait_for()
        await opened.page.evaluate(SPOIL)
        found = await _obstacles(opened.page, axe)
        assert {it.partition(":")[0] for it in found} >= {"too wide", "color-contrast", "label"}


async def _obstacles(page: Page, axe: str) -> list[str]:
    """Return what keeps somebody from using a page as it is now."""
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    await page.evaluate(axe)
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    said = [f"{it['id']}: {[n['html'] for n in it['nodes']]}" for it in found["violations"]]
    return ([f"too wide: by {wide} pixels"] if wide > 0 else []) + said
