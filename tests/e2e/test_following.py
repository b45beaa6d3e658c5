"""What is changed at one gateway holds at every other one on the same ledger.

Where a test cuts a gateway's ears off, it has neither news nor its look now and then: then only
the order's own transaction can find out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fellows import data_folder, fellows, storage
from house import House, opened, settings_text, until
from pydantic import SecretStr

from gateway.config import parse
from gateway.errors import Unavailable
from gateway.process.following import DEAD_SECONDS
from gateway.wiring import Gateway

SECRET = "SECRETPROMPT of a red bicycle"
MARKS = (b"SECRETPROMPT", b"secretprompt")
Two = tuple[House, House]


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with fellows(tmp_path) as (one, other):
        yield one, other


async def deafen(house: House) -> None:
    """It follows nobody any more by itself."""
    following = house.gateway.services.following
    following._hear = lambda _: None  # type: ignore[method-assign]
    assert following._task is not None
    following._task.cancel()
    await asyncio.gather(following._task, return_exceptions=True)


def idle(house: House) -> None:
    """It takes up no runs of others: what is ordered elsewhere is finished, and cached, there."""

    async def nothing(*_: Any, **__: Any) -> tuple[()]:
        return ()

    ledger: Any = house.gateway.ledger
    ledger.lease = nothing


def hasten(house: House) -> None:
    """It waits for nobody after a change."""

    async def at_once() -> tuple[str, ...]:
        return ()

    house.gateway.services.following.everywhere = at_once  # type: ignore[method-assign]


async def ok(house: House, method: str, path: str, body: Any = None) -> Any:
    answer = await house.admin(method, path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def new_team(house: House, **settings: Any) -> str:
    await ok(house, "POST", "teams", {"name": "art", **settings})
    key: str = (await ok(house, "POST", "teams/art/keys", {"label": "first"}))["key"]
    return key


def id_of(key: str) -> str:
    return key.split("_")[1]


async def is_hit(house: House, prompt: str, **more: Any) -> bool:
    answer = await house.post(prompt, **more)
    assert answer.status_code == 200, answer.text
    await house.ended(answer.json()["id"])
    return bool(answer.headers["cache-status"].startswith("image-gateway; hit"))


# --- teams and keys ------------------------------------------------------------------------------


async def test_a_team_made_at_one_is_known_at_the_other_at_once(two: Two) -> None:
    one, other = two
    key = await new_team(one)
    assert (await other.made(key=key))["status"] == "completed"
    assert (await ok(other, "GET", "teams/art"))["keys"] == 1
    assert [c["action"] for c in (await ok(other, "GET", "audit"))["data"]] == [
        "key.issue",
        "team.create",
    ]


async def test_a_revoked_key_opens_nothing_from_the_next_request_on(two: Two) -> None:
    one, other = two
    key = await new_team(one)
    task = await other.made(key=key)
    for number in range(4):
        there = (one, other)[number % 2]
        key = (await ok(one, "POST", "teams/art/keys", {"label": f"{number}"}))["key"]
        assert (await there.poll(task["id"], key=key)).status_code == 200
        await ok(other, "DELETE", f"teams/art/keys/{id_of(key)}")
        assert (await there.poll(task["id"], key=key)).status_code == 401


async def test_a_lowered_cap_and_a_revoked_key_hold_in_the_order_itself(two: Two) -> None:
    one, other = two
    key = await new_team(one, budgets=[{"usd": 10, "per": "day"}])
    assert (await other.post("a", key=key)).status_code == 200
    await deafen(other)
    hasten(one)
    await ok(one, "PATCH", "teams/art", {"budgets": [{"usd": 0.01, "per": "day"}]})
    assert (await other.post("b", key=key)).status_code == 402
    await ok(one, "PATCH", "teams/art", {"budgets": None})
    assert (await other.post("b", key=key)).status_code == 200
    await ok(one, "DELETE", f"teams/art/keys/{id_of(key)}")
    assert (await other.post("c", key=key)).status_code == 401


async def test_one_that_says_nothing_is_waited_for_and_then_takes_no_order(two: Two) -> None:
    one, other = two
    key = await new_team(one)
    task = await other.made(key=key)
    await deafen(other)

    async def away() -> Any:
        raise Unavailable("it is away", retry_after_seconds=1)

    other.gateway.ledger.epochs = away  # type: ignore[method-assign]
    began = asyncio.get_running_loop().time()
    await ok(one, "DELETE", f"teams/art/keys/{id_of(key)}")
    waited = asyncio.get_running_loop().time() - began
    assert waited < DEAD_SECONDS + 2
    refused = await other.post("c", key=key)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    unready = await other.client.get("/readyz")  # a balancer is to send orders elsewhere
    assert (unready.status_code, len(unready.json()["reasons"])) == (503, 1)
    assert (await one.client.get("/readyz")).status_code == 200
    assert (await other.poll(task["id"], key=key)).status_code == 200  # to look is no order
    unknown = await other.poll(task["id"], key="nobody-knows-it")
    assert unknown.status_code == 503  # it may have been made just now


async def test_both_change_at_once_and_end_up_with_the_same(two: Two) -> None:
    one, other = two
    key = await new_team(one)
    changes = [
        ok((one, other)[number % 2], "POST", "teams/art/keys", {"label": f"{number}"})
        for number in range(8)
    ]
    made = await asyncio.gather(*changes)
    for house in two:
        for issued in made:
            assert house.gateway.services.policy.keys("art")
            headers = {"Authorization": f"Bearer {issued['key']}"}
            assert (await house.client.get("/v1/credits", headers=headers)).status_code == 200
        assert (await house.post("d", key=key)).status_code == 200


# --- the response cache --------------------------------------------------------------------------


def left(folder: Path) -> list[str]:
    """The files below it that hold the secret."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in found if any(mark in path.read_bytes() for mark in MARKS)]


