"""The ledger held against upstream's own record: lost answers, strangers, credits, the money."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import stores
from house import ORGANISATION_KEY, PRICE_USD, House, house, opened
from structlog.testing import capture_logs
from test_operator_e2e import Desk

from gateway.adapters.openai_images.reconciling import UsageWitness
from gateway.sandbox import RunningSandbox

SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
SPENT = 'gateway_budget_spent_usd{team="blue",window="day"}'
CAPPED = {"blue": {"budgets": [{"usd": 100, "per": "day"}]}}
SOON_LOST: dict[str, Any] = {
    "teams": CAPPED,
    "models": {"gpt-image-1.5": {"deadline": "1500ms"}},
    "upstreams": {"evolink": {"timeout": {"connect": "5s", "submit": "20s", "poll": "20s"}}},
}
"""A doubt is over soon; upstream is waited for however busy the machine is."""
AT_ONCE = {"older_than": "0s"}
DROPPED = "lost [sandbox:drop]"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A house with one order made, by which upstream's list is known for ours."""
    async with house(tmp_path, **SOON_LOST) as one:
        await one.made("the first")
        yield one


async def looked(home: House, **asked: str) -> Any:
    answer = await home.admin("GET", "reconcile", params={**AT_ONCE, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def applied(home: House) -> Any:
    answer = await home.admin("POST", "reconcile", json=AT_ONCE)
    assert answer.status_code == 200, answer.text
    assert await home.violations() == []
    return answer.json()


async def cut(home: House, prompt: str = "never taken", **more: Any) -> None:
    """An order that reaches upstream's door, which is shut before anybody has looked at it."""
    home.sandbox.state.down, home.sandbox.state.down_mode = True, "cut"
    lost = await home.post(prompt, **{"headers": {"Cache-Control": "no-cache"}, **more})
    assert lost.status_code == 504, lost.text
    home.sandbox.state.down = False
    await home.settled()


async def dropped(home: House) -> None:
    """An order that upstream takes, and whose answer is lost."""
    lost = await home.post(DROPPED)
    assert lost.status_code == 504
    await home.settled()


async def stranger(home: House, *, ago: float = 0.0) -> str:
    """Somebody else's task under the organisation's key."""
    async with httpx.AsyncClient(base_url=home.sandbox.base_url) as other:
        answer = await other.post(
            "/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": "not ours"},
            headers={"Authorization": f"Bearer {ORGANISATION_KEY}"},
        )
    name: str = answer.json()["id"]
    home.sandbox.state.tasks[name].created -= ago
    return name


def doubts(told: Any) -> list[Any]:
    found: list[Any] = told["upstreams"][0]["doubts"]
    return found


# --- what the two agree on -----------------------------------------------------------------------


async def test_where_nothing_was_lost_nothing_differs(home: House) -> None:
    told = await looked(home)
    assert told["differs"] is False and told["applied"] is False
    [one] = told["upstreams"]
    assert (one["upstream"], one["problem"]) == ("evolink", None)
    assert [one[kind] for kind in ("missing", "extra", "different", "doubts")] == [[]] * 4


# --- lost answers --------------------------------------------------------------------------------


async def test_what_upstream_never_took_is_freed(home: House) -> None:
    headers = {"Idempotency-Key": "one-order-0123456789"}
    await cut(home, headers=headers)
    before = await home.metrics()
    assert round(before[SPEND], 6) == round(before[SPENT], 6) == 2 * PRICE_USD

    [doubt] = doubts(await looked(home))
    assert (doubt["conclusion"], doubt["became"]) == ("not_taken", None)
    assert (doubt["spent_usd"], doubt["team"]) == (PRICE_USD, "blue")
    assert (await home.metrics())[SPENT] == before[SPENT]  # it has only looked

    told = await applied(home)
    assert doubts(told)[0]["became"] == "freed" and told["differs"] is False
    after = await home.metrics()
    assert round(after[SPEND], 6) == round(after[SPENT], 6) == PRICE_USD
    counts = [name for name in before if name.startswith("gateway_run_seconds_count")]
    assert [after[name] for name in counts] == [before[name] for name in counts]

    usage = (await home.admin("GET", "usage", params={"by": "team"})).json()["totals"]
    assert (usage["spent_usd"], usage["failed_usd"], usage["failed"]) == (PRICE_USD, 0, 1)
    story = (await home.admin("GET", f"runs/{doubt['run']}")).json()
    assert "own record showed after" in story["summary"] and "was not taken" in story["summary"]
    assert "Nothing was charged" in story["summary"]
    [act] = (await home.admin("GET", "audit", params={"action": "run.free"})).json()["data"]
    assert (act["subject"], act["before"]["spent_usd"], act["after"]["spent_usd"]) == (
        doubt["run"],
        PRICE_USD,
        0,
    )
    assert act["actor"] and act["after"]["reason"] == doubt["reason"]

    # Its client may send it again, under the same key or another, and pays for it once.
    again = await home.post("never taken", headers=headers)
    assert again.status_code == 200 and "replayed" not in str(again.headers).lower()
    await home.ended(again.json()["id"])
    assert home.sandbox.state.accepted_by_prompt["never taken"] == 1
    assert await home.violations() == []


async def test_doing_it_twice_changes_nothing(home: House) -> None:
    await cut(home)
    assert doubts(await applied(home))[0]["became"] == "freed"
    await dropped(home)
    assert doubts(await applied(home))[0]["became"] == "fetching"
    await home.settled()
    spent, acts = (await home.metrics())[SPEND], await acts_of(home)
    told = await applied(home)
    assert told["differs"] is False and doubts(told) == []
    assert ((await home.metrics())[SPEND], await acts_of(home)) == (spent, acts)


async def acts_of(home: House) -> int:
    return len((await home.admin("GET", "audit")).json()["data"])


async def test_what_upstream_took_after_all_is_confirmed_and_fetched(home: House) -> None:
    await dropped(home)
    told = await looked(home)
    [doubt], [extra] = doubts(told), told["upstreams"][0]["extra"]
    assert told["differs"] is True and doubt["conclusion"] == "taken"
    assert extra["task"] == doubt["task"] and extra["may_be"] == [doubt["run"]]

    told = await applied(home)
    assert doubts(told)[0]["became"] == "fetching"
    assert told["differs"] is False and told["upstreams"][0]["extra"] == []
    await home.settled()
    run = (await home.admin("GET", f"runs/{doubt['run']}")).json()
    assert run["run"]["state"] == "done" and len(run["pictures"]) == 1
    assert run["run"]["upstream_task_id"] == doubt["task"]
    assert "was taken" in run["summary"]
    assert round((await home.metrics())[SPEND], 6) == 2 * PRICE_USD
    actions = [one["action"] for one in (await home.admin("GET", "audit")).json()["data"]]
    assert sorted(actions) == ["run.confirm", "run.retry"]

    same = await home.post(DROPPED)
    assert same.json()["status"] == "completed" and "hit" in same.headers["cache-status"]
    assert home.sandbox.state.accepted_by_prompt[DROPPED] == 1
    assert (await looked(home))["differs"] is False
    assert await home.violations() == []


async def test_of_two_at_a_time_nobody_can_tell_which_was_taken(home: House) -> None:
    await cut(home)
    await dropped(home)
    told = await applied(home)
    assert [one["conclusion"] for one in doubts(told)] == ["unknown"] * 2
    assert told["differs"] is True
    assert round((await home.metrics())[SPEND], 6) == round(3 * PRICE_USD, 6)


@stores.both
async def test_a_day_with_losses_ends_as_upstream_bills_it(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    hours = [0.0]

    def clock() -> float:
        return time.time() + 3600 * hours[0]

    sandbox.state.clock = clock
    home = await opened(sandbox, tmp_path, clock=clock, **SOON_LOST)
    try:
        await home.made("the first")
        for hours[0], lose in ((1, cut), (2, dropped), (3, cut)):
            await lose(home)
        answer = await home.admin("POST", "reconcile", json={})
        became = {one["sent_at"]: one["became"] for one in doubts(answer.json())}
        assert [became[at] for at in sorted(became)] == ["freed", "fetching", None]
        hours[0] = 5
        answer = await home.admin("POST", "reconcile", json={"upstream": "evolink", "since": "12h"})
        assert [one["became"] for one in doubts(answer.json())] == ["freed"]
        await home.settled()
        paid = len(sandbox.state.tasks) * PRICE_USD
        assert round((await home.metrics())[SPEND], 6) == round(paid, 6) == 2 * PRICE_USD
        assert await home.violations() == []
    finally:
        await home.stop()


async def test_a_submit_that_is_still_in_doubt_is_left_alone(home: House) -> None:
    lost = await home.post(DROPPED)
    assert lost.status_code == 504
    told = await applied(home)
    assert doubts(told) == [] and told["upstreams"][0]["extra"] == []
    await home.settled()
    assert [one["conclusion"] for one in doubts(await looked(home))] == ["taken"]


async def test_silence_is_not_believed_at_once(home: House) -> None:
    await cut(home)
    answer = await home.admin("POST", "reconcile", json={})
    [doubt] = doubts(answer.json())
    assert (doubt["conclusion"], doubt["became"]) == ("unknown", None)
    assert "too young" in doubt["reason"] and answer.json()["differs"] is True


async def test_without_a_task_of_ours_the_list_proves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, **SOON_LOST) as one:
        await cut(one)
        [doubt] = doubts(await applied(one))
        assert (doubt["conclusion"], doubt["became"]) == ("unknown", None)


# --- strangers, credits, what is not there -------------------------------------------------------


async def test_whoever_else_uses_the_key_is_told_and_gets_nobodys_money(home: House) -> None:
    name = await stranger(home, ago=3600)
    await dropped(home)
    told = await applied(home)
    mine = next(one for one in told["upstreams"][0]["extra"] if one["task"] == name)
    assert mine["may_be"] == [] and mine["credits"] > 0
    [doubt] = doubts(told)
    assert doubt["conclusion"] == "unknown" and "whoever else uses the key" in doubt["reason"]
    assert told["differs"] is True


async def test_a_strangers_task_of_the_same_minute_keeps_money_spent(home: House) -> None:
    await cut(home)
    await stranger(home)
    await stranger(home)
    [doubt] = doubts(await applied(home))
    assert doubt["conclusion"] == "unknown" and doubt["reason"].startswith("2 tasks")


async def test_other_credits_and_a_task_that_is_gone_are_told(home: House) -> None:
    tasks = home.sandbox.state.tasks
    first = next(iter(tasks))
    tasks[first].created -= 600
    await home.made("the second")
    await home.made("the third")
    second, third = list(tasks)[1:]
    tasks[second].used = replace(tasks[second].used, credits=99.5)
    del tasks[third]
    await cut(home)
    told = await applied(home)
    [one] = told["upstreams"]
    assert [(each["task"], each["theirs"]) for each in one["different"]] == [(second, 99.5)]
    assert [each["task"] for each in one["missing"]] == [third]
    assert [each["conclusion"] for each in one["doubts"]] == ["unknown"]
    assert told["differs"] is True


async def test_an_upstream_that_does_not_tell_is_said_to(home: House) -> None:
    await cut(home)
    await home.sandbox.refuse_connections()
    [one] = (await applied(home))["upstreams"]
    assert "no answer came" in one["problem"] and one["doubts"] == []
    await home.sandbox.accept_connections()
    assert doubts(await looked(home))[0]["conclusion"] == "not_taken"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"upstream": "nobody"}, "upstream"),
        ({"since": "40d"}, "since"),
        ({"since": "some day"}, "since"),
        ({"since": "2999-01-01"}, "since"),
        ({"older_than": "long"}, "older_than"),
    ],
)
async def test_what_cannot_be_compared_is_named(
    home: House, asked: dict[str, str], param: str
) -> None:
    for answer in (
        await home.admin("GET", "reconcile", params=asked),
        await home.admin("POST", "reconcile", json=asked),
    ):
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param


