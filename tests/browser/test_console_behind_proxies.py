"""The console below a path of another site, behind a real proxy with TLS: it stays there."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from admin_tab import WATCH, Tab
from house import ADMIN_KEY, TEAM_KEY, House, house
from playwright.async_api import Browser, expect
from proxies import BELOW, FOR_ONE, Site, proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", FOR_ONE)
async def test_a_picture_is_made_and_a_team_is_seen(
    name: str, chromium: Browser, tmp_path: Path, authority: trustme.CA
) -> None:
    site = Site(name, BELOW)
    async with house(tmp_path / "data", server={"public_url": site.base}) as one:
        address = one.http.base_url.removeprefix("http://")
        async with proxy(site, [address], tmp_path / "proxy", authority):
            context = await chromium.new_context(ignore_https_errors=True, locale="en-US")
            await context.add_init_script(WATCH)
            tab = Tab(await context.new_page(), site.base)
            await the_team_makes_a_picture(tab, site)
            await the_operator_sees_the_team(tab)
            await the_documents_are_there(tab, site)
            await the_links_are_the_sites(one, site)
            assert tab.faults == []
            await context.close()


async def the_team_makes_a_picture(tab: Tab, site: Site) -> None:
    await tab.page.goto(f"{site.base}/console")
    spoken = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert await tab.page.evaluate(spoken) == "h2"
    await hold(tab, "team", TEAM_KEY)
    await tab.open("playground")
    await tab.page.get_by_label("Prompt").fill("a lighthouse")
    await tab.button("Generate").click()
    picture = tab.page.locator(".picture img").first
    await expect(picture).not_to_have_js_property("naturalWidth", 0)
    assert (await picture.get_attribute("src") or "").startswith(f"{site.base}/pictures/")


async def hold(tab: Tab, role: str, key: str) -> None:
    """As if the tab had been signed in with this key."""
    await tab.page.evaluate(f"sessionStorage.setItem('gateway.{role}-key', '{key}')")


async def the_operator_sees_the_team(tab: Tab) -> None:
    await hold(tab, "admin", ADMIN_KEY)
    await tab.open("teams")
    await expect(tab.page.get_by_role("link", name="blue", exact=True).first).to_be_visible()


async def the_documents_are_there(tab: Tab, site: Site) -> None:
    await tab.page.goto(f"{site.base}/docs")
    await expect(tab.page.locator(".docs-operation").first).to_be_visible()


async def the_links_are_the_sites(one: House, site: Site) -> None:
    task = await one.made("a lighthouse")
    assert all(link.startswith(f"{site.base}/pictures/") for link in task["results"])
