"""What every answer to an order tells in its headers: its cost, what it saved, what is left."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import httpx2 as httpx
import pytest
from house import FAST, TEAM_KEY, digest, house, opened

from gateway.ports.clock import Clock
from gateway.sandbox import running_sandbox

BLUE = {"keys": [digest(TEAM_KEY)]}
LIMITED = {
    "blue": {
        "budgets": [{"usd": 10, "per": "month"}, {"usd": "0.17", "per": "day"}],
        "limits": {"runs_per_minute": 1000},
    }
}
NOON = 1_767_268_800.0 + 12 * 3600


def from_noon() -> Clock:
    """A clock that goes on from the first second of a minute, so that no test leaves it."""
    began = time.monotonic()
    return lambda: NOON + 1 + time.monotonic() - began


RATE = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
OPENAI_RATE = tuple(f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset"))


def money(answer: httpx.Response) -> tuple[str | None, str | None, str | None]:
    """Cost, saved, and what is left of the budget."""
    names = ("cost", "saved", "budget-left")
    return tuple(answer.headers.get(f"x-gateway-{name}-usd") for name in names)  # type: ignore[return-value]


def rate(answer: httpx.Response, names: tuple[str, ...] = RATE) -> list[str | None]:
    return [answer.headers.get(name) for name in names]


async def test_each_kind_of_answer_has_its_numbers(tmp_path: Path) -> None:
    async with house(tmp_path, teams=LIMITED, clock=from_noon()) as one:
        started = await one.post("slow [sandbox:delay=1]", n=2)
        assert money(started) == ("0.100000", "0.000000", "0.070000")
        joined = await one.post("slow [sandbox:delay=1]", n=2)
        assert money(joined) == ("0.000000", "0.100000", "0.070000")
        await one.ended(started.json()["id"])
        hit = await one.post("slow [sandbox:delay=1]", n=2)
        assert money(hit) == ("0.000000", "0.100000", "0.070000")
        refused = await one.post("too dear", n=2)
        assert refused.status_code == 402
        assert money(refused) == ("0.000000", "0.000000", "0.070000")
        on_openai = await one.openai("by OpenAI's client")
        assert on_openai.status_code == 200
        assert money(on_openai) == ("0.050000", "0.000000", "0.020000")
        too_dear = await one.openai("too dear", n=2)
        assert too_dear.status_code == 429 and money(too_dear)[2] == "0.020000"
        for answer, begun in ((started, 1), (joined, 1), (hit, 1), (refused, 1), (on_openai, 2)):
            limit, remaining, reset = rate(answer)
            assert (limit, remaining) == ("1000", str(1000 - begun)) and 0 < int(reset or 0) < 60
            assert rate(answer, OPENAI_RATE) == [limit, remaining, f"{reset}s"]


async def test_an_order_that_comes_again_under_its_key_is_told_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, teams=LIMITED) as one:
        key = {"Idempotency-Key": "once", "Prefer": "wait=20"}
        first, again = [await one.post("once", headers=key) for _ in range(2)]
        assert again.headers["idempotency-replayed"] == "true"
        assert money(first) == money(again) == ("0.050000", "0.000000", "0.120000")


async def test_what_is_refused_while_it_is_read_says_that_it_cost_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, teams=LIMITED, clock=from_noon()) as one:
        await one.post("first", headers={"Idempotency-Key": "one"})
        answers = [
            (400, await one.post("a red bicycle", n=99)),
            (409, await one.post("another", headers={"Idempotency-Key": "one"})),
            (504, await one.post("unknown", headers={"Cache-Control": "only-if-cached"})),
            (400, await one.post("no key", headers={"Idempotency-Key": "x" * 300})),
            (400, await one.openai("a red bicycle", n=99)),
            (400, await one.openai("no such size", size="3x5")),
            (413, await one.post("long " * 300_000)),
        ]
        for status, answer in answers:
            assert (answer.status_code, money(answer)[:2]) == (status, ("0.000000",) * 2)


async def test_a_run_per_minute_too_many_says_when_there_are_more(tmp_path: Path) -> None:
    teams = {"blue": {"limits": {"runs_per_minute": 1}}}
    async with house(tmp_path, teams=teams, clock=from_noon()) as one:
        await one.made("the one")
        refused = await one.post("one more")
        assert refused.status_code == 429
        wait = int(refused.headers["retry-after"])
        assert 0 <= wait - int(refused.headers["ratelimit-reset"]) <= 1
        assert rate(refused) == ["1", "0", refused.headers["ratelimit-reset"]]
        assert money(refused) == ("0.000000", "0.000000", None), "it has no budget"


async def test_without_limits_only_the_cost_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        answer = await one.post("free of limits")
        assert money(answer) == ("0.050000", "0.000000", None)
        assert rate(answer) + rate(answer, OPENAI_RATE) == [None] * 6
        invalid = await one.post("x", size="3:7")
        assert invalid.status_code == 400 and money(invalid) == ("0.000000", "0.000000", None)


async def test_the_cost_of_an_ended_run_is_what_it_did_cost(tmp_path: Path) -> None:
    """Held at the price, settled at the credits that upstream reports."""
    upstreams = {"evolink": {"usd_per_credit": "0.01"}}
    async with house(tmp_path, teams=LIMITED, upstreams=upstreams) as one:
        accepted = await one.post("dear [sandbox:credits=2.5]")
        assert money(accepted)[0] == "0.050000"
        await one.ended(accepted.json()["id"])
        hit = await one.post("dear [sandbox:credits=2.5]")
        assert money(hit) == ("0.000000", "0.025000", "0.145000")
        waited = await one.post("other [sandbox:credits=2.5]", headers={"Prefer": "wait=20"})
        assert money(waited) == ("0.025000", "0.000000", "0.120000")
        failed = await one.openai("[sandbox:fail=content_policy_violation]")
        assert failed.status_code == 400
        assert money(failed) == ("0.000000", "0.000000", "0.120000")
        refused = await one.post("[sandbox:http=400]")
        assert refused.status_code == 400
        assert money(refused) == ("0.000000", "0.000000", "0.120000"), "nothing stays held"


async def test_an_answer_that_was_lost_costs_what_stays_held(tmp_path: Path) -> None:
    async with house(tmp_path, teams=LIMITED) as one:
        unknown = await one.post("[sandbox:drop]")
        assert unknown.status_code == 504 and money(unknown)[:2] == ("0.050000", "0.000000")
        again = await one.post("[sandbox:drop]")
        assert again.status_code == 504 and money(again) == ("0.000000", "0.000000", "0.120000")
        refused = await one.post("[sandbox:http=400]")
        assert refused.status_code == 400 and money(refused)[0] == "0.000000"


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
async def test_many_at_a_time_are_each_told_the_truth(tmp_path: Path, mode: str) -> None:
    """One hold after the other: no two are told the same, and none is told of more than is held."""
    teams = {
        "blue": {
            "mode": mode,
            "budgets": [{"usd": 1, "per": "total"}],
            "limits": {"runs_per_minute": 1000},
        }
    }
    async with house(tmp_path, teams=teams, clock=from_noon()) as one:
        answers = await asyncio.gather(*(one.post(f"[sandbox:delay=2] {n}") for n in range(30)))
        taken = [one for one in answers if one.status_code == 200]
        assert len(taken) == (20 if mode == "enforce" else 30)
        told = sorted(Decimal(answer.headers["x-gateway-budget-left-usd"]) for answer in taken)
        expected = [max(Decimal(0), 1 - Decimal("0.05") * n) for n in range(1, len(taken) + 1)]
        assert told == sorted(expected)
        held = sum(Decimal(answer.headers["x-gateway-cost-usd"]) for answer in taken)
        assert held == Decimal("0.05") * len(taken)
        begun = sorted(int(answer.headers["ratelimit-remaining"]) for answer in taken)
        assert begun == list(range(1000 - len(taken), 1000))
        for refused in answers:
            if refused.status_code == 402:
                assert money(refused) == ("0.000000", "0.000000", "0.000000")


async def test_what_is_left_survives_a_restart(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        first = await opened(sandbox, tmp_path, teams=LIMITED)
        await first.made("before")
        await first.stop()
        second = await opened(sandbox, tmp_path, teams=LIMITED)
        try:
            hit = await second.post("before")
            assert money(hit) == ("0.000000", "0.050000", "0.120000")
        finally:
            await second.stop()


async def test_pages_of_other_origins_may_read_them(tmp_path: Path) -> None:
    page = "https://app.example.com"
    async with house(tmp_path, teams=LIMITED, server={"cors_origins": [page]}) as one:
        answer = await one.post("from a page", headers={"Origin": page})
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        for name in (*RATE, *OPENAI_RATE, "x-gateway-cost-usd", "x-gateway-saved-usd"):
            assert name in exposed and name in answer.headers
        assert "x-gateway-budget-left-usd" in exposed
        described = (await one.client.get("/openapi.json")).json()["paths"]
        for path in ("/v1/images/generations", "/openai/v1/images/edits"):
            headers = described[path]["post"]["responses"]["200"]["headers"]
            assert {name.lower() for name in headers} >= {
                name for name in exposed if "rate" in name
            }
