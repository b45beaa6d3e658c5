"""The team's pages in a real browser: an order from the empty page to the picture on disk."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from admin_tab import PHONE, WIDE, Tab, browser_tab
from house import FAST, OTHER_KEY, PRICE_USD, TEAM_KEY, House, digest, house
from playwright.async_api import Browser, FilePayload, Route, expect
from team_tab import drop, enter, order, png, summary

from gateway.config import parse

pytestmark = pytest.mark.asyncio(loop_scope="module")

NASTY = "<img src=x onerror=alert(1)>"
POOR_KEY = "team-poor-key"
TEAMS: dict[str, Any] = {
    "blue": {
        "budgets": [{"usd": 40 * PRICE_USD, "per": "day"}, {"usd": 20, "per": "month"}],
        "limits": {"images": [{"count": 100, "per": "day"}]},
    },
    "poor": {"keys": [digest(POOR_KEY)], "budgets": [{"usd": PRICE_USD, "per": "day"}]},
}
OPTIONS = replace(FAST, picture_scale=0.2)
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
EXPECTED = re.compile(r"the server responded with a status of 40[12] ")
"""A wrong key and a used-up budget are told as statuses, which every browser notes."""


@pytest_asyncio.fixture(loop_scope="module")
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, options=OPTIONS, teams=TEAMS) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(home: House, chromium: Browser) -> AsyncIterator[Tab]:
    async with browser_tab(chromium, home.http.base_url, key=None) as one:
        yield one
        assert faults(one) == []


def faults(tab: Tab) -> list[str]:
    return [fault for fault in tab.faults if not EXPECTED.search(fault)]


# --- keys ----------------------------------------------------------------------------------------


async def test_a_wrong_key_is_told_and_a_right_one_opens(home: House, tab: Tab) -> None:
    await tab.page.goto(f"{home.http.base_url}/console")
    await tab.button("Open").click()
    await expect(tab.page.get_by_text("Enter a key.")).to_be_visible()
    await tab.page.get_by_label("Team key").fill("sk-somebody-elses")
    await tab.button("Open").click()
    await expect(tab.page.locator(".field-error")).to_contain_text("This API key is not known here")
    await tab.page.get_by_label("Team key").fill(f" {TEAM_KEY} ")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Playground")
    await tab.page.reload()
    await expect(tab.button("Keys of blue")).to_be_visible()
    await tab.button("Keys of blue").click()
    await tab.button("Sign out").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Welcome")
    assert await tab.page.evaluate("sessionStorage.length") == 0


async def test_a_key_that_no_header_can_carry_is_no_fault_of_the_network(
    home: House, tab: Tab
) -> None:
    await tab.page.goto(f"{home.http.base_url}/console")
    for text, sign in [("igw_5j96pnk8jxtv_…", "…"), ("ключ", "к"), ("🦊", "🦊")]:
        await tab.page.get_by_label("Team key").fill(text)
        await tab.button("Open").click()
        await expect(tab.page.locator(".field-error")).to_contain_text(f"No key has a “{sign}”")
    await expect(tab.page.get_by_text("did not answer")).to_have_count(0)


async def test_a_key_is_in_no_address_and_on_no_page(home: House, tab: Tab) -> None:
    urls: list[str] = []
    tab.page.on("request", lambda request: urls.append(request.url))
    await enter(home, tab)
    await order(tab, "a red bicycle")
    for name in ("Gallery", "Usage", "Playground"):
        await tab.page.get_by_role("link", name=name, exact=True).click()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text(name)
        assert TEAM_KEY not in await tab.page.content()
        assert TEAM_KEY not in tab.page.url
    assert not [url for url in urls if TEAM_KEY in url]
    assert TEAM_KEY not in await tab.page.evaluate("JSON.stringify(localStorage)")


async def test_a_revoked_key_leads_back_to_the_first_screen(home: House, tab: Tab) -> None:
    await enter(home, tab)
    teams = {"blue": {**TEAMS["blue"], "keys": [digest("another-key")]}}
    settings = home.settings.model_copy(update={"teams": parse_teams(home, teams)})
    home.gateway.reload(settings)
    await tab.page.evaluate("location.hash = '#/gallery'")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Welcome")
    await expect(tab.page.get_by_role("alert")).to_contain_text("no longer takes this team key")


def parse_teams(home: House, teams: dict[str, Any]) -> Any:
    from house import settings_text

    return parse(settings_text("http://127.0.0.1:1", home.folder, teams=teams), {}).teams


# --- the playground ------------------------------------------------------------------------------


async def test_from_an_empty_page_to_a_picture_on_disk(
    home: House, tab: Tab, tmp_path: Path
) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Prompt").fill("a red bicycle, as in the picture")
    await tab.page.get_by_label("Size").select_option("3:2")
    await drop(tab, "frame.png", "image/png", png("red"))
    await expect(tab.page.get_by_text("frame.png: sent")).to_be_attached()
    quote = tab.page.locator(".quote")
    await expect(quote).to_contain_text("Makes a new picture, at most $0.05")
    await expect(quote).to_contain_text("$2.00 left today of $2.00")
    await tab.page.get_by_label("Prompt").press("Control+Enter")
    await expect(tab.page.locator(".result .badge").first).to_have_text("Done")
    async with tab.page.expect_download() as started:
        await tab.page.get_by_role("link", name="Download").click()
    download = await started.value
    await download.save_as(tmp_path / "saved.png")
    tasks = await home.client.get("/v1/tasks", headers={"Authorization": f"Bearer {TEAM_KEY}"})
    [row] = tasks.json()["data"]
    task = await home.ended(row["id"])
    [url] = task["results"]
    marked = url.rpartition("/")[2][:4]
    assert download.suggested_filename == f"a-red-bicycle-as-in-the-picture-{marked}.png"
    assert (tmp_path / "saved.png").read_bytes() == (await home.client.get(url)).content
    await tab.button("Copy link").click()
    await expect(tab.button("Copied")).to_be_visible()
    assert await tab.page.evaluate("navigator.clipboard.readText()") == url
    await expect(tab.page.get_by_text("0 being made · 1 done")).to_be_visible()
    await expect(quote).to_contain_text("From the cache, for nothing")
    upload = await home.client.get(
        "/api/v1/files/list", headers={"Authorization": f"Bearer {TEAM_KEY}"}
    )
    assert upload.json()["data"]["total"] == 1


async def test_an_answer_from_the_cache_says_so_and_a_new_one_can_be_had(
    home: House, tab: Tab
) -> None:
    await home.made("a lighthouse")
    await enter(home, tab)
    first = await (await order(tab, "a lighthouse")).get_attribute("src")
    result = tab.page.locator(".result")
    await expect(result).to_contain_text("from the cache: saved $0.05")
    assert (await summary(home))["spent_usd"] == PRICE_USD
    await tab.button("Make a new one").click()
    await expect(result).not_to_contain_text("from the cache")
    await expect(result.locator(".badge").first).to_have_text("Done")
    assert await tab.page.locator(".picture img").first.get_attribute("src") != first
    assert (await summary(home))["spent_usd"] == 2 * PRICE_USD
    await expect(tab.page.get_by_text("0 being made · 3 done")).to_be_visible()


async def test_a_browser_without_its_cache_does_not_pay_twice(home: House, tab: Tab) -> None:
    """Developer tools that switch the cache off say `no-cache` with every request of a page."""
    await home.made("a lighthouse")
    tools = await tab.page.context.new_cdp_session(tab.page)
    await tools.send("Network.enable")
    await tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    await enter(home, tab)
    await order(tab, "a lighthouse")
    await expect(tab.page.locator(".result")).to_contain_text("from the cache")
    assert (await summary(home))["spent_usd"] == PRICE_USD


async def test_an_order_is_followed_while_it_runs(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Prompt").fill("a slow train [sandbox:delay=3]")
    await tab.button("Generate").click()
    result = tab.page.locator(".result")
    await expect(result.locator(".badge").first).to_have_text("Being made")
    await expect(tab.page.get_by_role("progressbar")).to_be_visible()
    await expect(tab.page.get_by_text("1 being made · 0 done")).to_be_visible()
    await expect(tab.page.locator(".quote")).to_contain_text("Is being made already")
    await tab.page.get_by_role("link", name="Gallery").click()
    await expect(tab.page.get_by_text("No pictures yet")).to_be_visible()
    await tab.page.get_by_role("link", name="Playground").click()
    await expect(result.locator(".badge").first).to_have_text("Done")
    await expect(tab.page.get_by_text("0 being made · 1 done")).to_be_visible()


async def test_a_refusal_says_why_and_what_to_do(home: House, tab: Tab) -> None:
    await enter(home, tab, POOR_KEY)
    await order(tab, "a bicycle")
    await tab.page.get_by_label("Prompt").fill("two bicycles")
    quote = tab.page.locator(".quote")
    await expect(quote).to_contain_text("Would be refused. The team's limit of $0.05 per day")
    await tab.button("Generate").click()
    refused = tab.page.locator(".result").get_by_role("alert")
    await expect(refused).to_contain_text("The budget is used up")
    await expect(refused).to_contain_text("this request needs $0.05 and $0.00 is left")
    await expect(refused).to_contain_text(re.compile(r"Rule usd_per_day · resets in \d+"))
    await expect(refused).to_contain_text("Choose a lower quality or fewer pictures")
    await expect(refused).to_contain_text(re.compile(r"Request req_\w+"))
    await tab.page.get_by_label("Pictures", exact=True).fill("2")
    await tab.button("Generate").click()
    await expect(refused).to_contain_text("It can never fit: ask for less")
    await expect(refused).not_to_contain_text("wait until")
    assert (await summary(home, POOR_KEY))["spent_usd"] == PRICE_USD


async def test_no_price_is_shown_that_was_another_orders(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await order(tab, "a bicycle")
    quote = tab.page.locator(".quote")
    await expect(quote).to_contain_text("From the cache, for nothing")
    asked = asyncio.Event()

    async def held(route: Route) -> None:
        await asked.wait()
        await route.continue_()

    await tab.page.route("**/v1/images/estimate", held)
    await tab.page.get_by_label("Prompt").fill("two bicycles")
    await expect(quote).to_have_text("Asking for the price…")
    asked.set()
    await expect(quote).to_contain_text("Makes a new picture, at most $0.05")


async def test_a_failed_task_says_why(home: House, tab: Tab) -> None:
    await enter(home, tab)
    prompt = "something else [sandbox:fail=content_policy_violation]"
    await tab.page.get_by_label("Prompt").fill(prompt)
    await tab.button("Generate").click()
    failed = tab.page.locator(".result").get_by_role("alert")
    await expect(failed).to_contain_text("No picture was made")
    await expect(failed).to_contain_text("content_policy_violation")
    assert (await summary(home))["spent_usd"] == 0


async def test_files_that_are_no_pictures_are_turned_away(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await drop(tab, "notes.txt", "text/plain", b"notes")
    complaint = tab.page.locator(".references .field-error")
    await expect(complaint).to_have_text("notes.txt is not a JPEG, PNG or WebP picture.")
    for i in range(11):
        await drop(tab, f"{i}.png", "image/png", png(f"#{i:02x}0000"))
    await expect(complaint).to_have_text("10.png is one too many: there may be 10.")
    thumbs = tab.page.locator(".thumb")
    await expect(thumbs).to_have_count(10)
    await tab.button("Remove 3.png").click()
    await expect(thumbs).to_have_count(9)
    chosen = FilePayload(name="chosen.webp", mimeType="image/webp", buffer=png("blue"))
    await tab.page.locator(".drop input").set_input_files([chosen])
    await expect(tab.page.get_by_text("chosen.webp: sent")).to_be_attached()


async def test_markup_in_a_prompt_is_text(home: House, tab: Tab) -> None:
    shown: list[str] = []
    tab.page.on("dialog", lambda dialog: shown.append(dialog.message))
    await enter(home, tab)
    await order(tab, NASTY)
    await expect(tab.page.locator(".history-prompt").first).to_have_text(NASTY)
    await tab.page.get_by_role("link", name="Gallery").click()
    await expect(tab.page.locator(".tile-prompt")).to_have_text(NASTY)
    await tab.page.locator(".tile").click()
    await expect(tab.page.locator(".viewer-prompt")).to_have_text(NASTY)
    assert await tab.page.locator("img[src='x']").count() == 0
    assert shown == []


@pytest.mark.parametrize("name", ["curl", "Python"])
async def test_the_same_request_as_a_program_is_the_same_order(
    home: House, tab: Tab, name: str
) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Size").select_option("3:2")
    await order(tab, 'the "owner\'s" bicycle\nin $HOME, ünter Bäumen')
    await tab.page.get_by_role("radio", name=name).check()
    await tab.button("Copy").click()
    text = await tab.page.evaluate("navigator.clipboard.readText()")
    assert TEAM_KEY not in text
    command = ["sh", "-c", text] if name == "curl" else [sys.executable, "-c", text]
    program = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "GATEWAY_KEY": TEAM_KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    answer, _ = await program.communicate()
    assert b"completed" in answer
    assert (await summary(home))["saved_usd"] == PRICE_USD


# --- gallery and usage ---------------------------------------------------------------------------


async def test_the_gallery_finds_a_picture_and_its_prompt_again(home: House, tab: Tab) -> None:
    for prompt in ("a red bicycle", "a blue whale", "a green bicycle"):
        await home.made(prompt)
    await home.made("someone else's bicycle", key=OTHER_KEY)
    await enter(home, tab)
    await tab.page.get_by_role("link", name="Gallery").click()
    tiles = tab.page.locator(".tile-prompt")
    await expect(tiles).to_have_text(["a green bicycle", "a blue whale", "a red bicycle"])
    await tab.page.get_by_label("Search in prompts").fill("bicycle")
    await expect(tiles).to_have_text(["a green bicycle", "a red bicycle"])
    await tab.page.reload()
    await expect(tab.page.get_by_label("Search in prompts")).to_have_value("bicycle")
    await expect(tiles).to_have_count(2)
    await tab.page.get_by_label("To", exact=True).fill("2020-01-01")
    await expect(tab.page.get_by_text("No picture fits")).to_be_visible()
    await tab.button("Clear").click()
    await expect(tiles).to_have_count(3)
    await tiles.nth(1).click()
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("a blue whale")
    await expect(dialog).to_contain_text("task-unified-")
    await dialog.get_by_role("button", name="Use this prompt").click()
    await expect(tab.page.get_by_label("Prompt")).to_have_value("a blue whale")


async def test_usage_is_what_the_api_tells(home: House, tab: Tab) -> None:
    await home.made("a red bicycle", n=2)
    await home.made("a red bicycle", n=2)
    await home.made("a blue whale")
    await enter(home, tab)
    await tab.page.get_by_role("link", name="Usage", exact=True).click()
    told = await home.client.get("/team/v1/usage", headers={"Authorization": f"Bearer {TEAM_KEY}"})
    totals = told.json()["totals"]
    expected = {
        "started": "2",
        "hits": "1",
        "joined": "0",
        "failed": "0",
        "images_generated": "3",
        "images_cache": "2",
        "spent_usd": f"${totals['spent_usd']:.2f}",
        "saved_usd": f"${totals['saved_usd']:.2f}",
    }
    for name, text in expected.items():
        await expect(tab.page.locator(f"[data-total={name}]")).to_have_text(text)
    assert (totals["spent_usd"], totals["saved_usd"]) == (0.15, 0.1)
    plots = tab.page.locator(".plot")
    await expect(plots.nth(0).locator(".legend")).to_have_text("gpt-image-1.5 $0.15")
    await expect(plots.nth(1).locator(".legend")).to_have_text("From the cache $0.10Shared $0.00")
    await expect(plots.locator("canvas")).to_have_count(2)
    await plots.nth(0).locator("summary").click()
    await expect(plots.nth(0).locator("tbody tr").last).to_contain_text("$0.15")
    for standing in (await summary(home))["standing"]:
        money = standing["measure"] == "usd"
        left = f"${standing['left']:.2f}" if money else f"{standing['left']:.0f}"
        await expect(tab.page.locator(".bar strong", has_text=left).first).to_be_visible()
    meters = tab.page.get_by_role("meter")
    await expect(meters).to_have_count(3)
    await expect(meters.first).to_have_attribute("aria-valuetext", re.compile(r"\$0\.15 spent"))


# --- looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.long
async def test_every_page_can_be_seen_by_everyone(
    home: House, chromium: Browser, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    for prompt in ("a lighthouse at dusk", "a blue whale, watercolour", NASTY):
        await home.made(prompt, n=2, size="3:2")
    async with browser_tab(chromium, home.http.base_url, key=None, size=size) as tab:
        await tab.page.emulate_media(color_scheme=scheme)
        await tab.page.goto(f"{home.http.base_url}/console")
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Welcome")
        await seen(tab, "team-welcome")
        await enter(home, tab)
        await seen(tab, "team-empty")
        await drop(tab, "frame.png", "image/png", png("#884422"))
        await expect(tab.page.get_by_text("frame.png: sent")).to_be_attached()
        await order(tab, "a red bicycle leaning on a white wall, morning light")
        await expect(tab.page.locator(".quote")).to_contain_text("From the cache")
        await seen(tab, "team-done")
        await tab.page.locator(".picture-open").click()
        await expect(tab.page.get_by_role("dialog")).to_be_visible()
        await seen(tab, "team-large")
        await tab.page.keyboard.press("Escape")
        await tab.page.get_by_label("Prompt").fill("a slow train [sandbox:delay=30]")
        await tab.button("Generate").click()
        await expect(tab.page.locator(".result .badge").first).to_have_text("Being made")
        await seen(tab, "team-running")
        await tab.page.get_by_label("Prompt").fill("very many")
        await tab.page.get_by_label("Pictures", exact=True).fill("10")
        for _ in range(3):
            await home.post("spent elsewhere", n=10, headers={"Cache-Control": "no-cache"})
        await tab.button("Generate").click()
        await expect(tab.page.locator(".result .badge").first).to_have_text("Refused")
        await seen(tab, "team-refused")
        await tab.page.get_by_role("link", name="Gallery").click()
        await expect(tab.page.locator(".tile").first).to_be_visible()
        await seen(tab, "team-gallery")
        await tab.page.locator(".tile").last.click()
        await expect(tab.page.get_by_role("dialog")).to_be_visible()
        await seen(tab, "team-details")
        await tab.page.keyboard.press("Escape")
        await tab.page.get_by_role("link", name="Usage", exact=True).click()
        await expect(tab.page.locator(".plot canvas")).to_have_count(2)
        await seen(tab, "team-usage")
        assert faults(tab) == []


async def seen(tab: Tab, name: str) -> None:
    await expect(tab.page.locator(".loading, [aria-busy]")).to_have_count(0)
    await tab.shot(name)
    assert await tab.axe() == [], name
    assert await tab.overflow() <= 0, name


async def test_the_theme_is_the_readers_choice(home: House, tab: Tab) -> None:
    await enter(home, tab)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = await tab.page.evaluate(paper)
    await tab.button("Use the dark theme").click()
    dark = await tab.page.evaluate(paper)
    assert dark != light
    await tab.page.reload()
    await expect(tab.button("Use the light theme")).to_be_visible()
    assert await tab.page.evaluate(paper) == dark


async def test_the_keyboard_is_enough(home: House, tab: Tab) -> None:
    await tab.page.goto(f"{home.http.base_url}/console")
    await expect(tab.page.get_by_label("Team key")).to_be_focused()
    await tab.page.keyboard.type(TEAM_KEY)
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Playground")
    await tab.page.get_by_label("Prompt").focus()
    await tab.page.keyboard.type("a kite")
    await tab.page.keyboard.press("Control+Enter")
    await expect(tab.page.locator(".result .badge").first).to_have_text("Done")
    await tab.page.locator(".picture-open").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    await expect(tab.page.locator(".picture-open")).to_be_focused()
