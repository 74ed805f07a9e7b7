"""A tab with the console in it, and everything in that tab that must not have happened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, Page, Route
from yarl import URL

from tests.support.rig import OPERATOR_KEY, Rig

WIDE: Final = (1440, 900)
NARROW: Final = (360, 740)
_WATCH: Final = """
    globalThis.violations = [];
    addEventListener("securitypolicyviolation", (it) => violations.push(it.violatedDirective));
"""
_REFUSED: Final = "Failed to load resource"  # what Chromium says of each 4xx and 5xx, too


@dataclass
class Tab:
    """One page of a browser, at the console of a rig."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors, dialogs, and every address that is asked."""
        self.page.on("console", lambda it: self._said(it.type, it.text))
        self.page.on("pageerror", lambda it: self.wrong.append(f"error: {it}"))
        self.page.on("dialog", lambda it: self.wrong.append(f"dialog: {it.message}"))
        self.page.on("request", lambda it: self.asked.append(it.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith(_REFUSED):
            self.wrong.append(f"{kind}: {text}")

    async def sign_in(self, key: str = OPERATOR_KEY) -> None:
        """Type a key and send it."""
        await self.page.get_by_label("Operator key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()

    async def go(self, place: str = "", heading: str = "") -> None:
        """Go to a page of the console, and wait until it is there."""
        await self.page.goto(f"{self.url}/console/#/{place}")
        if heading:
            await self.page.get_by_role("heading", level=1, name=heading).wait_for()

    async def act(self, button: str, reason: str = "because", then: str = "") -> None:
        """Press a button, give the reason in its dialog, and confirm."""
        await self.page.get_by_role("button", name=button).click()
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_label("Reason").fill(reason)
        await dialog.locator("button[type=submit]:enabled").click()
        if then:
            await self.page.get_by_role("status").get_by_text(then).wait_for()

    async def text(self) -> str:
        """Return all that a person reads now."""
        return await self.page.locator("body").inner_text()

    async def violations(self) -> list[str]:
        """Return the rules of the page's policy that something ran into."""
        found: list[str] = await self.page.evaluate("violations")
        return found

    def elsewhere(self) -> list[str]:
        """Return what was asked of another origin."""
        ours = URL(self.url).origin()
        return [it for it in self.asked if URL(it).origin() != ours]


@asynccontextmanager
async def tab(
    browser: Browser, rig: Rig, *, size: tuple[int, int] = WIDE, key: str = "", **how: Any
) -> AsyncIterator[Tab]:
    """Open the console in a profile of its own, signed in with a key if one is given.

    In the end nothing must have gone wrong in it.
    """
    width, height = size
    context = await browser.new_context(viewport={"width": width, "height": height}, **how)
    try:
        await context.add_init_script(_WATCH)
        opened = Tab(await context.new_page(), rig.url)
        opened.page.set_default_timeout(30_000)  # of a busy machine
        opened.watch()
        await opened.page.goto(f"{rig.url}/console")
        if key:
            await opened.sign_in(key)
            await opened.page.get_by_role("heading", level=1, name="Overview").wait_for()
        yield opened
        assert not await opened.violations()
        assert not opened.wrong
        assert not opened.elsewhere()
        assert not any("ap_" in it for it in opened.asked), "a key in an address"
    finally:
        await context.close()


async def without_policy(route: Route) -> None:
    """Answer as the server does, but for the header that says what may run."""
    answer = await route.fetch()
    headers = {k: v for k, v in answer.headers.items() if k != "content-security-policy"}
    await route.fulfill(response=answer, headers=headers)
