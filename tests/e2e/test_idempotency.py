"""`Idempotency-Key`: sent again, an order is the same order, whatever happened between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import stores
from house import FAST, OTHER_KEY, PRICE_USD, House, house, opened, until

from gateway.process.lately import SECONDS
from gateway.sandbox import running_sandbox

KEY = {"Idempotency-Key": "order-17"}
ORDERS = 'gateway_orders_total{model="gpt-image-1.5",team="blue",verdict="%s"}'


def key(text: str, **more: str) -> dict[str, str]:
    return {"Idempotency-Key": text, **more}


async def test_the_same_order_gets_its_first_task(a_house: House) -> None:
    first = await a_house.post("once", headers=KEY)
    assert "idempotency-replayed" not in first.headers
    again = await a_house.post("once", headers=KEY)
    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert "cache-status" not in again.headers
    task_id = first.json()["id"]
    assert again.json()["id"] == task_id
    done = await a_house.ended(task_id)
    later = await a_house.post("once", headers=KEY)
    assert later.json() == done and later.json()["status"] == "completed"
    unkeyed = await a_house.post("once")
    assert unkeyed.json()["id"] != task_id and "hit" in unkeyed.headers["cache-status"]
    shown = await a_house.metrics()
    assert shown[ORDERS % "started"] == 1 and shown[ORDERS % "hit"] == 1
    assert await a_house.violations() == []


async def test_another_order_under_the_key_is_a_conflict(a_house: House) -> None:
    first = await a_house.post("once", headers=KEY)
    changes: list[dict[str, Any]] = [
        {"prompt": "twice"},
        {"n": 2},
        {"callback_url": "https://hooks.example.org/a"},
    ]
    for change in changes:
        other = await a_house.post(**{"prompt": "once", **change}, headers=KEY)
        assert other.status_code == 409
        error = other.json()["error"]
        assert error["code"] == "idempotency_conflict"
        assert error["type"] == "invalid_request_error"
        assert error["param"] == "Idempotency-Key"
    same = await a_house.post("once", n=1, headers=KEY)
    assert same.json()["id"] == first.json()["id"]
    assert a_house.sandbox.state.submits == 1
    assert (await a_house.metrics())[ORDERS % "invalid"] == 3


async def test_a_default_that_changes_in_between_makes_no_other_order_of_it(
    tmp_path: Path,
) -> None:
    """A program that sends again what it sent gets its task, whatever the operator has set."""
    async with house(tmp_path) as one:
        first = await one.post("once", headers=KEY)
        await one.ended(first.json()["id"])
    for defaults in ({"quality": "low"}, {"quality": "high", "n": 2}):
        teams = {"blue": {"defaults": defaults}}
        async with house(tmp_path, teams=teams) as one:
            again = await one.post("once", headers=KEY)
            assert again.status_code == 200 and again.json()["id"] == first.json()["id"]
            other = await one.post("once", size="2:3", headers=KEY)
            assert other.status_code == 409 and one.sandbox.state.submits == 0


async def test_keys_belong_to_their_team(a_house: House) -> None:
    mine = await a_house.post("ours", headers=KEY)
    theirs = await a_house.post("theirs", headers=KEY, key=OTHER_KEY)
    assert theirs.status_code == 200 and theirs.json()["id"] != mine.json()["id"]
    assert "idempotency-replayed" not in theirs.headers


@pytest.mark.parametrize("text", ["", "two words", "k" * 256, "tab\there"])
async def test_what_is_no_key_is_refused(a_house: House, text: str) -> None:
    answer = await a_house.post("malformed", headers=key(text))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert a_house.sandbox.state.submits == 0


async def test_any_visible_characters_are_a_key(a_house: House) -> None:
    for text in ("k", "k" * 255, '"quoted"', "!~{}[]:;,'/\\"):
        first = await a_house.post("visible " + text, headers=key(text))
        again = await a_house.post("visible " + text, headers=key(text))
        assert first.json()["id"] == again.json()["id"], text


async def test_two_keys_are_refused(a_house: House) -> None:
    answer = await a_house.client.post(
        "/v1/images/generations",
        json={"model": "gpt-image-1.5", "prompt": "two"},
        headers=[
            ("Authorization", "Bearer team-blue-key"),
            ("Idempotency-Key", "one"),
            ("Idempotency-Key", "two"),
        ],
    )
    assert answer.status_code == 400


@stores.both
async def test_fifty_at_once_are_one_job(a_house: House) -> None:
    """`no-store` keeps coalescing out of it: the key alone makes them one."""
    headers = key("at-once", **{"Cache-Control": "no-store"})
    answers = await asyncio.gather(*(a_house.post("at once", headers=headers) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49
    assert a_house.sandbox.state.submits == 1
    await a_house.settled()
    assert sum((await a_house.gateway.ledger.run_counts()).values()) == 1
    assert await a_house.violations() == []


async def test_fifty_different_orders_at_once_are_one_job_and_conflicts(a_house: House) -> None:
    answers = await asyncio.gather(
        *(a_house.post(f"different {i}", headers=key("shared")) for i in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert a_house.sandbox.state.submits == 1


@stores.both
async def test_a_key_outlives_a_restart(tmp_path: Path) -> None:
    headers = key("restart", **{"Cache-Control": "no-store"})
    async with running_sandbox(FAST) as sandbox:
        ids = []
        for _ in range(3):
            one = await opened(sandbox, tmp_path)
            answer = await one.post("kept", headers=headers)
            ids.append(answer.json()["id"])
            await one.stop()
        assert len(set(ids)) == 1
        assert sandbox.state.submits == 1


@pytest.mark.parametrize("word", ["http=400", "http=401"])
async def test_a_refused_order_may_come_again_under_its_key(a_house: House, word: str) -> None:
    prompt = f"refused [sandbox:{word}*1]"
    refused = await a_house.post(prompt, headers=KEY)
    assert refused.status_code >= 400
    taken = await a_house.post(prompt, headers=KEY)
    assert taken.status_code == 200
    assert "idempotency-replayed" not in taken.headers
    again = await a_house.post(prompt, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == taken.json()["id"]
    assert a_house.sandbox.state.accepted_by_prompt[prompt] == 1
    assert await a_house.violations() == []


async def test_a_refused_order_may_be_mended_under_its_key(a_house: House) -> None:
    refused = await a_house.post("wrong [sandbox:http=400]", headers=KEY)
    assert refused.status_code == 400
    mended = await a_house.post("right", headers=KEY)
    assert mended.status_code == 200
    wrong = await a_house.post("wrong [sandbox:http=400]", headers=KEY)
    assert wrong.status_code == 409


async def test_everyone_at_once_learns_of_the_refusal(a_house: House) -> None:
    """Replays wait for the submit like the first: nobody is told a task that never was."""
    prompt = "all refused [sandbox:http=422]"
    headers = key("refused", **{"Cache-Control": "no-store"})
    answers = await asyncio.gather(*(a_house.post(prompt, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {422}


async def test_a_denied_order_claims_nothing(tmp_path: Path) -> None:
    teams = {"blue": {"budgets": [{"usd": 0.05, "per": "day"}]}}
    async with house(tmp_path, teams=teams) as one:
        denied = await one.post("dear", n=2, headers=KEY)
        assert denied.status_code == 402
        cheaper = await one.post("dear", n=1, headers=KEY)
        assert cheaper.status_code == 200
        # The budget is used up now; the replay costs nothing and is answered.
        replayed = await one.post("dear", n=1, headers=KEY)
        assert replayed.json()["id"] == cheaper.json()["id"]


async def test_a_failed_task_is_replayed_as_it_is(a_house: House) -> None:
    failed = await a_house.made("failing [sandbox:fail=content_policy_violation]", headers=KEY)
    again = await a_house.post("failing [sandbox:fail=content_policy_violation]", headers=KEY)
    assert again.status_code == 200 and again.json() == failed
    assert a_house.sandbox.state.submits == 1


async def test_an_unknown_outcome_stays_unknown_under_its_key(tmp_path: Path) -> None:
    async with house(tmp_path, models={"gpt-image-1.5": {"deadline": "1s"}}) as one:
        for _ in range(2):
            lost = await one.post("lost [sandbox:drop]", headers=KEY)
            assert lost.status_code == 504
        await one.settled()
        late = await one.post("lost [sandbox:drop]", headers=KEY)
        assert late.status_code == 504 and late.json()["error"]["code"] == "outcome_unknown"
        assert one.sandbox.state.submits == 1
        same = await one.post("lost [sandbox:drop]", headers=key("another"))
        assert same.status_code == 504 and one.sandbox.state.submits == 1
        fresh = {**key("yet-another"), "Cache-Control": "no-cache"}
        knowingly = await one.post("lost [sandbox:drop]", headers=fresh)
        assert knowingly.status_code == 504
        assert one.sandbox.state.submits == 2
        assert await one.violations() == []


RESENDING = {"evolink": {"resend_after_lost_answer": True}}
SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'


def upstream_keys(one: House) -> list[str]:
    """The keys of our own that submits carried, in their order."""
    requests = one.sandbox.state.requests
    return [seen.headers["idempotency-key"] for seen in requests if seen.method == "POST"]


async def test_upstream_gets_a_key_of_ours_and_not_the_callers(a_house: House) -> None:
    await a_house.made("first", headers=KEY)
    await a_house.made("second")
    sent = upstream_keys(a_house)
    assert len(set(sent)) == 2 and "order-17" not in sent


@pytest.mark.parametrize("word", ["drop", "garbage"])
async def test_a_lost_answer_is_asked_for_again_where_that_is_allowed(
    tmp_path: Path, word: str
) -> None:
    async with house(tmp_path, upstreams=RESENDING) as one:
        task = await one.made(f"again [sandbox:{word}]")
        assert task["status"] == "completed"
        assert len(upstream_keys(one)) == 2 and len(set(upstream_keys(one))) == 1
        assert one.sandbox.state.accepted_by_prompt[f"again [sandbox:{word}]"] == 1
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        assert await one.violations() == []


async def test_asking_again_ends_and_counts_as_spent(tmp_path: Path) -> None:
    models = {"gpt-image-1.5": {"deadline": "4s"}}
    async with house(tmp_path, upstreams=RESENDING, models=models) as one:
        posting = asyncio.create_task(one.post("gone [sandbox:drop]"))
        await until(lambda: one.sandbox.state.submits == 1)
        one.sandbox.state.down_mode = "cut"
        one.sandbox.state.down = True
        lost = await posting
        assert lost.status_code == 504
        await one.settled()
        assert 2 <= len(upstream_keys(one)) <= 6 and len(set(upstream_keys(one))) == 1
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        assert await one.violations() == []


async def test_a_killed_submit_is_asked_for_again(tmp_path: Path) -> None:
    """What a crash left `submitting` is the same doubt; here the lease says who it was."""
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, upstreams=RESENDING)
        upstream = one.gateway.adapters.connections.upstreams["evolink"]
        real = upstream.submit
        reached = asyncio.Event()

        async def cut_short(run: Any, **asked: Any) -> Any:
            await real(run, **asked)
            reached.set()
            await asyncio.sleep(60)  # the answer is there and nobody writes it down

        upstream.submit = cut_short  # type: ignore[method-assign]
        posting = asyncio.create_task(one.post("killed"))
        await reached.wait()
        posting.cancel()
        await one.gateway.worker.stop(0)
        await one.stop()
        again = await opened(sandbox, tmp_path, upstreams=RESENDING)
        await again.settled(stores.patience(20))
        assert sandbox.state.accepted_by_prompt["killed"] == 1
        assert "hit" in (await again.post("killed")).headers["cache-status"]
        assert await again.violations() == []
        await again.stop()


async def test_the_task_and_its_key_are_forgotten(tmp_path: Path) -> None:
    """A task that is gone frees its key: there is nothing to replay."""
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path)
        try:
            first = await one.made("forgotten", headers=KEY)
            await one.gateway.ledger.prune(_all_jobs(), limit=10)
            await asyncio.sleep(SECONDS)  # what was just told is told for so long
            assert (await one.poll(first["id"])).status_code == 404
            again = await one.post("forgotten", headers=KEY)
            assert again.status_code == 200 and again.json()["id"] != first["id"]
            assert "hit" in again.headers["cache-status"]
            replayed = await one.post("forgotten", headers=KEY)
            assert replayed.json()["id"] == again.json()["id"]
        finally:
            await one.stop()


def _all_jobs() -> Any:
    from gateway.ports.ledger import Old

    return Old(jobs_before=4e9, claims_before=0, accounts_before=0, uploads_before=0)


async def test_a_replay_waits_if_asked_to(a_house: House) -> None:
    prompt = "waited [sandbox:delay=0.4]"
    await a_house.post(prompt, headers=KEY)
    answer: httpx.Response = await a_house.post(prompt, headers={**KEY, "Prefer": "wait=10"})
    assert answer.json()["status"] == "completed"
    assert answer.headers["idempotency-replayed"] == "true"
    assert answer.headers["preference-applied"] == "wait=10"
