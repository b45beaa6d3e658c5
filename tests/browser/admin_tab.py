"""A browser's tab with an admin key in it, which notes all that must never happen."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
)

SHOTS = os.environ.get("CONSOLE_SHOTS")
"""A folder: what the pages look like is kept there, for people."""

WIDE, PHONE = (1280, 900), (390, 844)
WATCH = """
addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective));
"""
SIGN_IN = """
if (location.protocol !== "about:") sessionStorage.setItem("gateway.admin-key", %s);
"""


class Tab:
    """`page` is Playwright's; `faults` are console errors, broken rules and foreign requests."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._base_url = base_url
        page.set_default_timeout(10_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))

    async def open(self, place: str) -> None:
        """Goes to a page of the console by its address behind `#/`, from anywhere."""
        await self.page.goto("about:blank")
        await self.page.goto(f"{self._base_url}/console#/{place}")
        await self.page.locator("main h1").wait_for()
        await self.still()

    async def still(self) -> None:
        """Waits until nothing is being loaded any more."""
        await expect(self.page.locator(".loading, [aria-busy]")).to_have_count(0)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def shot(self, name: str) -> None:
        if SHOTS:
            size = self.page.viewport_size or {"width": 0}
            dark = await self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            path = Path(SHOTS) / f"{name}-{size['width']}-{'dark' if dark else 'light'}.png"
            await self.page.screenshot(path=path, full_page=True)

    async def axe(self) -> list[str]:
        """Serious and critical findings, each with the first place it was found at."""
        found: dict[str, Any] = (await Axe().run(self.page)).response
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return int(
            await self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((f"{self._base_url}/", "blob:", "about:", "data:")):
            self.faults.append(f"a request to {url}")


@contextlib.asynccontextmanager
async def browser_tab(
    chromium: Browser,
    base_url: str,
    *,
    key: str | None,
    size: tuple[int, int] = WIDE,
) -> AsyncIterator[Tab]:
    """A tab that shares nothing with others of the browser, with the admin key or with none."""
    context: BrowserContext = await chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        reduced_motion="reduce",
        timezone_id="UTC",
        locale="en-US",
    )
    await context.add_init_script(WATCH)
    if key is not None:
        await context.add_init_script(SIGN_IN % json.dumps(key))
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base_url)
    yield Tab(await context.new_page(), base_url)
    await context.close()