def digest_of(task: Any) -> str:
    name: str = task["results"][0].rpartition("/")[2]
    return name.partition(".")[0]


async def test_a_purge_at_one_is_one_at_the_other(two: Two) -> None:
    one, other = two
    idle(one)
    await other.made("one")
    assert await is_hit(other, "one")
    assert (await ok(one, "POST", "cache/purge", {}))["purged"] == 1
    assert (await ok(other, "GET", "cache"))["entries"] == 0
    assert not await is_hit(other, "one")


async def test_a_hit_is_not_given_by_what_was_purged_unheard(two: Two) -> None:
    one, other = two
    idle(one)
    await other.made("one")
    await deafen(other)
    hasten(one)
    await ok(one, "POST", "cache/purge", {})
    assert not await is_hit(other, "one")
    assert await is_hit(other, "one")


async def is_stored(one: House) -> None:
    """A run is told as done before its answer is in the response cache."""
    await until(lambda: left(one.folder / "cache") != [])


async def test_an_erased_prompt_is_in_no_file_of_any_node(two: Two) -> None:
    one, other = two
    idle(one)
    task = await other.made(SECRET)
    await is_stored(other)
    await ok(one, "DELETE", f"pictures/{digest_of(task)}")
    assert left(one.folder) == left(other.folder) == []


async def test_a_node_that_was_down_during_an_erasure_finds_it_out(tmp_path: Path) -> None:
    async with fellows(tmp_path) as (one, other):
        idle(one)
        task = await other.made(SECRET)
        kept = await other.made("something else")
        await is_stored(other)
        await other.stop()
        await ok(one, "DELETE", f"pictures/{digest_of(task)}")
        again = await opened(one.sandbox, data_folder(tmp_path, 1), storage=storage(tmp_path))
        try:
            assert left(other.folder) == []
            assert await is_hit(again, "something else")  # by the ledger
            assert (await again.poll(kept["id"])).status_code == 200
        finally:
            await again.http.stop(5)
            await again.gateway.stop(5)
            other.client, other.http, other.gateway = again.client, again.http, again.gateway


async def test_an_answer_that_was_refreshed_at_one_is_the_others_too(two: Two) -> None:
    one, other = two
    idle(other)
    first = await one.made("one")
    assert await is_hit(one, "one")
    del vars(other.gateway.ledger)["lease"]
    idle(one)
    newer = await other.made("one", headers={"Cache-Control": "no-cache"})
    assert digest_of(newer) != digest_of(first)
    answer = await one.post("one")
    assert digest_of(await one.ended(answer.json()["id"])) == digest_of(newer)


async def test_a_gateway_that_ends_in_good_order_is_not_waited_for(tmp_path: Path) -> None:
    async with fellows(tmp_path) as (one, other):
        ledger = one.gateway.ledger
        assert len(await ledger.replicas(since=0)) == 2
        await other.gateway.services.following.stop()
        assert len(await ledger.replicas(since=0)) == 1


# --- pictures ------------------------------------------------------------------------------------


