"""Pictures on the team's pages, in a real browser: many at once, one large, each at its address."""

from __future__ import annotations

import re

import pytest
from admin_tab import Tab
from house import OTHER_KEY, House
from playwright.async_api import expect
from team_tab import enter, last_order, order

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "prompt",
    ["قطة زرقاء على السطح", "🦊❄️" * 20, "x" * 10_000, "<b>&amp;</b> \u202eevil\u202c"],
    ids=["arabic", "emoji", "long", "markup"],
)
async def test_any_prompt_is_shown_as_it_is(home: House, tab: Tab, prompt: str) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Model").select_option("gpt-image-2")
    await order(tab, prompt)
    name = await tab.page.get_by_role("link", name="Download").get_attribute("download")
    assert name and len(name) <= 64
    assert re.fullmatch(r"[\w-]+-[0-9a-f]{4}\.png", name), name
    assert await tab.overflow() <= 0
    await tab.page.get_by_role("link", name="Gallery").click()
    await tab.page.locator(".tile").first.click()
    await expect(tab.page.locator(".viewer-prompt")).to_have_text(prompt)
    assert await tab.overflow() <= 0


async def test_ten_pictures_are_a_grid_to_go_through(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Pictures", exact=True).fill("10")
    await order(tab, "ten of them")
    tiles = tab.page.locator(".picture")
    await expect(tiles).to_have_count(10)
    boxes = [await tiles.nth(i).bounding_box() for i in range(10)]
    rows = {round(box["y"]) for box in boxes if box}
    assert len(rows) == 3
    names = {
        await tiles.nth(i).get_by_role("link", name="Download").get_attribute("download")
        for i in range(10)
    }
    assert len(names) == 10
    await tab.page.locator(".picture-open").first.click()
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Picture 1 of 10")
    await tab.page.keyboard.press("ArrowLeft")
    await expect(dialog).to_contain_text("Picture 1 of 10")
    await tab.page.keyboard.press("ArrowRight")
    await expect(dialog).to_contain_text("Picture 2 of 10")
    await expect(dialog).to_contain_text("Whoever has the link sees the picture")
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.locator(".picture-open").first).to_be_focused()
    await tab.button("Copy all links").click()
    await expect(tab.button("Copied")).to_be_visible()
    links = await tab.page.evaluate("navigator.clipboard.readText()")
    assert len(links.split()) == 10


async def test_a_picture_has_an_address_and_back_closes_it(home: House, tab: Tab) -> None:
    for prompt in ("first", "second", "third"):
        await home.made(f"gallery {prompt}", quality="low", size="2:3")
    await enter(home, tab)
    await tab.page.get_by_role("link", name="Gallery").click()
    tiles = tab.page.locator(".tile")
    await tiles.nth(0).click()
    dialog, said = tab.page.get_by_role("dialog"), tab.page.locator(".viewer-prompt")
    await expect(said).to_have_text("gallery third")
    await expect(dialog).to_contain_text("Portrait 2:3")
    newest = tab.page.url
    assert re.search(r"#/gallery/[0-9a-f]{64}$", newest)
    await tab.page.keyboard.press("ArrowRight")
    await expect(said).to_have_text("gallery second")
    assert tab.page.url != newest
    await tab.page.go_back()
    await expect(dialog).to_have_count(0)
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Gallery")
    await expect(tiles.nth(0)).to_be_focused()
    await tiles.nth(0).click()
    await expect(dialog).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    assert tab.page.url.endswith("#/gallery")
    await tab.page.goto("about:blank")
    await tab.page.goto(newest)
    await expect(said).to_have_text("gallery third")
    await dialog.get_by_role("button", name="Same settings").click()
    await expect(tab.page.get_by_label("Prompt")).to_have_value("gallery third")
    await expect(tab.page.get_by_label("Size")).to_have_value("2:3")


async def test_a_link_to_another_teams_picture_shows_nothing(home: House, tab: Tab) -> None:
    task = await home.made("theirs alone", quality="low", size="1:1", key=OTHER_KEY)
    found = task["results"][0].rpartition("/")[2].partition(".")[0]
    await enter(home, tab)
    for name in (found, "nothing", "0" * 64):
        await tab.page.evaluate(f"location.hash = '#/gallery/{name}'")
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Not among your team's pictures")
        await tab.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)


async def test_a_picture_becomes_the_reference_of_the_next(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await order(tab, "a base to start from")
    await tab.button("Use as reference").click()
    await expect(tab.page.get_by_text(re.compile(r"a-base-to-start-\S+: sent"))).to_be_attached()
    await order(tab, "made from it")
    assert len((await last_order(home))["settings"]["image_urls"]) == 1


async def test_a_swipe_goes_on(home: House, tab: Tab) -> None:
    for prompt in ("left", "right"):
        await home.made(f"swipe {prompt}", quality="low")
    await enter(home, tab)
    await tab.page.get_by_role("link", name="Gallery").click()
    await tab.page.locator(".tile").first.click()
    said = tab.page.locator(".viewer-prompt")
    await expect(said).to_have_text("swipe right")
    await tab.page.locator(".viewer-stage").evaluate("""stage => {
        const finger = { identifier: 1, target: stage, clientY: 200 };
        for (const [name, clientX] of [["touchstart", 300], ["touchend", 120]]) {
            const changedTouches = [new Touch({ ...finger, clientX })];
            const touches = name === "touchstart" ? changedTouches : [];
            stage.dispatchEvent(new TouchEvent(name, { touches, changedTouches }));
        }
    }""")
    await expect(said).to_have_text("swipe left")
