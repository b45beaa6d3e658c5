"""Two gateways on one ledger count as one: a limit is the limit, and what is said is said once."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fellows import fellows
from house import PRICE_USD, House
from receivers import Receive
from test_alerts import alerts, changes, thresholds
from test_files import listed, png, stream


async def flood(houses: Sequence[House], count: int, **more: Any) -> Counter[int]:
    """So many different orders at once, in turn at each of them."""
    orders = [
        houses[number % len(houses)].post(f"picture {number} [sandbox:delay=1]", **more)
        for number in range(count)
    ]
    return Counter(answer.status_code for answer in await asyncio.gather(*orders))


@pytest.mark.parametrize(
    ("limit", "refused"),
    [
        ({"budgets": [{"usd": 5 * PRICE_USD, "per": "day"}]}, 402),
        ({"limits": {"images": [{"count": 5, "per": "day"}]}}, 429),
        ({"limits": {"runs_per_minute": 5}}, 429),
        ({"limits": {"concurrent_runs": 5}}, 429),
    ],
)
async def test_a_limit_is_the_limit_and_not_twice_it(
    tmp_path: Path, limit: dict[str, Any], refused: int
) -> None:
    async with fellows(tmp_path, teams={"blue": limit}) as houses:
        answers = await flood(houses, 24)
        assert answers == {200: 5, refused: 19}
        assert houses[0].sandbox.state.submits == 5
        await houses[0].settled()
        assert await houses[1].violations() == []


async def test_the_same_order_at_both_at_once_is_one_run(tmp_path: Path) -> None:
    async with fellows(tmp_path) as houses:
        answers = await asyncio.gather(*(houses[n % 2].post("the same") for n in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            await houses[0].ended(answer.json()["id"])
        assert houses[0].sandbox.state.submits == 1
        assert await houses[0].violations() == []


async def test_an_idempotency_key_is_one_order_wherever_it_comes(tmp_path: Path) -> None:
    async with fellows(tmp_path) as (one, other):
        key = {"Idempotency-Key": "order-17"}
        for round_ in range(2):
            keyed = {"Idempotency-Key": f"round-{round_}"}
            answers = await asyncio.gather(
                *(house.post(f"round {round_}", headers=keyed) for house in (one, other) * 3)
            )
            assert {answer.status_code for answer in answers} == {200}
            assert len({answer.json()["id"] for answer in answers}) == 1
        first = await one.post("once", headers=key)
        assert (await other.post("once", headers=key)).json()["id"] == first.json()["id"]
        assert (await other.post("another", headers=key)).status_code == 409
        assert one.sandbox.state.submits == 3


async def test_an_alert_is_told_once(
    tmp_path: Path, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    settings = changes(receiver)
    async with fellows(tmp_path, callback_tls=trust, **settings) as houses:
        assert (await flood(houses, 12))[200] == 5
        await receiver.called(2)
        await houses[0].settled()
        assert len(await alerts(houses[0])) == len(await alerts(houses[1])) == 2
        assert sorted(thresholds(receiver.calls)) == [80, 100]


async def test_what_was_refused_and_uploaded_at_one_is_seen_at_the_other(tmp_path: Path) -> None:
    team = {"limits": {"images": [{"count": 1, "per": "day"}]}}
    async with fellows(tmp_path, teams={"blue": team}) as (one, other):
        assert (await one.post("two", n=2)).status_code == 429
        until = asyncio.get_running_loop().time() + 5
        while not (await other.admin("GET", "refusals")).json()["data"]:
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)
        assert (await stream(one, png())).status_code == 200
        assert [(await listed(house))["total"] for house in (one, other)] == [1, 1]
