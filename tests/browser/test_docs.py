"""`/docs`: the whole surface on one page, offline, for everyone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from admin_tab import PHONE, WIDE, browser_tab
from house import House, house
from playwright.async_api import Browser, expect
from served import DESCRIBED

from gateway.web.remedies import REMEDIES

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as one:
        yield one


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_is_described(
    home: House, chromium: Browser, size: tuple[int, int], scheme: str
) -> None:
    async with browser_tab(chromium, home.http.base_url, key=None, size=size) as tab:
        await tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await tab.page.goto(f"{home.http.base_url}/docs")
        await expect(tab.page.locator(".docs-operation")).to_have_count(len(DESCRIBED))
        for name in ("post_v1_images_generations", "patch_admin_v1_teams_by_team"):
            await tab.page.locator(f"#{name} > summary").click()
            await expect(tab.page.locator(f"#{name} h4").first).to_be_visible()
        await tab.shot("docs")
        assert await tab.overflow() <= 0
        assert await tab.axe() == []
        assert tab.faults == []


async def test_the_doc_url_of_an_error_shows_what_to_do(home: House, chromium: Browser) -> None:
    async with browser_tab(chromium, home.http.base_url, key=None) as tab:
        refused = await home.post(key="unknown")
        await tab.page.goto(refused.json()["error"]["doc_url"])
        explained = tab.page.get_by_role("region", name="unauthorized")
        await expect(explained).to_contain_text(REMEDIES["unauthorized"].cause.replace("`", ""))
        await expect(explained).to_be_in_viewport()
        await tab.page.get_by_role("searchbox").fill("no-cache")
        await expect(tab.page.locator(".docs-error").first).to_contain_text("no-cache")
        assert tab.faults == []


async def test_a_link_opens_its_endpoint_and_a_search_finds_one(
    home: House, chromium: Browser
) -> None:
    async with browser_tab(chromium, home.http.base_url, key=None) as tab:
        await tab.page.goto(f"{home.http.base_url}/docs#get_admin_v1_runs_by_id")
        opened = tab.page.locator("#get_admin_v1_runs_by_id")
        await expect(opened).to_have_attribute("open", "")
        await expect(opened.get_by_text("$GATEWAY_ADMIN_KEY")).to_be_visible()
        await tab.page.get_by_role("searchbox").fill("erase what was said")
        await expect(tab.page.locator(".docs-operation")).to_have_count(1)
        await tab.page.get_by_role("searchbox").fill("no such thing")
        await expect(tab.page.get_by_text("Nothing has these words.")).to_be_visible()
        assert tab.faults == []
