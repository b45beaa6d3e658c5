"""Orders that upstream always declines harm nobody but the team that sends them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from house import FAST, OTHER_KEY, TEAM_KEY, House, house

UP = 'gateway_upstream_up{route="evolink/gpt-image-1.5",upstream="evolink"}'
SLOWER = replace(FAST, seconds_per_picture=0.3)
RETRY = {"retry": {"first": "100ms", "max": "2s"}}
PATIENT = {"gpt-image-1.5": {"deadline": "60s"}}
CAPPED = {"blue": {"budgets": [{"usd": 100, "per": "day"}]}}
HELD = 'gateway_budget_held_usd{team="blue",window="day"}'
SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'


async def timed(one: House, prompt: str, key: str) -> float:
    began = time.perf_counter()
    task = await one.made(prompt, key=key)
    assert task["status"] == "completed"
    return time.perf_counter() - began


@pytest.mark.alone
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("poison", "status"), [(12, "429"), (40, "503")])
async def test_declined_orders_of_one_team_do_not_delay_another(
    tmp_path: Path, poison: int, status: str
) -> None:
    async with house(tmp_path, options=SLOWER, worker=RETRY, models=PATIENT) as one:
        usual = median([await timed(one, f"usual {number}", OTHER_KEY) for number in range(3)])
        bad = [f"bad {number} [sandbox:http={status}]" for number in range(poison)]
        answers = await asyncio.gather(*(one.post(prompt, key=TEAM_KEY) for prompt in bad))
        assert {answer.status_code for answer in answers} == {200}
        took = []
        for number in range(8):
            await one.post(f"worse {number} [sandbox:http={status}]", key=TEAM_KEY)
            took.append(await timed(one, f"good {number}", OTHER_KEY))
        assert median(took) < 1.5 * usual and max(took) < 2 * usual + 0.2, (usual, took)
        assert (await one.metrics())[UP] == 1
        assert await one.violations() == []


async def completed(one: House, prompt: str) -> bool:
    posted = (await one.post(prompt)).json()
    return bool((await one.ended(posted["id"], seconds=45))["status"] == "completed")


@pytest.mark.timeout(120)
async def test_within_a_team_good_orders_come_before_those_that_were_declined(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, worker=RETRY, models=PATIENT, teams=CAPPED) as one:
        bad = [f"bad {number} [sandbox:http=503]" for number in range(12)]
        answers = await asyncio.gather(*(one.post(prompt) for prompt in bad))
        waits = []
        for number in range(4):
            began = time.perf_counter()
            assert await completed(one, f"good {number}")
            waits.append(time.perf_counter() - began)
        # Each of the twelve that was not asked for yet may have its turn before, in windows of at
        # most 2 s; those that were declined may not, nor is it the deadline of 60 s.
        assert max(waits) < 12 * 2 + 6 and median(waits) < 12, waits
        ids = [answer.json()["id"] for answer in answers]
        ends = asyncio.gather(*(one.ended(task_id, seconds=50) for task_id in ids))
        good = len(waits)
        while not ends.done():  # that others are taken meanwhile is what tells whose fault it is
            assert await completed(one, f"good {good}")
            good += 1
            await asyncio.sleep(0.3)
        assert {task["error"]["code"] for task in await ends} == {"service_unavailable"}
        shown = await one.metrics()
        assert shown[HELD] == 0 and round(shown[SPEND], 6) == round(good * 0.05, 6)
        assert await one.violations() == []


async def test_an_order_that_is_always_declined_ends_after_some_tries(tmp_path: Path) -> None:
    async with house(tmp_path, models=PATIENT, teams=CAPPED) as one:
        bad = (await one.post("bad [sandbox:http=502:overloaded]")).json()
        for number in range(3):
            await one.made(f"good {number}")
        task = await one.ended(bad["id"])
        assert task["status"] == "failed"
        assert "took others" in task["error"]["message"]
        assert "Nothing was charged" in task["error"]["message"]
        assert one.sandbox.state.submits_by_prompt["bad [sandbox:http=502:overloaded]"] <= 6
        shown = await one.admin("GET", f"runs/{bad['id']}")
        assert "took others" in shown.json()["summary"]
        assert (await one.metrics())[HELD] == 0
        assert await one.violations() == []
