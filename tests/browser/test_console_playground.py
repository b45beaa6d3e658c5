"""Choosing, paying and coming back to it on the team's pages, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from admin_tab import Tab
from house import ADMIN_KEY, OTHER_KEY, TEAM_KEY, House, digest, settings_text
from playwright.async_api import Locator, Route, expect
from team_tab import AWAY, POOR_KEY, TEAMS, drop, enter, last_order, order, png

from gateway.config import parse

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_STORAGE = """
for (const name of ["sessionStorage", "localStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}
"""


def choice(tab: Tab, value: str) -> Locator:
    return tab.page.locator(f".in-sight input[value='{value}']")


def quote(tab: Tab) -> Locator:
    return tab.page.locator(".quote")


# --- choosing ------------------------------------------------------------------------------------


async def test_a_price_stands_beside_each_choice_and_the_cheapest_is_chosen(
    home: House, tab: Tab
) -> None:
    await enter(home, tab)
    quality = tab.page.get_by_role("group", name="Quality")
    await expect(quality.locator("label")).to_have_text(
        ["Automatic up to $0.36", "Low $0.012", "Medium $0.06", "High $0.36"]
    )
    await expect(choice(tab, "low")).to_be_checked()
    sizes = tab.page.get_by_label("Size").locator("option")
    await expect(sizes).to_have_text(
        ["Automatic", "Square 1:1", "Portrait 2:3", "Landscape 3:2", "Square 1024\xd71024"]
    )
    await order(tab, "an untouched form")
    assert (await last_order(home))["settings"] == {"quality": "low"}
    await expect(tab.page.locator(".paid")).to_have_text(
        re.compile(r"^\$0\.012 spent · \$\d+\.\d{2,6} left today$")
    )


async def test_what_a_team_may_not_choose_is_not_offered(home: House, tab: Tab) -> None:
    await enter(home, tab, OTHER_KEY)
    quality = tab.page.get_by_role("group", name="Quality")
    await expect(quality.locator("label")).to_have_text(["Low $0.012", "Medium $0.06"])
    await expect(tab.page.get_by_label("Size").locator("option")).to_have_text(
        ["Square 1:1", "Portrait 2:3"]
    )
    await tab.page.get_by_label("Prompt").fill("for a team with lists")
    await expect(quote(tab)).to_contain_text("Makes a new picture, at most $0.012")
    await order(tab, "for a team with lists")
    assert (await last_order(home, OTHER_KEY))["settings"] == {"quality": "low", "size": "1:1"}


async def test_the_last_choice_is_there_again(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await choice(tab, "medium").check()
    await tab.page.get_by_label("Size").select_option("2:3")
    other = Tab(await tab.page.context.new_page(), home.http.base_url)
    await enter(home, other)
    await expect(choice(other, "medium")).to_be_checked()
    await expect(other.page.get_by_label("Size")).to_have_value("2:3")
    await choice(other, "").check()
    await other.page.get_by_label("Prompt").fill("left to the model")
    await expect(quote(other)).to_contain_text("at most $0.36")


async def test_a_resolution_is_chosen_where_the_model_has_a_list(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await expect(tab.page.get_by_role("group", name="Resolution")).to_have_count(0)
    await tab.page.get_by_label("Model").select_option("gpt-image-2")
    resolution = tab.page.get_by_role("group", name="Resolution")
    await expect(resolution.locator("label")).to_have_text(
        ["Automatic up to $0.40", "1K $0.40", "2K $0.60", "4K $1.20"]
    )
    await choice(tab, "2K").check()
    await order(tab, "a large one")
    assert (await last_order(home))["settings"] == {"resolution": "2K"}
    await expect(tab.page.locator(".paid")).to_contain_text("$0.60 spent")


async def test_no_price_is_shown_of_what_was_chosen_before(home: House, tab: Tab) -> None:
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if "resolution=4K" in route.request.url:
            held.append(route)
        else:
            await route.continue_()

    await tab.page.route("**/team/v1/prices/*", hold)
    await enter(home, tab)
    await tab.page.get_by_label("Model").select_option("gpt-image-2")
    await expect(tab.page.locator(".in-sight-price", has_text="$1.20")).to_be_visible()
    await choice(tab, "4K").check()
    await expect(tab.page.locator(".in-sight-price:not(:empty)")).to_have_count(0)
    await choice(tab, "1K").check()
    await expect(tab.page.locator(".in-sight-price", has_text="$1.20")).to_be_visible()
    assert held


async def test_a_refusal_names_what_would_fit(home: House, tab: Tab) -> None:
    await enter(home, tab, POOR_KEY)
    await tab.page.get_by_label("Prompt").fill("more than is left")
    await tab.page.get_by_label("Pictures", exact=True).fill("10")
    await choice(tab, "medium").check()
    await expect(quote(tab)).to_contain_text("Would be refused")
    await expect(quote(tab).get_by_role("button")).to_have_text(
        ["Low would fit ($0.12)", "8 pictures would fit ($0.48)"]
    )
    await tab.button("8 pictures would fit ($0.48)").click()
    await expect(quote(tab)).to_contain_text("Makes 8 new pictures, at most $0.48")
    await expect(tab.page.get_by_label("Pictures", exact=True)).to_have_value("8")


async def test_fewer_and_cheaper_is_named_where_neither_will_do_alone(
    home: House, tab: Tab
) -> None:
    await enter(home, tab, POOR_KEY)
    await tab.page.get_by_label("Model").select_option("gpt-image-2")
    await tab.page.get_by_label("Prompt").fill("far more than is left")
    await tab.page.get_by_label("Pictures", exact=True).fill("10")
    await choice(tab, "4K").check()
    await tab.button("1 picture in 1K would fit ($0.40)").click()
    await expect(quote(tab)).to_contain_text("Makes a new picture, at most $0.40")
    await expect(choice(tab, "1K")).to_be_checked()


async def test_times_in_refusals_are_those_of_the_page(home: House, tab: Tab) -> None:
    await home.made("most of what there is", quality="high", key=POOR_KEY)
    await enter(home, tab, POOR_KEY)
    await tab.page.get_by_label("Prompt").fill("the rest of it and more")
    await choice(tab, "high").check()
    await expect(quote(tab)).to_contain_text(re.compile(r"renews at \w{3} \d+, 12:00 AM"))
    await tab.button("Generate").click()
    refused = tab.page.locator(".result").get_by_role("alert")
    await expect(refused).to_contain_text(re.compile(r"renews at \w{3} \d+, 12:00 AM"))
    assert not re.search(r"\d{4}-\d\d-\d\dT", await tab.page.locator("main").inner_text())
    tab.faults[:] = [one for one in tab.faults if not AWAY.search(one)]


async def test_what_may_have_been_paid_is_not_called_refused(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Prompt").fill("[sandbox:drop] where is it")
    await tab.button("Generate").click()
    result = tab.page.locator(".result")
    await expect(result).to_contain_text("The outcome is not known")
    await expect(result.locator(".badge").first).to_have_text("Not known")
    await expect(result).to_contain_text("no answer came back")
    await expect(result).not_to_contain_text("Cache-Control")
    tab.faults[:] = [one for one in tab.faults if "status of 504" not in one]


# --- away ----------------------------------------------------------------------------------------


async def test_no_answer_is_no_refusal_and_is_asked_again(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.context.set_offline(True)
    await tab.page.get_by_label("Prompt").fill("written without a network")
    await expect(quote(tab)).to_contain_text("No answer from the gateway")
    await expect(quote(tab)).not_to_contain_text("refused")
    await expect(tab.button("Generate")).to_be_disabled()
    await expect(tab.page.get_by_text("Off until the gateway answers again.")).to_be_visible()
    icon = quote(tab).locator("svg use")
    assert await icon.evaluate("one => one.getBBox().width") > 0
    assert await tab.axe() == []
    await tab.page.context.set_offline(False)
    await expect(quote(tab)).to_contain_text("Makes a new picture")
    await expect(tab.button("Generate")).to_be_enabled()


async def test_a_page_that_is_opened_too_early_fills_itself(home: House, tab: Tab) -> None:
    await enter(home, tab)

    async def bad_gateway(route: Route) -> None:
        await route.fulfill(status=503, content_type="text/html", body="<h1>503</h1>")

    await tab.page.route(re.compile(r"/(team/v1|healthz)"), bad_gateway)
    await tab.page.reload()
    await expect(quote(tab)).to_contain_text("No answer from the gateway")
    await expect(tab.page.get_by_text("There is no model")).to_have_count(0)
    await tab.page.unroute(re.compile(r"/(team/v1|healthz)"))
    await expect(tab.page.get_by_label("Model")).to_have_value("gpt-image-1.5")
    await expect(tab.page.locator(".in-sight-price", has_text="$0.012")).to_be_visible()
    tab.faults[:] = [one for one in tab.faults if "status of 503" not in one]


async def test_what_is_under_way_is_waited_for_without_a_network(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Prompt").fill("under way [sandbox:delay=3]")
    await tab.button("Generate").click()
    badge = tab.page.locator(".result .badge").first
    await expect(badge).to_have_text("Being made")
    await tab.page.context.set_offline(True)
    await expect(tab.page.locator(".progress-line")).to_contain_text("No answer from the gateway")
    await expect(badge).to_have_text("Being made")
    await tab.page.context.set_offline(False)
    await expect(badge).to_have_text("Done")


async def test_a_proxy_without_a_gateway_behind_it_is_no_refusal(home: House, tab: Tab) -> None:
    await enter(home, tab)

    async def bad_gateway(route: Route) -> None:
        await route.fulfill(status=502, content_type="text/html", body="<h1>502</h1>")

    await tab.page.route(re.compile(r"/(v1|healthz)"), bad_gateway)
    await tab.page.get_by_label("Prompt").fill("behind a proxy")
    await expect(quote(tab)).to_contain_text("No answer from the gateway")
    await tab.page.unroute(re.compile(r"/(v1|healthz)"))
    await expect(quote(tab)).to_contain_text("Makes a new picture")
    tab.faults[:] = [one for one in tab.faults if "status of 502" not in one]


# --- coming back to it ---------------------------------------------------------------------------


async def test_history_has_prompts_of_what_failed_and_all_settings(home: House, tab: Tab) -> None:
    await home.made(
        "an owl", size="3:2", quality="medium", n=2, negative_prompt="blue", key=TEAM_KEY
    )
    await home.made("never [sandbox:fail=content_policy_violation]", quality="low")
    await enter(home, tab)
    entries = tab.page.locator(".history-entry")
    await expect(entries.nth(0)).to_contain_text("never [sandbox:fail=content_policy_violation]")
    await expect(entries.nth(0)).to_contain_text("failed")
    await entries.nth(0).click()
    result = tab.page.locator(".result")
    await expect(result.get_by_role("alert")).to_contain_text("content_policy_violation")
    await expect(result.locator(".paid")).to_have_text("Nothing spent")
    await result.get_by_role("button", name="Try again").click()
    await expect(result.locator(".badge").first).to_have_text("Failed")
    assert (await last_order(home))["settings"] == {"quality": "low"}
    await tab.page.locator(".history-entry", has_text="an owl").click()
    await expect(result.locator(".picture img")).to_have_count(2)
    await expect(result.locator(".paid")).to_have_text("$0.12 spent")
    await result.get_by_role("button", name="Same settings").click()
    await expect(tab.page.get_by_label("Prompt")).to_have_value("an owl")
    await expect(tab.page.get_by_label("Size")).to_have_value("3:2")
    await expect(choice(tab, "medium")).to_be_checked()
    await expect(tab.page.get_by_label("Pictures", exact=True)).to_have_value("2")
    await expect(tab.page.get_by_text("Also sent: negative_prompt")).to_be_visible()
    await expect(quote(tab)).to_contain_text("From the cache, for nothing")


async def test_what_was_erased_cannot_be_tried_again(home: House, tab: Tab) -> None:
    task = await home.made("gone soon", quality="low")
    failed = await home.made("gone too [sandbox:fail=content_policy_violation]", quality="low")
    for one in (task, failed):
        await home.admin("DELETE", f"runs/{one['id']}")
    await enter(home, tab)
    erased = tab.page.locator(".history-entry", has_text="Erased")
    await expect(erased).to_have_count(2)
    await erased.first.click()
    result = tab.page.locator(".result")
    await expect(result).to_contain_text("What was asked for was erased.")
    await expect(result.get_by_role("alert")).to_be_visible()
    await expect(result.get_by_role("button", name="Try again")).to_have_count(0)


async def test_a_draft_outlives_a_reload_and_ends_with_the_key(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Prompt").fill("half a thought")
    await drop(tab, "frame.png", "image/png", png("red"))
    await expect(tab.page.get_by_text("frame.png: sent")).to_be_attached()
    await tab.page.reload()
    await expect(tab.page.get_by_label("Prompt")).to_have_value("half a thought")
    await expect(tab.page.locator(".thumb")).to_have_count(1)
    await tab.button("Keys of blue").click()
    await tab.button("Sign out").click()
    await enter(home, tab)
    await expect(tab.page.get_by_label("Prompt")).to_have_value("")
    await expect(tab.page.locator(".thumb")).to_have_count(0)


async def test_a_browser_that_keeps_nothing_will_do(home: House, tab: Tab) -> None:
    await tab.page.add_init_script(NO_STORAGE)
    await enter(home, tab)
    await choice(tab, "medium").check()
    await order(tab, "nothing is kept")
    await tab.button("Use the dark theme").click()
    assert (await last_order(home))["settings"] == {"quality": "medium"}


async def test_what_another_version_kept_is_no_harm(home: House, tab: Tab) -> None:
    await enter(home, tab)
    for choices, kept in (
        ("{bad", "[1]"),
        ('{"size":5,"model":{}}', '{"form":null,"links":[1,null]}'),
        ('{"quality":"none"}', '{"form":{"prompt":7,"n":"x","more":null},"links":{}}'),
    ):
        await tab.page.evaluate(
            """([choices, kept]) => addEventListener("pagehide", () => {
                localStorage.setItem("gateway.choices", choices);
                sessionStorage.setItem("gateway.draft", kept);
            })""",
            [choices, kept],
        )
        await tab.page.reload()
        await expect(choice(tab, "low")).to_be_checked()
        await tab.page.get_by_label("Prompt").fill(f"after {choices}")
        await expect(quote(tab)).to_contain_text("Makes a new picture, at most $0.012")


async def test_a_model_that_is_taken_away_is_not_replaced_in_silence(home: House, tab: Tab) -> None:
    await enter(home, tab)
    await tab.page.get_by_label("Model").select_option("gpt-image-2")
    models = {name: one for name, one in home.settings.models.items() if name != "gpt-image-2"}
    home.gateway.reload(home.settings.model_copy(update={"models": models}))
    await tab.page.get_by_label("Prompt").fill("for a model that is gone")
    await expect(
        tab.page.get_by_text("Your team has no model gpt-image-2 any more.")
    ).to_be_visible()
    await expect(tab.page.get_by_label("Model")).to_have_value("gpt-image-1.5")
    await expect(quote(tab)).to_contain_text("at most $0.012")
    home.gateway.reload(home.settings)


# --- the frame -----------------------------------------------------------------------------------


async def test_one_zone_is_named_and_used(home: House, tab: Tab) -> None:
    await home.made("at a time", quality="low")
    await enter(home, tab)
    await expect(tab.page.locator(".foot")).to_have_text("All times and days: Asia/Tokyo")
    await tab.page.get_by_role("link", name="Gallery").click()
    shown = tab.page.locator(".tile time").first
    at = await shown.get_attribute("datetime")
    expected = await tab.page.evaluate(
        "at => new Date(at).toLocaleTimeString('en-US', { timeZone: 'Asia/Tokyo' })", at
    )
    title = await shown.get_attribute("title")
    assert title and expected in title and title.endswith("Asia/Tokyo")


async def test_the_chip_names_the_side_one_is_on(home: House, tab: Tab) -> None:
    await tab.page.goto(f"{home.http.base_url}/console")
    await tab.page.get_by_label("Team key").fill(TEAM_KEY)
    await tab.page.get_by_label("Admin key, for operators").fill(ADMIN_KEY)
    await tab.button("Open").click()
    await expect(tab.button("Keys of blue")).to_be_visible()
    await tab.page.evaluate("location.hash = '#/teams'")
    await expect(tab.button("Keys of Operator")).to_be_visible()
    await tab.page.evaluate("location.hash = '#/runs/run-of-nobody'")
    missing = tab.page.get_by_role("alert")
    await expect(missing).to_contain_text("remembered for 30 days")
    await expect(missing.get_by_role("button")).to_have_count(0)


async def test_limits_that_change_reach_a_form_that_is_open(home: House, tab: Tab) -> None:
    await enter(home, tab, OTHER_KEY)
    await expect(choice(tab, "low")).to_be_checked()
    held = {"green": {"allow": {"qualities": ["medium", "high"]}}}
    home.gateway.reload(home.settings.model_copy(update={"teams": parse_teams(home, held)}))
    await tab.page.get_by_label("Prompt").fill("within other limits")
    quality = tab.page.get_by_role("group", name="Quality")
    await expect(quality.locator("label")).to_have_text(["Medium $0.06", "High $0.36"])
    await expect(quote(tab)).to_contain_text("Makes a new picture, at most $0.06")
    home.gateway.reload(home.settings)


async def test_limits_of_a_minute_are_told_while_they_are_used(home: House, tab: Tab) -> None:
    idle = {
        "keys": [digest("team-idle-key")],
        "budgets": [{"usd": 5, "per": "day"}],
        "limits": {"runs_per_minute": 60},
    }
    teams = parse_teams(home, {"idle": idle})
    home.gateway.reload(home.settings.model_copy(update={"teams": teams}))
    await enter(home, tab, "team-idle-key")
    await tab.page.get_by_role("link", name="Usage", exact=True).click()
    await expect(tab.page.get_by_role("meter")).to_have_count(1)
    await home.made("one of a minute", quality="low", key="team-idle-key")
    await tab.page.reload()
    await expect(tab.page.get_by_role("meter")).to_have_count(2)
    home.gateway.reload(home.settings)


def parse_teams(home: House, changed: Any) -> Any:
    """The teams of the file, with these instead or besides."""
    text = settings_text("http://127.0.0.1:1", home.folder, teams={**TEAMS, **changed})
    return parse(text, {}).teams
