"""Identical prompts are paid once, also while the first is still running."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import stores
from house import FAST, OTHER_KEY, PRICE_USD, House, house, opened

from gateway import ids
from gateway.sandbox import running_sandbox
from gateway.services.decisions import VETTING_ROUNDS

SAVED = 'gateway_saved_usd_total{how="%s",model="gpt-image-1.5",team="blue"}'


@stores.both
async def test_fifty_identical_orders_are_one_submit(a_house: House) -> None:
    answers = await asyncio.gather(*(a_house.post("the same") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    ids = [answer.json()["id"] for answer in answers]
    assert len(set(ids)) == 50
    tasks = await asyncio.gather(*(a_house.ended(one) for one in ids))
    assert {task["status"] for task in tasks} == {"completed"}
    assert len({task["results"][0] for task in tasks}) == 1
    assert a_house.sandbox.state.submits == 1
    statuses = sorted(answer.headers["cache-status"] for answer in answers)
    assert statuses.count("image-gateway; fwd=miss; stored") == 1
    assert statuses.count("image-gateway; fwd=miss; collapsed") == 49
    shown = await a_house.metrics()
    assert round(shown[SAVED % "joined"], 6) == round(49 * PRICE_USD, 6)
    assert await a_house.violations() == []


async def test_a_hit_is_completed_at_once_and_costs_nothing(a_house: House) -> None:
    first = await a_house.made("again", quality="low")
    answer = await a_house.post("again", quality="low")
    task = answer.json()
    assert task["status"] == "completed" and task["results"] == first["results"]
    assert task["id"] != first["id"]
    assert task["usage"]["credits_used"] == 0
    assert answer.headers["cache-status"].startswith("image-gateway; hit; ttl=2591")
    assert (await a_house.poll(task["id"])).json() == task
    assert a_house.sandbox.state.submits == 1
    shown = await a_house.metrics()
    assert round(shown[SAVED % "hit"], 6) == PRICE_USD


async def test_n_of_one_is_the_default_and_key_order_does_not_matter(a_house: House) -> None:
    await a_house.made("ordered", size="1:1", quality="low")
    hit = await a_house.post("ordered", n=1, quality="low", size="1:1")
    assert "hit" in hit.headers["cache-status"]
    other = await a_house.post("ordered", quality="low", size="2:3")
    assert "fwd=miss" in other.headers["cache-status"]


async def test_request_directives(a_house: House) -> None:
    await a_house.made("directed")

    async def asked(directive: str, prompt: str = "directed") -> tuple[int, str]:
        answer = await a_house.post(prompt, headers={"Cache-Control": directive})
        if answer.status_code == 200:
            await a_house.ended(answer.json()["id"])
        return answer.status_code, answer.headers.get("cache-status", "")

    assert (await asked("only-if-cached"))[1].startswith("image-gateway; hit")
    assert (await asked("max-age=600"))[1].startswith("image-gateway; hit")
    assert await asked("max-age=0") == (200, "image-gateway; fwd=miss; stored")
    assert await asked("no-cache") == (200, "image-gateway; fwd=bypass; stored")
    assert await asked("no-store") == (200, "image-gateway; fwd=bypass")
    assert (await asked("only-if-cached", "unseen"))[0] == 504
    assert a_house.sandbox.state.submits == 4
    assert await a_house.violations() == []


@stores.both
async def test_the_cache_survives_a_restart_and_its_own_loss(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path)
        await one.made("kept")
        await one.stop()
        for lose in (False, True):
            if lose:
                shutil.rmtree(tmp_path / "cache")
            again = await opened(sandbox, tmp_path)
            hit = await again.post("kept")
            await again.stop()
            assert hit.headers["cache-status"].startswith("image-gateway; hit"), lose
        assert sandbox.state.submits == 1


async def test_a_lost_picture_is_made_anew_and_not_promised(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        task = await one.made("to be lost")
        stores.lose_pictures(tmp_path)
        answer = await one.post("to be lost")
        assert answer.headers["cache-status"] == "image-gateway; fwd=miss; stored"
        again = await one.ended(answer.json()["id"])
        assert again["results"] != task["results"]
        assert one.sandbox.state.submits == 2


async def test_scopes(tmp_path: Path) -> None:
    teams = {name: {"cache": {"scope": "organization"}} for name in ("blue", "green")}
    async with house(tmp_path / "org", teams=teams) as one:
        await one.made("shared")
        hit = await one.post("shared", key=OTHER_KEY)
        assert hit.headers["cache-status"].startswith("image-gateway; hit")
    async with house(tmp_path / "team") as one:
        await one.made("separate")
        miss = await one.post("separate", key=OTHER_KEY)
        assert "fwd=miss" in miss.headers["cache-status"]


async def test_ttl_ends_a_hit(tmp_path: Path) -> None:
    async with house(tmp_path, cache={"ttl": "1s"}) as one:
        await one.made("short-lived")
        assert "hit" in (await one.post("short-lived")).headers["cache-status"]
        await asyncio.sleep(1.1)
        assert "fwd=miss" in (await one.post("short-lived")).headers["cache-status"]


async def test_a_failed_run_is_not_cached(a_house: House) -> None:
    prompt = "fails [sandbox:fail=service_error]"
    assert (await a_house.made(prompt))["status"] == "failed"
    again = await a_house.post(prompt)
    assert again.headers["cache-status"] == "image-gateway; fwd=miss; stored"
    assert a_house.sandbox.state.submits == 2


async def test_a_refused_run_refuses_those_who_joined_it(a_house: House) -> None:
    answers = await asyncio.gather(*(a_house.post("no [sandbox:http=400]") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {400}
    assert a_house.sandbox.state.submits <= 3
    assert await a_house.violations() == []


async def test_a_cache_that_outlived_its_ledger_is_no_error(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path)
        await one.made("outlived")
        await one.stop()
        stores.lose_ledger(tmp_path)
        again = await opened(sandbox, tmp_path)
        answer = await again.post("outlived")
        assert answer.status_code == 200
        assert answer.headers["cache-status"] == "image-gateway; fwd=miss; stored"
        assert (await again.ended(answer.json()["id"]))["status"] == "completed"
        assert await again.violations() == []
        await again.stop()


async def test_a_task_id_that_chance_gives_again_goes_to_nobody_else(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (f"task-unified-1760000000-{letter * 8}" for letter in "abc")
    given = iter([one, one, two, one, three])
    monkeypatch.setattr(ids, "new_task_id", lambda now: next(given))
    first = await a_house.made("the first order")
    second = await a_house.made("another order")
    hit = (await a_house.post("the first order")).json()
    assert [first["id"], second["id"], hit["id"]] == [one, two, three]
    assert (await a_house.poll(one)).json()["results"] == first["results"]
    assert hit["results"] == first["results"] != second["results"]
    assert a_house.sandbox.state.submits == 2
    assert await a_house.violations() == []


async def test_task_ids_that_are_all_taken_are_not_tried_for_ever(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def the_same(now: float) -> str:
        given.append("task-unified-1760000000-aaaaaaaa")
        return given[-1]

    monkeypatch.setattr(ids, "new_task_id", the_same)
    first = await a_house.made("the first order")
    assert (await a_house.post("another order")).status_code == 500
    assert len(given) == 1 + VETTING_ROUNDS
    assert (await a_house.poll(given[0])).json() == first
    assert a_house.sandbox.state.submits == 1
    assert await a_house.violations() == []
