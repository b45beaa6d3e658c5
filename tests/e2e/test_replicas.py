"""Three gateways that share a PostgreSQL database and a bucket keep the promises of one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import shared_servers
from house import FAST, ORGANISATION_KEY, OTHER_KEY, PRICE_USD, TEAM_KEY, digest
from replicas import Replica, Replicas, replicas

TEAMS = {
    "blue": {"keys": [digest(TEAM_KEY)]},
    "green": {"keys": [digest(OTHER_KEY)]},
    "tight": {
        "keys": [digest("tight-key")],
        "budgets": [{"usd": round(40 * PRICE_USD, 6), "per": "month"}],
    },
    "slow": {"keys": [digest("slow-key")], "limits": {"runs_per_minute": 10}},
    "narrow": {"keys": [digest("narrow-key")], "limits": {"concurrent_runs": 3}},
}
module_loop = pytest.mark.asyncio(loop_scope="module")
pytestmark = [pytest.mark.slow, module_loop]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Quick upstream, teams with each kind of limit; nothing in this file ends them."""
    storage = shared_servers.stores("three")
    async with replicas(tmp_path_factory.mktemp("three"), storage=storage, teams=TEAMS) as all_:
        yield all_


async def statuses(orders: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*orders))


async def test_a_budget_is_exact_with_hundreds_at_once(three: Replicas) -> None:
    orders = [three.post(f"tight {number}", key="tight-key") for number in range(300)]
    assert await statuses(orders) == {200: 40, 402: 260}
    spent = await settled(three, "tight")
    assert spent["images_generated"] == 40
    assert spent["spent_usd"] == pytest.approx(40 * PRICE_USD)


async def test_identical_orders_at_three_gateways_are_one_run(three: Replicas) -> None:
    before = three.sandbox.state.submits
    orders = [three.post("the same [sandbox:delay=0.5]", at=at) for at in three.every * 10]
    answers = await asyncio.gather(*orders)
    tasks = [answer.json()["id"] for answer in answers]
    ended = await asyncio.gather(*(three.ended(task) for task in tasks))
    assert three.sandbox.state.submits == before + 1
    assert len({one["results"][0] for one in ended}) == 1


async def test_a_rate_is_the_rate_and_not_three_times_it(three: Replicas) -> None:
    await same_minute()
    orders = [three.post(f"slow {number}", key="slow-key") for number in range(60)]
    assert await statuses(orders) == {200: 10, 429: 50}


async def test_runs_at_once_are_counted_over_all(three: Replicas) -> None:
    orders = [
        three.post(f"narrow {number} [sandbox:delay=2]", key="narrow-key") for number in range(30)
    ]
    assert await statuses(orders) == {200: 3, 429: 27}


async def test_an_idempotency_key_is_one_order_wherever_it_comes(three: Replicas) -> None:
    before = three.sandbox.state.submits
    key = {"Idempotency-Key": "once-and-for-all"}
    orders = [three.post("keyed", at=at, headers=key) for at in three.every * 5]
    answers = await asyncio.gather(*orders)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert three.sandbox.state.submits <= before + 1