async def test_a_drift_of_credits_ends_when_its_task_is_found(home: House) -> None:
    watch = home.gateway.credit_watch
    drift = 'gateway_upstream_credit_drift{upstream="evolink"}'
    client = home.gateway.adapters.connections.upstreams["evolink"]
    await watch.compare("evolink", client)
    await dropped(home)
    await watch.compare("evolink", client)
    assert (await home.metrics())[drift] > 0
    assert doubts(await applied(home))[0]["became"] == "fetching"
    await home.settled()
    await watch.compare("evolink", client)
    assert (await home.metrics())[drift] == 0


# --- an upstream that only counts ----------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """A minute of a usage report."""

    start: float
    requests: int = 1
    model: str = "gpt-image-1.5-2025-12-16"
    images: int = 1


async def test_where_upstream_only_counts_money_follows_the_counts(
    tmp_path: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The books follow whatever the evidence is: here the report of an upstream without tasks."""
    hours = [0.0]

    def clock() -> float:
        return time.time() + 3600 * hours[0]

    async def report(since: float, until: float) -> list[Counted]:
        assert since % 60 == 0 and until == pytest.approx(clock(), abs=60)
        return [Counted(one.created // 60 * 60) for one in sandbox.state.tasks.values()]

    sandbox.state.clock = clock
    home = await opened(sandbox, tmp_path, clock=clock, **SOON_LOST)
    client = home.gateway.adapters.connections.upstreams["evolink"]
    monkeypatch.setattr(client, "evidence", UsageWitness(report).evidence)
    try:
        await home.made("the first")
        for hours[0], lose in ((1, cut), (2, dropped)):
            await lose(home)
        hours[0] = 4
        told = (await home.admin("POST", "reconcile", json={})).json()
        became = {one["sent_at"]: one["became"] for one in doubts(told)}
        assert [became[at] for at in sorted(became)] == ["freed", "confirmed"]
        assert told["differs"] is False
        [sums] = told["upstreams"][0]["sums"]
        assert (sums["their_requests"], sums["our_requests"]) == (2, 1)
        again = (await home.admin("POST", "reconcile", json={})).json()
        assert again["differs"] is False and doubts(again) == []
        [sums] = again["upstreams"][0]["sums"]
        assert (sums["their_requests"], sums["our_requests"]) == (2, 2)
        assert round((await home.metrics())[SPEND], 6) == 2 * PRICE_USD
        runs = (await home.admin("GET", "runs", params={"state": "failed"})).json()["data"]
        assert sorted(run["failure"] for run in runs) == ["result_lost", "service_unavailable"]
        refused = await home.admin("POST", f"runs/{runs[0]['id']}/retry")
        assert refused.status_code == 409
        assert await home.violations() == []

        lost_again = await home.post("lost once more [sandbox:drop]")
        assert lost_again.status_code == 504
        await home.settled()
        [doubt] = doubts((await home.admin("POST", "reconcile", json={})).json())
        assert doubt["became"] == "confirmed"  # what is counted is believed at once
        await stranger(home)
        told = (await home.admin("GET", "reconcile")).json()
        assert [one["requests"] for one in told["upstreams"][0]["extra"]] == [1]
    finally:
        await home.stop()


async def test_an_upstream_without_a_report_says_so(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = home.gateway.adapters.connections.upstreams["evolink"]
    monkeypatch.setattr(client, "evidence", UsageWitness(None).evidence)
    [one] = (await applied(home))["upstreams"]
    assert "usage_key" in one["problem"]


# --- the command ---------------------------------------------------------------------------------


async def test_the_command_tells_and_settles(home: House) -> None:
    await cut(home)
    await dropped(home)
    await home.sandbox.refuse_connections()
    with capture_logs():
        desk = Desk(home)
        away = await desk.type("reconcile")
        assert away.exit_code == 2 and "evolink: not compared." in away.stdout
        await home.sandbox.accept_connections()
        looked = await desk.type("reconcile", "--older-than", "0s", "--since", "1h")
        assert looked.exit_code == 1
        assert "in doubt: the answer was lost" in looked.stdout and "stays spent" in looked.stdout
        told = await desk.type("reconcile", "--older-than", "0s", "--json")
        assert told.exit_code == 1 and json.loads(told.stdout)["differs"] is True
        unknown = await desk.type("reconcile", "--upstream", "nobody")
        assert unknown.exit_code == 1 and "evolink" in unknown.stderr


async def test_the_command_settles_what_is_certain(home: House) -> None:
    await cut(home)
    with capture_logs():
        desk = Desk(home)
        looked = await desk.type("reconcile", "--older-than", "0s")
        assert "can be freed" in looked.stdout
        assert "1 doubtful run can be settled: --apply does it." in looked.stdout
        settled = await desk.run("reconcile", "--older-than", "0s", "--apply")
        assert "freed" in settled
        assert "Nothing differs." in await desk.run("reconcile", "--older-than", "0s")
    assert round((await home.metrics())[SPEND], 6) == PRICE_USD
