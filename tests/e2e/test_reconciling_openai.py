"""OpenAI's usage report beside the ledger: lost answers that were charged, and that were not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from two_vendors import MODEL, ONLY_OPENAI, QUICK, Vendors, vendors

ADMIN_KEY = "sk-admin-of-the-organisation"

PATIENT = {"connect": "5s", "submit": "20s", "poll": "20s", "download": "20s"}
"""However busy the machine is."""

Lose = Callable[[Vendors, str], Awaitable[None]]


class Day:
    """A day whose hours the test sets, for the gateway and the vendor alike."""

    def __init__(self) -> None:
        self.hour = 0.0

    def clock(self) -> float:
        return time.time() + 3600 * self.hour


@contextlib.asynccontextmanager
async def a_day(
    folder: Path, day: Day, *, usage_key: str | None = ADMIN_KEY, late_seconds: float = 0.0
) -> AsyncIterator[Vendors]:
    """A gateway before OpenAI alone, with one order made."""
    async with vendors(
        folder,
        routes=ONLY_OPENAI,
        openai=replace(QUICK, usage_delay_seconds=late_seconds),
        upstream={"timeout": PATIENT, **({} if usage_key is None else {"usage_key": usage_key})},
        clock=day.clock,
    ) as one:
        one.openai.state.clock = day.clock
        await one.made("the first")
        yield one


async def is_lost(one: Vendors, prompt: str) -> None:
    answer = await one.post(prompt, headers={"Cache-Control": "no-cache"})
    if answer.status_code == 200:
        task = await one.house.ended(answer.json()["id"])
        assert task["error"]["code"] == "outcome_unknown", task
    else:
        assert answer.status_code == 504, answer.text
    await one.house.settled()


async def never_taken(one: Vendors, prompt: str) -> None:
    one.openai.state.down, one.openai.state.down_mode = True, "cut"
    await is_lost(one, prompt)
    one.openai.state.down = False


async def charged(one: Vendors, prompt: str) -> None:
    await is_lost(one, f"{prompt} [sandbox:drop]")


async def reconciled(one: Vendors, **asked: str) -> Any:
    answer = await one.house.admin("POST", "reconcile", json={"upstream": "openai", **asked})
    assert answer.status_code == 200, answer.text
    assert await one.house.violations() == []
    return answer.json()


def became(told: Any) -> list[str | None]:
    [upstream] = told["upstreams"]
    assert upstream["problem"] is None, upstream
    doubts = sorted(upstream["doubts"], key=lambda one: str(one["sent_at"]))
    return [one["became"] for one in doubts]


async def test_a_day_of_losses_is_put_right_by_the_report(tmp_path: Path) -> None:
    day = Day()
    async with a_day(tmp_path, day) as one:
        first = one.billed_usd_micros
        for day.hour, lose in ((1, never_taken), (2, charged), (3, never_taken)):
            await lose(one, f"at {day.hour}")
        spent = await one.spent_usd_micros()
        day.hour = 6
        told = await reconciled(one)
        ceilings = [round(doubt["spent_usd"] * 1e6) for doubt in told["upstreams"][0]["doubts"]]
        assert min(ceilings) >= 20_000 and spent == first + sum(ceilings)
        assert became(told) == ["freed", "confirmed", "freed"] and told["differs"] is False
        [sums] = told["upstreams"][0]["sums"]
        assert sums["model"] == MODEL and sums["their_requests"] == sums["their_images"] == 2

        # What is spent is never less than the bill: of the lost one only the ceiling is known.
        confirmed = next(d for d in told["upstreams"][0]["doubts"] if d["became"] == "confirmed")
        left = first + round(confirmed["spent_usd"] * 1e6)
        assert await one.spent_usd_micros() == left >= one.billed_usd_micros
        again = await reconciled(one)
        assert became(again) == [] and again["differs"] is False
        made = await one.made("at 1")
        assert made["status"] == "completed"
        assert (await reconciled(one, older_than="0s"))["differs"] is False


async def test_in_the_minute_of_others_it_is_counted_out(tmp_path: Path) -> None:
    day = Day()
    async with a_day(tmp_path, day) as one:
        await never_taken(one, "between others")
        await one.made("one more")
        day.hour = 3
        assert became(await reconciled(one)) == ["freed"]


async def test_two_losses_of_one_time_are_told_apart_by_number_alone(tmp_path: Path) -> None:
    day = Day()
    async with a_day(tmp_path, day) as one:
        await charged(one, "one")
        await charged(one, "two")
        day.hour = 3
        assert became(await reconciled(one)) == ["confirmed", "confirmed"]
        await charged(one, "three")
        await never_taken(one, "four")
        day.hour = 6
        told = await reconciled(one)
        assert became(told) == [None, None] and told["differs"] is True
        assert "or another's" in told["upstreams"][0]["doubts"][0]["reason"]


async def test_a_report_that_is_late_frees_nothing(tmp_path: Path) -> None:
    day = Day()
    async with a_day(tmp_path, day, late_seconds=7200) as one:
        await charged(one, "late")
        day.hour = 1.5
        assert became(await reconciled(one)) == [None]
        day.hour = 3
        assert became(await reconciled(one)) == ["confirmed"]


async def test_whoever_else_uses_the_organisation_is_told(tmp_path: Path) -> None:
    day = Day()
    async with a_day(tmp_path, day) as one:
        day.hour = 1
        async with httpx.AsyncClient(base_url=one.openai.api_url) as other:
            answer = await other.post(
                "/images/generations",
                json={"model": MODEL, "prompt": "not ours", "quality": "low"},
                headers={"Authorization": "Bearer sk-openai-organisation"},
            )
            assert answer.status_code == 200
        day.hour = 3
        told = await reconciled(one)
        [extra] = told["upstreams"][0]["extra"]
        assert (extra["model"], extra["requests"], extra["may_be"]) == (MODEL, 1, [])


@pytest.mark.parametrize(("key", "words"), [(None, "usage_key"), ("sk-no-admin", "not be read")])
async def test_without_a_key_to_the_report_it_says_so(
    tmp_path: Path, key: str | None, words: str
) -> None:
    day = Day()
    async with a_day(tmp_path, day, usage_key=key) as one:
        await never_taken(one, "lost")
        spent = await one.spent_usd_micros()
        day.hour = 3
        [upstream] = (await reconciled(one))["upstreams"]
        assert words in upstream["problem"] and upstream["doubts"] == []
        assert await one.spent_usd_micros() == spent > one.billed_usd_micros