async def test_whoever_waits_hears_of_a_run_of_another(three: Replicas) -> None:
    first, second, _ = three.every
    prompt = "awaited [sandbox:delay=1]"
    begun = await three.post(prompt, at=first)
    began = time.monotonic()
    answer = await three.post(prompt, at=second, headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "completed"
    told = await three.ended(begun.json()["id"], at=first)
    assert told["results"] == answer.json()["results"]
    assert time.monotonic() - began < 10


async def test_every_gateway_has_every_picture(three: Replicas) -> None:
    first, *others = three.every
    task = await three.ended((await three.post("shown everywhere", at=first)).json()["id"])
    [name] = [link.rpartition("/pictures/")[2] for link in task["results"]]
    pictures = [await three.client.get(f"{one.url}/pictures/{name}") for one in three.every]
    assert {one.status_code for one in pictures} == {200}
    assert len({one.content for one in pictures}) == 1
    part = await three.client.get(
        f"{others[0].url}/pictures/{name}", headers={"Range": "bytes=0-9"}
    )
    assert (part.status_code, part.content) == (206, pictures[0].content[:10])


async def test_a_key_works_and_ends_everywhere_at_once(three: Replicas) -> None:
    first, second, third = three.every
    key, key_id = await three.new_team("art", first)
    orders = [await three.post("an apple", at=at, key=key) for at in (second, third, first)]
    assert {answer.status_code for answer in orders} == {200}
    assert (await three.admin("DELETE", f"teams/art/keys/{key_id}", at=second)).status_code == 200
    after = [await three.poll("task-of-nobody", at=at, key=key) for at in (third, first, second)]
    assert {answer.status_code for answer in after} == {401}


async def test_a_lower_cap_holds_everywhere_with_the_next_order(three: Replicas) -> None:
    first, second, third = three.every
    key, _ = await three.new_team("thrifty", first)
    assert (await three.post("before", at=second, key=key)).status_code == 200
    lower = {"budgets": [{"usd": PRICE_USD, "per": "month"}]}
    changed = await three.admin("PATCH", "teams/thrifty", at=third, json=lower)
    assert changed.status_code == 200, changed.text
    refused = [await three.post(f"after {at.name}", at=at, key=key) for at in three.every]
    assert {answer.status_code for answer in refused} == {402}


async def test_what_is_purged_at_one_is_answered_by_none(three: Replicas) -> None:
    before = three.sandbox.state.submits
    for at in three.every:
        await three.ended((await three.post("purged", at=at)).json()["id"], at=at)
    assert three.sandbox.state.submits == before + 1
    await three.admin("POST", "cache/purge", at=three.every[1], json={"team": "blue"})
    for at in three.every:
        await three.ended((await three.post("purged", at=at)).json()["id"], at=at)
    assert three.sandbox.state.submits == before + 2


async def test_what_is_erased_at_one_is_shown_by_none(three: Replicas) -> None:
    first, second, third = three.every
    for at in three.every:
        task = await three.ended((await three.post("erased", at=at)).json()["id"], at=at)
    name = task["results"][0].rpartition("/pictures/")[2]
    stem = name.partition(".")[0]
    gone = await three.admin("DELETE", f"pictures/{stem}", at=second)
    assert gone.status_code == 200, gone.text
    before = three.sandbox.state.submits
    for at in (third, first, second):
        assert (await three.client.get(f"{at.url}/pictures/{name}")).status_code in (404, 410)
    again = await three.post("erased", at=third)
    await three.ended(again.json()["id"])
    assert three.sandbox.state.submits == before + 1


async def settled(three: Replicas, team: str) -> Any:
    """The team's usage once nothing of it is held."""
    end = time.monotonic() + 60
    while True:
        answer = await three.admin("GET", f"teams/{team}")
        assert answer.status_code == 200, answer.text
        runs = await three.admin("GET", "runs", params={"team": team, "limit": 500})
        live = [run for run in runs.json()["data"] if run["state"] not in ("done", "failed")]
        if not live:
            return await three.usage(team)
        assert time.monotonic() < end, live
        await asyncio.sleep(0.1)


async def same_minute() -> None:
    """Returns when the minute has some seconds left."""
    while time.time() % 60 > 50:
        await asyncio.sleep(0.5)


async def test_two_gateways_do_not_share_a_data_folder(three: Replicas, tmp_path: Path) -> None:
    first = three.every[0]
    twin = Replica("twin", tmp_path / "twin", first.settings)
    twin.folder.mkdir()
    (twin.folder / "data").symlink_to(first.folder / "data")
    await twin.start(ready=False)
    assert await twin.gone() == 1
    assert f"Another gateway uses the folder {twin.folder / 'data'}" in twin.log
    assert "storage.data_dir" in twin.log


async def test_a_gateway_that_dies_takes_no_order_with_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    storage = shared_servers.stores("dying")
    options = replace(FAST, seconds_per_picture=1.0)
    folder = tmp_path_factory.mktemp("dying")
    async with replicas(folder, storage=storage, options=options) as all_:
        first, *_ = all_.every
        orders = [all_.post(f"order {number}") for number in range(60)]
        tasks = [one.json()["id"] for one in await asyncio.gather(*orders)]
        first.signal(signal.SIGKILL)
        await first.gone()
        all_.every.remove(first)
        ended = await asyncio.gather(*(all_.ended(task, seconds=100) for task in tasks))
        assert Counter(one["status"] for one in ended) == {"completed": 60}
        assert all_.sandbox.state.submits == 60
        assert await all_.audit() == []


async def test_an_upstream_that_one_gateway_knows_is_asked_by_that_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As in the middle of an update of the settings."""
    storage = shared_servers.stores("ahead")
    options = replace(FAST, seconds_per_picture=1.0)
    folder = tmp_path_factory.mktemp("ahead")
    async with replicas(folder, storage=storage, options=options, count=2) as all_:
        ahead, behind = all_.every
        upstream = {
            "base_url": all_.sandbox.base_url,
            "api_key": ORGANISATION_KEY,
            "poll": {"first": "20ms", "every": "40ms", "max": "80ms"},
            "allow_private_addresses": True,
        }
        route = {"upstream": "another", "model": "gpt-image-1.5", "price": PRICE_USD}
        known = ahead.settings
        ahead.settings = {
            **known,
            "upstreams": {**known["upstreams"], "another": upstream},
            "models": {"newer": {"routes": [route]}},
        }
        await ahead.stop()
        await ahead.start()
        orders = [all_.post(f"new {number}", at=ahead, model="newer") for number in range(5)]
        tasks = [one.json()["id"] for one in await asyncio.gather(*orders)]
        ended = await asyncio.gather(*(all_.ended(task, at=behind) for task in tasks))
        assert Counter(one["status"] for one in ended) == {"completed": 5}
        assert "no longer name" not in behind.log
