"""An upstream that lies, hangs, cuts and dies: no money lost or leaked, no stack trace."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import stores
from house import FAST, PRICE_USD, House, house

from gateway.adapters.pictures.marker import NAME as MARKER

SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
HELD = 'gateway_budget_held_usd{team="blue",window="day"}'
CAPPED = {"blue": {"budgets": [{"usd": 100, "per": "day"}]}}
SHORT = {"gpt-image-1.5": {"deadline": "2s"}}
SOON_LOST = {"evolink": {"timeout": {"submit": "500ms"}}}
"""Well before the deadline."""


@pytest.fixture(autouse=True)
def no_stack_trace(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> object:
    """Whatever upstream does, it is an event and never an exception of ours."""
    yield
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "word", ["drop", "hang", "garbage", "http=500", "http=502", "http=504", "http=524"]
)
async def test_a_lost_answer_is_never_sent_again(tmp_path: Path, word: str) -> None:
    async with house(tmp_path, teams=CAPPED, models=SHORT, upstreams=SOON_LOST) as one:
        prompt = f"lost [sandbox:{word}]"
        lost = await one.post(prompt)
        assert lost.status_code == 504
        assert lost.json()["error"]["code"] == "outcome_unknown"
        assert "Nothing was sent again" in lost.json()["error"]["message"]
        same = await one.post(prompt)
        assert same.status_code == 504
        assert one.sandbox.state.submits == 1
        assert (await one.metrics())[HELD] == PRICE_USD
        knowingly = await one.post(prompt, headers={"Cache-Control": "no-cache"})
        assert knowingly.status_code == 504
        assert one.sandbox.state.submits == 2
        await one.settled()
        shown = await one.metrics()
        assert shown[HELD] == 0 and round(shown[SPEND], 6) == 2 * PRICE_USD
        assert await one.violations() == []


async def test_an_upstream_that_is_down_is_no_error_to_the_client(a_house: House) -> None:
    await a_house.sandbox.refuse_connections()
    answer = await a_house.post("patience")
    assert answer.status_code == 200
    assert answer.json()["status"] == "pending"
    await asyncio.sleep(0.3)
    assert (await a_house.poll(answer.json()["id"])).json()["status"] == "pending"
    ready = await a_house.client.get("/readyz")
    assert ready.status_code == 200
    await a_house.sandbox.accept_connections()
    assert (await a_house.ended(answer.json()["id"]))["status"] == "completed"
    assert a_house.sandbox.state.submits == 1
    assert await a_house.violations() == []


async def test_down_until_the_deadline_gives_the_money_back(tmp_path: Path) -> None:
    async with house(tmp_path, teams=CAPPED, models=SHORT) as one:
        one.sandbox.state.down = True
        answer = await one.post("in vain")
        assert answer.status_code == 200
        task = await one.ended(answer.json()["id"])
        assert task["status"] == "failed"
        assert task["error"]["code"] == "service_unavailable"
        shown = await one.metrics()
        assert shown[HELD] == 0 and shown[SPEND] == 0
        assert await one.violations() == []


@pytest.mark.parametrize("status", [429, 503, 408])
async def test_not_now_is_tried_again(a_house: House, status: int) -> None:
    task = await a_house.made(f"later [sandbox:http={status}*2]")
    assert task["status"] == "completed"
    assert a_house.sandbox.state.submits == 3
    assert await a_house.violations() == []


@pytest.mark.parametrize(
    "word",
    ["dead-link", "html-link", "huge-link", "redirect-link", "truncated-link", "cut-link"],
)
async def test_a_result_that_cannot_be_kept(tmp_path: Path, word: str) -> None:
    async with house(tmp_path, teams=CAPPED, storage={"picture_limit": "2MB"}, options=FAST) as one:
        answer = await one.post(f"lost result [sandbox:{word}]")
        assert answer.status_code == 200
        if word == "cut-link":  # a broken line may heal: it is tried for a day
            await asyncio.sleep(1)
            task = (await one.poll(answer.json()["id"])).json()
            assert task["status"] == "processing"
            assert (await one.metrics())["gateway_oldest_unkept_seconds"] > 0
        else:
            task = await one.ended(answer.json()["id"])
            assert task["status"] == "failed" and task["error"]["code"] == "result_lost"
            assert "results" not in task
            assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        async with asyncio.timeout(5):  # the next try of a broken line may be under way
            while stores.kept(tmp_path) != [MARKER]:
                await asyncio.sleep(0.02)
        assert await one.violations() == []


async def test_a_slow_link_is_waited_for(a_house: House) -> None:
    task = await a_house.made("slow [sandbox:slow-link=0.7]")
    assert task["status"] == "completed"


async def test_polls_that_fail_do_not_end_the_run(a_house: House) -> None:
    for prompt in ("p [sandbox:poll-http=500*3]", "p [sandbox:poll-garbage*3]"):
        assert (await a_house.made(prompt))["status"] == "completed"
    assert await a_house.violations() == []


async def test_a_task_that_never_ends_is_closed_at_the_deadline(tmp_path: Path) -> None:
    async with house(tmp_path, teams=CAPPED, models=SHORT) as one:
        task = await one.made("stuck [sandbox:stuck]")
        assert task["status"] == "failed"
        assert task["error"]["code"] == "generation_timeout"
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        assert await one.violations() == []


async def test_an_upstream_that_dies_while_a_task_runs(a_house: House) -> None:
    answer = await a_house.post("survivor [sandbox:delay=0.3]")
    await a_house.sandbox.refuse_connections()
    await asyncio.sleep(0.6)
    assert (await a_house.poll(answer.json()["id"])).json()["status"] != "failed"
    await a_house.sandbox.accept_connections()
    assert (await a_house.ended(answer.json()["id"]))["status"] == "completed"


async def test_credits_above_the_hold_never_break_a_budget(tmp_path: Path) -> None:
    async with house(
        tmp_path, teams=CAPPED, upstreams={"evolink": {"usd_per_credit": 0.01}}
    ) as one:
        await one.made("dear [sandbox:credits=1000]")
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        await one.made("cheap [sandbox:credits=2.5]")
        assert round((await one.metrics())[SPEND], 6) == 0.075
        assert await one.violations() == []