def gives_always(house: House, body: bytes) -> None:
    """Whatever is ordered there, upstream has these bytes."""

    @contextlib.asynccontextmanager
    async def stream(*_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        yield chunks()

    links: Any = house.gateway.adapters.connections.links["evolink"]
    links.stream = stream


async def test_no_erasure_takes_what_another_gateway_is_about_to_own(two: Two) -> None:
    one, other = two
    first = await one.made("the first")
    idle(one)
    url = first["results"][0]
    gives_always(other, (await one.client.get(url)).content)
    looked, go = asyncio.Event(), asyncio.Event()
    pictures: Any = other.gateway.adapters.pictures
    readable = pictures.readable

    async def slow(wanted: Any, **more: Any) -> bool:
        found: bool = await readable(wanted, **more)
        looked.set()
        await go.wait()
        return found

    pictures.readable = slow
    second = asyncio.create_task(other.made("the second"))
    await asyncio.wait_for(looked.wait(), 10)
    erased = asyncio.create_task(ok(one, "DELETE", f"pictures/{digest_of(first)}"))
    await asyncio.wait({erased}, timeout=0.3)
    assert not erased.done()
    go.set()
    pictures.readable = readable
    assert (await second)["status"] == "completed"
    await erased
    on_record = (await ok(one, "GET", "pictures"))["data"]
    assert len(on_record) == 2
    there = (await one.client.get(url)).status_code == 200
    assert {picture["erased_at"] is None for picture in on_record} == {there}


async def test_a_hint_finds_its_run_at_any_gateway(tmp_path: Path) -> None:
    async with fellows(tmp_path) as (one, other):
        task = (await one.post("[sandbox:delay=1] x")).json()
        run = (await ok(one, "GET", f"runs/{task['id']}"))["run"]["id"]
        addresses = one.gateway.adapters.callback_addresses
        path = addresses.url(await one.gateway.ledger.run(run)).rpartition("/callbacks/")[2]
        assert (await other.client.post(f"/callbacks/{path}")).status_code == 200
        assert (await other.client.post("/callbacks/nobodys")).status_code == 404


# --- what they tell ------------------------------------------------------------------------------


async def digests(house: House) -> list[str]:
    return [name for name in await house.metrics() if name.startswith("gateway_settings_info")]


async def test_settings_that_differ_are_seen_and_money_reads_the_same(tmp_path: Path) -> None:
    async with fellows(tmp_path) as (one, other):
        assert await digests(one) == await digests(other) != []
        settings = one.settings
        secret = {**settings.upstreams}
        name, upstream = next(iter(secret.items()))
        secret[name] = upstream.model_copy(update={"api_key": SecretStr("sk-another")})
        one.gateway.reload(settings.model_copy(update={"upstreams": secret}))
        assert await digests(one) != await digests(other)
        one.gateway.reload(settings)
        assert await digests(one) == await digests(other)
        await one.made("one")
        spent = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
        assert (await one.metrics())[spent] == (await other.metrics())[spent] == 0.05


async def test_a_reading_of_a_shared_ledger_is_kept_for_a_moment(two: Two) -> None:
    one, _ = two
    await one.metrics()
    one.gateway.adapters.metrics.keep_seconds = 60
    before = (await one.metrics())['gateway_runs{state="done"}']
    await one.made("one")
    assert (await one.metrics())['gateway_runs{state="done"}'] == before == 0
    one.gateway.adapters.metrics.keep_seconds = 0
    assert (await one.metrics())['gateway_runs{state="done"}'] == 1


async def test_one_that_stood_still_lets_no_revoked_key_in_when_it_goes_on(two: Two) -> None:
    one, other = two
    key = await new_team(one)
    task = await other.made(key=key)
    await deafen(other)
    hasten(one)
    await ok(one, "DELETE", f"teams/art/keys/{id_of(key)}")
    following = other.gateway.services.following
    following._fresh_until = following._ask_after = 0.0  # what it knew is long ago
    assert (await other.poll(task["id"], key=key)).status_code == 401


async def test_a_start_that_fails_leaves_nobody_to_wait_for(tmp_path: Path) -> None:
    async with fellows(tmp_path, count=1) as (one,):
        settings = parse(
            settings_text(
                one.sandbox.base_url,
                data_folder(tmp_path, 1),
                storage=storage(tmp_path),
            ),
            {},
        )
        failing = Gateway(settings)

        async def no_words() -> None:
            raise OSError("no such file")

        failing.adapters.tokens.load = no_words  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await failing.start()
        assert failing.services.following._task is None
        assert [one.id for one in await one.gateway.ledger.replicas(since=0)] == [
            one.gateway.services.replica_id
        ]
        await failing.adapters.connections.aclose()
