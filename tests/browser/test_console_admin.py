"""The operator's pages in a real browser: what is clicked there is what happens to orders."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
import trustme
from admin_tab import PHONE, WIDE, Tab, browser_tab
from house import (
    ADMIN_KEY,
    FAST,
    OTHER_KEY,
    PRICE_USD,
    TEAM_KEY,
    House,
    digest,
    opened,
    settings_text,
)
from playwright.async_api import Browser, expect
from receivers import Receive, receiving

from gateway.config import Settings, parse
from gateway.sandbox import running_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

NASTY = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> a lighthouse"
LIMITED = {
    "description": "Campaign <b>pictures</b>",
    "budgets": [{"usd": 10 * PRICE_USD, "per": "day"}, {"usd": 5, "per": "month"}],
    "limits": {"images": [{"count": 40, "per": "day"}], "concurrent_runs": 20},
}
SHADE_KEY = "team-shade-key"
SHADOW = {
    "keys": [digest(SHADE_KEY)],
    "mode": "shadow",
    "budgets": [{"usd": PRICE_USD / 2, "per": "day"}],
}
CALLBACKS = {"allow_private_addresses": True, "retries": ["50ms"]}


def read(file: Path) -> Settings:
    return parse(file.read_text(), {})


@pytest_asyncio.fixture(loop_scope="module")
async def home(tmp_path: Path, trust: ssl.SSLContext) -> AsyncIterator[House]:
    """A gateway whose settings come from a file, so that they can be reloaded."""
    file = tmp_path / "config.yaml"
    data = tmp_path / "data"
    data.mkdir()
    async with running_sandbox(FAST) as sandbox:
        parts = {"teams": {"blue": LIMITED, "shade": SHADOW}, "callbacks": CALLBACKS}
        file.write_text(settings_text(sandbox.base_url, data, **parts))
        load = partial(read, file)
        one = await opened(sandbox, data, callback_tls=trust, load=load, **parts)
        try:
            yield one
        finally:
            await one.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def receive(authority: trustme.CA) -> AsyncIterator[Receive]:
    async with receiving(authority) as start:
        yield start


@pytest_asyncio.fixture(loop_scope="module")
async def tab(home: House, chromium: Browser) -> AsyncIterator[Tab]:
    async with browser_tab(chromium, home.http.base_url, key=ADMIN_KEY) as one:
        yield one


async def create_team(tab: Tab, name: str, budget: str) -> None:
    await tab.open("teams")
    await tab.page.get_by_role("link", name="New team").first.click()
    await tab.page.get_by_label("Name", exact=True).fill(name)
    await tab.page.get_by_label("Description").fill("Made in the console")
    await expect(tab.page.get_by_label("Per", exact=True)).to_have_value("month")
    await tab.page.get_by_label("Per", exact=True).select_option("day")
    await tab.page.get_by_label("US dollars").fill(budget)
    await tab.button("Create the team").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text(name)


async def shown_secret(tab: Tab) -> str:
    """The key in the dialog that shows it, which is copied and closed."""
    dialog = tab.page.get_by_role("dialog", name="The new key")
    key = await dialog.get_by_label("The new key").input_value()
    await dialog.get_by_role("button", name="Copy", exact=True).click()
    assert await tab.page.evaluate("navigator.clipboard.readText()") == key
    await dialog.get_by_role("button", name="Done").click()
    await expect(dialog).to_have_count(0)
    assert key not in await tab.page.content(), "the secret is shown once"
    return key


async def issue_key(tab: Tab, label: str) -> str:
    await tab.button("Issue a key").click()
    await tab.page.get_by_label("Label").fill(label)
    await tab.button("Issue the key").click()
    return await shown_secret(tab)


async def status_of(home: House, key: str, prompt: str) -> int:
    return (await home.post(prompt, key=key)).status_code


async def test_a_team_gets_keys_that_are_used_rotated_and_revoked(home: House, tab: Tab) -> None:
    await create_team(tab, "atelier", "5")
    first = await issue_key(tab, "production")
    assert first.startswith("igw_")
    assert await status_of(home, first, "one") == 200

    await tab.button("Rotate production").click()
    await tab.button("Make the new key").click()
    second = await shown_secret(tab)
    assert [await status_of(home, key, "two") for key in (first, second)] == [200, 200]
    await expect(tab.page.get_by_role("table", name="Keys")).to_contain_text("Expiring")

    for row in (1, 0):  # the old one, then the new one
        keys = tab.page.get_by_role("table", name="Keys").locator("tbody tr")
        await keys.nth(row).get_by_role("button", name="Revoke production").click()
        await tab.page.get_by_role("dialog").get_by_role("button", name="Revoke the key").click()
        await expect(keys.nth(row)).to_contain_text("Revoked")
        answers = [await status_of(home, key, "three") for key in (first, second)]
        assert answers == ([401, 200] if row == 1 else [401, 401]), "at once, and that one alone"
    assert tab.faults == []


async def test_a_changed_budget_holds_for_the_very_next_order(home: House, tab: Tab) -> None:
    await create_team(tab, "atelier", str(PRICE_USD))
    key = await issue_key(tab, "ci")
    await home.made("first", key=key)
    await home.settled()
    refused = await home.post("second", key=key)
    assert refused.status_code == 402

    await tab.page.get_by_role("link", name="Edit").click()
    await tab.page.get_by_label("US dollars").fill(str(2 * PRICE_USD))
    await tab.button("Save").click()
    await expect(tab.page.get_by_role("meter").first).to_have_attribute(
        "aria-valuetext", "$0.05 spent, $0.05 left of $0.10"
    )
    assert (await home.post("second", key=key)).status_code == 200
    assert (await home.post("third", key=key)).status_code == 402

    await tab.page.get_by_role("link", name="Refused").click()
    rows = tab.page.get_by_role("table", name="Refused orders").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await tab.open(f"runs/{refused.headers['X-Request-Id']}")
    await expect(tab.page.locator(".explained")).to_contain_text("denied by the rule usd_per_day")
    await expect(tab.page.locator(".explained")).to_contain_text("It cost nothing")
    await tab.shot("refusal-real")
    assert tab.faults == []


async def test_fields_at_fault_are_named_and_nothing_is_made(home: House, tab: Tab) -> None:
    await tab.open("teams/%2Bnew")
    await tab.button("Create the team").click()
    name, amount = tab.page.get_by_label("Name", exact=True), tab.page.get_by_label("US dollars")
    await expect(name).to_have_attribute("aria-invalid", "true")
    await expect(name).to_be_focused()
    await expect(amount).to_have_attribute("aria-invalid", "true")
    await name.fill("blue")
    await amount.fill("1")
    await tab.button("Create the team").click()
    await expect(tab.page.locator(".team-form")).to_contain_text("blue")
    await expect(name).to_have_attribute("aria-invalid", "true")
    await expect(name).to_be_focused()  # else what is typed next would go there
    await name.fill('"Atelier" \U0001f98a ' + "x" * 60)
    await tab.button("Create the team").click()
    await expect(name).to_have_attribute("aria-invalid", "true")
    await expect(name).to_be_focused()
    await name.fill("atelier")
    await amount.fill("0.00000001")
    await tab.button("Create the team").click()
    await expect(amount).to_have_attribute("aria-invalid", "true")
    await expect(name).not_to_have_attribute("aria-invalid", "true")
    teams = (await home.admin("GET", "teams")).json()["data"]
    assert {team["name"] for team in teams} == {"blue", "green", "shade"}
    answered = [fault for fault in tab.faults if "status of 409" in fault or "of 400" in fault]
    assert answered == tab.faults and len(answered) == 3


async def test_a_team_without_a_budget_is_made_knowingly(home: House, tab: Tab) -> None:
    await tab.open("teams/%2Bnew")
    await tab.page.get_by_label("Name", exact=True).fill("atelier")
    await tab.button("Create the team").click()
    amount = tab.page.get_by_label("US dollars")
    await expect(amount).to_be_focused()
    await tab.button("Remove budget 1").click()
    await expect(tab.page.locator(".team-form")).to_contain_text("can spend without an end")
    await tab.page.get_by_label("Clients that pass the cache by").select_option("ignore")
    await tab.button("Create the team").click()
    await expect(tab.page.locator(".facts")).to_contain_text("No client may")
    made = (await home.admin("GET", "teams/atelier")).json()["settings"]
    assert made["budgets"] == [] and made["cache"]["client_control"] == "ignore"
    await tab.page.get_by_role("link", name="Edit").click()
    await expect(tab.page.get_by_label("US dollars")).to_have_count(0)  # nothing is put in
    await tab.page.get_by_label("Clients that pass the cache by").select_option("")
    await tab.button("Save").click()
    await expect(tab.page.locator(".facts")).to_contain_text("As in the settings")
    assert tab.faults == []


async def test_what_an_order_leaves_out_is_set_for_a_team(home: House, tab: Tab) -> None:
    await create_team(tab, "atelier", "5")
    await tab.page.get_by_role("link", name="Edit").click()
    quality = tab.page.get_by_label("Quality, where an order has none")
    await quality.select_option("low")
    await tab.button("Save").click()
    await expect(tab.page.locator(".facts")).to_contain_text("quality: low")
    await tab.page.get_by_role("link", name="Edit").click()
    await quality.select_option("")
    await tab.page.get_by_label("Size, where an order has none").select_option("1:1")
    await tab.button("Save").click()
    await expect(tab.page.locator(".facts")).to_contain_text("size: 1:1")
    made = (await home.admin("GET", "teams/atelier")).json()["settings"]
    assert made["defaults"] == {"size": "1:1"}
    assert tab.faults == []


async def test_a_team_is_deleted_only_by_its_name_and_one_of_the_file_not_at_all(
    home: House, tab: Tab
) -> None:
    await create_team(tab, "atelier", "1")
    key = await issue_key(tab, "ci")
    await tab.button("Delete").click()
    delete = tab.button("Delete the team")
    await expect(delete).to_be_disabled()
    await tab.page.get_by_role("dialog").get_by_role("textbox").fill("atelie")
    await expect(delete).to_be_disabled()
    await tab.page.get_by_role("dialog").get_by_role("textbox").fill("atelier")
    await delete.click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Teams")
    assert await status_of(home, key, "one") == 401

    await tab.open("teams/blue")
    await expect(tab.page.locator("main")).to_contain_text("kept in the settings file")
    for name in ("Delete", "Issue a key"):
        await expect(tab.button(name)).to_have_count(0)
    await expect(tab.page.get_by_role("link", name="Edit")).to_have_count(0)
    assert tab.faults == []


async def test_closing_an_uncopied_key_asks_once_more(home: House, tab: Tab) -> None:
    await create_team(tab, "atelier", "1")
    await tab.button("Issue a key").click()
    await tab.button("Issue the key").click()
    dialog = tab.page.get_by_role("dialog", name="The new key")
    await expect(dialog).to_contain_text("you will not see it again")
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_contain_text("You have not copied it yet")
    await tab.shot("secret")
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


@pytest.mark.parametrize(
    ("by_hand", "told"), [("() => false", "Not copied"), (None, "Copied")], ids=["no", "by hand"]
)
async def test_a_clipboard_that_is_denied_is_told(
    home: House, tab: Tab, by_hand: str | None, told: str
) -> None:
    await create_team(tab, f"atelier-{told[:3].lower()}", "1")
    denied = "{ writeText: () => Promise.reject(new Error('denied')) }"
    await tab.page.evaluate(
        f"Object.defineProperty(navigator, 'clipboard', {{ value: {denied} }});"
        + (f"document.execCommand = {by_hand};" if by_hand else "")
    )
    await tab.button("Issue a key").click()
    await tab.button("Issue the key").click()
    dialog = tab.page.get_by_role("dialog", name="The new key")
    await dialog.get_by_role("button", name="Copy", exact=True).click()
    await expect(dialog.get_by_role("button", name=told, exact=True)).to_be_visible()
    await tab.page.keyboard.press("Escape")
    unsaved = dialog.get_by_text("You have not copied it yet")
    await expect(unsaved).to_have_count(1 if by_hand else 0)
    assert tab.faults == []


async def some_work(home: House) -> None:
    """Runs, hits, refusals of a few teams."""
    await home.made("a red bicycle", n=2)
    await home.made("a red bicycle", n=2)
    await home.made(NASTY)
    await home.made("a green boat", key=OTHER_KEY)
    failing = await home.post("[sandbox:fail=content_policy_violation] no")
    await home.ended(failing.json()["id"])
    await home.post("too many", n=11)
    await home.settled()


async def test_the_plot_the_table_and_the_csv_say_the_same(home: House, tab: Tab) -> None:
    await some_work(home)
    await tab.open("usage")
    async with tab.page.expect_download() as saving:
        await tab.button("Download CSV").click()
    rows = list(csv.DictReader(Path(await (await saving.value).path()).read_text().splitlines()))
    assert rows
    plot = tab.page.locator("[data-plotted]").first
    plotted = json.loads(str(await plot.get_attribute("data-plotted")))
    assert sum(sum(one["values"]) for one in plotted["series"]) > 0
    for one in plotted["series"]:
        for day, value in zip(plotted["days"], one["values"], strict=True):
            exact = sum(
                float(row["spent_usd"])
                for row in rows
                if (row["team"], row["day"]) == (one["label"], day)
            )
            assert value == pytest.approx(exact, abs=1e-9)
    for name in ("spent_usd", "saved_usd", "hits", "started", "failed", "images_generated"):
        total = tab.page.locator(f"[data-total={name}]")
        exact = sum(float(row[name]) for row in rows)
        assert float(str(await total.get_attribute("data-value"))) == pytest.approx(exact, abs=1e-9)
    ledger = (await home.admin("GET", "usage")).json()["totals"]
    assert sum(float(row["spent_usd"]) for row in rows) == pytest.approx(ledger["spent_usd"])
    main = tab.page.locator("main")
    await expect(main).to_contain_text("4 new \u00b7 1 of them failed, nothing charged")
    await expect(main).to_contain_text("2 of 6: not paid a second time")
    heads = (
        await tab.page.get_by_role("table", name="By team and model")
        .locator("thead tr:last-child th")
        .all_inner_texts()
    )
    assert len(set(heads)) == len(heads), "no two columns are called alike"
    await tab.page.get_by_label("Team", exact=True).select_option("green")
    await expect(tab.page.locator("[data-total=spent_usd]")).to_have_text("$0.05")
    assert tab.faults == []


async def test_runs_are_filtered_and_explained(home: House, tab: Tab) -> None:
    await some_work(home)
    await tab.open("runs")
    rows = tab.page.get_by_role("table", name="Runs").locator("tbody tr")
    await expect(rows).to_have_count(4)
    await tab.page.get_by_label("State", exact=True).select_option("failed")
    await expect(rows).to_have_count(1)
    assert "state=failed" in tab.page.url
    await tab.button("Clear filters").click()
    await tab.page.get_by_label("Team", exact=True).select_option("green")
    await expect(rows).to_have_count(1)
    await rows.get_by_role("link", name="a green boat").click()
    await expect(tab.page.locator(".explained")).to_contain_text("Team green asked for")
    await expect(tab.page.locator(".timeline li")).not_to_have_count(0)
    picture = tab.page.locator("img.shot")
    await expect(picture).to_have_count(1)
    assert await picture.evaluate("async (one) => (await one.decode(), one.naturalWidth)") > 0
    assert tab.faults == []


async def test_a_run_can_be_sent_again_as_it_is_shown(home: House, tab: Tab) -> None:
    prompt = 'it\'s a "fox"\nin $HOME \\ `x` \u96ea'
    made = await home.made(prompt, n=2, quality="low")
    await tab.open(f"runs/{made['id']}")
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("it's a")
    command = await tab.page.get_by_label("The request as a command").inner_text()
    done = await asyncio.create_subprocess_exec(
        *("sh", "-c", command.replace("curl ", "curl -s ")),
        env={"GATEWAY_KEY": TEAM_KEY, "PATH": os.environ["PATH"], "HOME": "/nowhere"},
        stdout=asyncio.subprocess.PIPE,
    )
    answer = json.loads((await done.communicate())[0])
    assert answer["results"] == made["results"], "it is the same order: nothing is paid again"
    facts = tab.page.locator(".facts")
    await expect(facts).to_contain_text("Answers identical orders")
    failing = (await home.post("[sandbox:fail=content_policy_violation] no")).json()["id"]
    await home.ended(failing)
    await tab.open(f"runs/{failing}")
    await expect(facts).to_contain_text("Failure")
    await expect(facts).not_to_contain_text("Its result")
    assert tab.faults == []


ODD_ORDERS: list[tuple[dict[str, Any], str]] = [
    (
        {"n": "x", "size": {}, "quality": ["low"]},
        'size an object \u00b7 quality a list \u00b7 n "x"',
    ),
    ({"size": NASTY}, NASTY[:100]),
    (
        {"size": "1:1", "quality": "low", "n": 3, "key": SHADE_KEY},
        "3 pictures \u00b7 at most $0.15",
    ),
]


async def test_a_refusal_says_what_was_ordered(home: House, tab: Tab) -> None:
    for sent, shown in ODD_ORDERS:
        answer = await home.post("no words of it", **sent)
        await tab.open(f"runs/{answer.headers['X-Request-Id']}")
        await expect(tab.page.locator(".facts").first).to_contain_text(shown)
        await expect(tab.page.locator(".facts").first).not_to_contain_text("no words of it")
        await tab.open("runs?view=refused")
        rows = tab.page.get_by_role("table", name="Refused orders").locator("tbody tr")
        await expect(rows.first).to_contain_text(shown)
    await tab.page.goto(f"{home.http.base_url}/console#/runs/nothing-is-called-so")
    await expect(tab.page.locator(".error-box")).to_contain_text("30 days")
    await expect(tab.button("Try again")).to_have_count(0)
    assert [fault for fault in tab.faults if "404" not in fault] == []


async def test_a_long_label_of_a_key_fits_on_a_phone(home: House, tab: Tab) -> None:
    await home.admin(
        "POST", "teams", json={"name": "atelier", "budgets": [{"usd": 1, "per": "day"}]}
    )
    issued = await home.admin("POST", "teams/atelier/keys", json={"label": "W" * 100})
    await home.post("too many", n=11, key=issued.json()["key"])
    await home.settled()
    await tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await tab.open("runs?view=refused")
    await expect(tab.page.get_by_text("W" * 100)).to_be_visible()
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_what_failed_upstream_is_not_said_to_cost_nothing(home: House, tab: Tab) -> None:
    await home.post("[sandbox:http=400:invalid_request] where is it")
    await home.settled()
    await tab.open("runs?view=refused")
    await expect(tab.page.get_by_text("Failed upstream").first).to_be_attached()
    await expect(tab.page.locator(".lead")).to_contain_text("has a run that says what it cost")


async def test_a_prompt_is_shown_as_text(home: House, tab: Tab) -> None:
    await home.made(NASTY)
    for place in ("runs", "runs?view=pictures"):
        await tab.open(place)
        await expect(tab.page.get_by_text(NASTY).first).to_be_visible()
        assert await tab.page.locator("img[src=x]").count() == 0
    assert tab.faults == []


async def test_a_picture_is_erased(home: House, tab: Tab) -> None:
    task = await home.made("a red bicycle")
    await tab.open("runs?view=pictures")
    await tab.button("Erase: a red bicycle").click()
    await tab.button("Erase for good").click()
    await expect(tab.page.get_by_role("list", name="Pictures")).to_contain_text("Erased")
    assert (await home.client.get(task["results"][0])).status_code in (404, 410)
    assert tab.faults == []


async def test_what_shadow_mode_would_have_refused(home: House, tab: Tab) -> None:
    went_on = await home.post("too dear", key=SHADE_KEY)
    assert went_on.status_code == 200
    await tab.open("teams/shade")
    await expect(tab.page.locator("main")).to_contain_text("Shadow mode")
    await tab.page.get_by_role("link", name="See what would have been refused").click()
    rows = tab.page.get_by_role("table", name="Refused orders").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Shadow: went on")
    await rows.get_by_role("link").first.click()
    await expect(tab.page.locator(".explained")).to_contain_text("would have been denied")
    await expect(tab.page.locator("main")).to_contain_text(went_on.json()["id"])
    assert tab.faults == []


async def test_a_callback_is_sent_again(home: House, tab: Tab, receive: Receive) -> None:
    receiver = await receive()
    answer = await home.post("a red bicycle", callback_url=receiver.url())
    await receiver.called()
    await home.ended(answer.json()["id"])
    await tab.open("health?view=callbacks")
    rows = tab.page.get_by_role("table", name="Callbacks").locator("tbody tr")
    await expect(rows).to_contain_text("Delivered")
    await rows.get_by_role("button", name="Send again").click()
    await receiver.called(2)
    assert receiver.calls[0].id == receiver.calls[1].id
    assert tab.faults == []


async def test_settings_are_reloaded_and_their_problems_listed(
    home: House, tab: Tab, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    good = file.read_text()
    await tab.open("health")
    await expect(tab.page.locator(".ready")).to_contain_text("Ready to take orders")
    value: dict[str, Any] = json.loads(good)
    value["teams"]["late"] = {"keys": []}
    file.write_text(json.dumps(value))
    await tab.button("Reload settings").click()
    await expect(tab.page.locator("main")).to_contain_text("Everything is in force")
    assert "late" in {team["name"] for team in (await home.admin("GET", "teams")).json()["data"]}
    value["teams"]["late"]["budgets"] = [{"usd": -1, "per": "fortnight"}]
    file.write_text(json.dumps(value))
    await tab.button("Reload settings").click()
    await expect(tab.page.locator(".problems")).to_contain_text("teams.late.budgets")
    await expect(tab.page.locator("main")).to_contain_text("those before are in force")
    await expect(tab.page.locator("main")).to_contain_text("The file has mistakes")
    await tab.shot("reload-refused")
    assert [fault for fault in tab.faults if "400" not in fault] == []


async def test_health_looks_again_by_itself(home: House, tab: Tab) -> None:
    await tab.page.clock.install()
    await tab.open("health")
    states = tab.page.locator(".state-list")
    await expect(tab.page.get_by_text("Nothing was ordered yet")).to_be_visible()
    await home.made("a red bicycle")
    await home.settled()
    await tab.page.clock.run_for(5_100)
    await expect(states.locator("li", has_text="Done")).to_contain_text("1")
    await tab.button("Stop refreshing").click()
    await home.made("another")
    await tab.page.clock.run_for(20_000)
    await expect(states.locator("li", has_text="Done")).to_contain_text("1")


async def test_health_warns_of_a_picture_that_is_not_kept(home: House, tab: Tab) -> None:
    answer = (await home.admin("GET", "health")).json()
    late = json.dumps({**answer, "oldest_unkept_seconds": 725})
    await tab.page.route("**/admin/v1/health", lambda route: route.fulfill(body=late))
    await tab.open("health")
    await expect(tab.page.locator(".ready")).to_contain_text("a paid picture is not kept yet")
    await expect(tab.page.locator(".ready")).to_contain_text("12 min 5 s")
    assert await tab.axe() == []


async def test_health_shows_the_gateways_of_one_ledger(home: House, tab: Tab) -> None:
    answer = (await home.admin("GET", "replicas")).json()
    [one] = answer["data"]
    assert (one["this"], one["alive"], answer["chores_here"]) == (True, True, True)
    other = {**one, "id": "r", "name": "box-2:7", "this": False, "alive": False, "settings": "0"}
    found = json.dumps({**answer, "data": [one, other], "chores_here": False})
    await tab.open("health")
    await expect(tab.page.get_by_role("heading", name="Routes")).to_be_visible()
    await expect(tab.page.get_by_role("table", name="Gateways")).to_have_count(0)
    await tab.page.route("**/admin/v1/replicas", lambda route: route.fulfill(body=found))
    await tab.open("health")
    rows = tab.page.get_by_role("table", name="Gateways").locator("tbody tr")
    await expect(rows.nth(0)).to_contain_text("this one")
    await expect(rows.nth(1)).to_contain_text("Silent")
    await expect(rows.nth(1)).to_contain_text("Others")
    assert await tab.axe() == []


async def test_cache_and_audit_trail(home: House, tab: Tab) -> None:
    await home.made("a red bicycle")
    await create_team(tab, "atelier", "1")
    await tab.open("health?view=cache")
    await tab.button("Purge").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Purge", exact=True).click()
    await expect(tab.page.get_by_text("1 finished orders answer nobody any more")).to_be_visible()
    assert (await home.post("a red bicycle")).json()["status"] != "completed"
    change = {"budgets": [{"usd": 1.5, "per": "day"}], "allow": {"qualities": ["low"]}}
    await home.admin("PATCH", "teams/atelier", json=change)
    await tab.open("health?view=changes")
    rows = tab.page.get_by_role("table", name="Changes").locator("tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(0)).to_contain_text("budget day before: $1.00 \u2192 after: $1.50")
    await expect(rows.nth(0)).to_contain_text("qualities after: low")
    await expect(rows.nth(2)).to_contain_text("budget day after: $1.00")
    key = (await home.admin("POST", "teams/atelier/keys", json={"label": "x"})).json()["id"]
    await home.admin("DELETE", f"teams/atelier/keys/{key}")
    await tab.open("health?view=changes")
    ended = rows.filter(has_text="revoked")
    await expect(ended).to_contain_text(re.compile(r"after: \w{3} \d+, \d\d:\d\d [AP]M"))
    assert tab.faults == []


async def test_without_a_key_it_is_asked_for_and_a_dead_one_is_dropped(
    home: House, chromium: Browser
) -> None:
    async with browser_tab(chromium, home.http.base_url, key=None) as tab:
        await tab.open("teams")
        await tab.page.get_by_label("Admin key").fill(ADMIN_KEY)
        await tab.button("Open").click()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Teams")
        assert ADMIN_KEY not in tab.page.url


SCHEMES: tuple[Literal["light", "dark"], ...] = ("dark", "light")
PLACES = {
    "teams": "teams",
    "team": "teams/atelier",
    "team-provisioned": "teams/blue",
    "team-shadow": "teams/shade",
    "team-new": "teams/%2Bnew",
    "usage": "usage",
    "runs": "runs",
    "refused": "runs?view=refused",
    "pictures": "runs?view=pictures",
    "health": "health",
    "callbacks": "health?view=callbacks",
    "cache": "health?view=cache",
    "changes": "health?view=changes",
}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.long
async def test_every_page_is_clean_in_light_and_dark(
    home: House, chromium: Browser, size: tuple[int, int]
) -> None:
    await some_work(home)
    made = {"name": "atelier", "budgets": [{"usd": 3, "per": "week"}], "limits": {}}
    await home.admin("POST", "teams", json=made)
    key = (await home.admin("POST", "teams/atelier/keys", json={"label": "ci"})).json()
    await home.admin("POST", f"teams/atelier/keys/{key['id']}/rotate", json={"grace": "1h"})
    await home.post("too dear", key=SHADE_KEY)
    done = (await home.admin("GET", "runs?state=done")).json()["data"][-1]["id"]
    found = {}
    async with browser_tab(chromium, home.http.base_url, key=ADMIN_KEY, size=size) as tab:
        for name, place in {**PLACES, "run": f"runs/{done}"}.items():
            await tab.open(place)
            found[name] = await clean(tab, name)
        await tab.open("teams/atelier")
        await tab.button("Issue a key").click()
        await tab.button("Issue the key").click()
        await tab.button("Done").wait_for()
        found["secret"] = await clean(tab, "secret")
    assert {name: faults for name, faults in found.items() if faults} == {}


async def clean(tab: Tab, name: str) -> list[str]:
    """What is wrong with what is shown, in light and in dark."""
    wrong = []
    for scheme in SCHEMES:
        await tab.page.emulate_media(color_scheme=scheme)
        await tab.shot(name)
        wrong += [*tab.faults, *await tab.axe()]
        tab.faults.clear()
    if (wider := await tab.overflow()) > 0:
        wrong.append(f"{wider} pixels wider than the screen")
    return wrong


async def test_three_hundred_teams_are_listed_at_once(home: House, tab: Tab) -> None:
    budgets = [{"usd": 5, "per": "day"}]
    for number in range(300):
        body = {"name": f"team-with-a-long-name-{number:03d}", "budgets": budgets}
        assert (await home.admin("POST", "teams", json=body)).status_code == 200
    asked: list[str] = []
    tab.page.on("request", lambda one: asked.append(one.url) if "/admin/" in one.url else None)
    await tab.open("teams")
    assert len([url for url in asked if "teams" in url]) == 1
    await tab.page.get_by_label("Search").fill("199 LONG t\u00e9am")
    rows = tab.page.get_by_role("table", name="Teams").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("team-with-a-long-name-199")
