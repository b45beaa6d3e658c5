"""`Prefer: wait`: answered when the task ends, at no cost to upstream, thousands at a time."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest
import stores
from crowd import Client, crowd, many_files
from house import FAST, TEAM_KEY, House, house, opened, until

from gateway.background.runs import loop
from gateway.core.model import Run
from gateway.core.runs import schedule
from gateway.process.waiters import Waiters
from gateway.sandbox import running_sandbox

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}
WAIT = {"Prefer": "wait=20"}
REQUESTS = 'gateway_http_requests_total{method="GET",route="/v1/tasks/{task_id}",status="%s"}'


async def waited(one: House, task_id: str, prefer: str = "wait=20") -> httpx.Response:
    return await one.client.get(f"/v1/tasks/{task_id}", headers={**AUTH, "Prefer": prefer})


async def test_an_order_is_answered_with_its_pictures(a_house: House) -> None:
    answer = await a_house.post("patient [sandbox:delay=0.4]", headers=WAIT)
    assert answer.status_code == 200
    task = answer.json()
    assert task["status"] == "completed" and len(task["results"]) == 1
    assert answer.headers["preference-applied"] == "wait=20"
    assert "retry-after" not in answer.headers
    assert answer.headers["cache-status"] == "image-gateway; fwd=miss; stored"
    timing = answer.headers["server-timing"]
    assert float(timing.partition("upstream;dur=")[2]) > 300  # waiting is no time of our own
    assert (await a_house.poll(task["id"])).json() == task
    assert a_house.waiters == 0


@stores.both
async def test_a_poll_is_answered_when_the_task_ends(a_house: House) -> None:
    posted = (await a_house.post("polled [sandbox:delay=0.4]")).json()
    joined = (await a_house.post("polled [sandbox:delay=0.4]")).json()
    answers = await asyncio.gather(
        *(waited(a_house, one["id"]) for one in (posted, joined, joined))
    )
    tasks = [answer.json() for answer in answers]
    assert [task["id"] for task in tasks] == [posted["id"], joined["id"], joined["id"]]
    assert {task["status"] for task in tasks} == {"completed"}
    assert len({task["results"][0] for task in tasks}) == 1
    for answer in answers:  # rendered for many at once, and the same as rendered for one
        assert answer.json() == (await a_house.poll(answer.json()["id"])).json()
    assert tasks[1]["usage"]["credits_used"] == 0 < tasks[0]["usage"]["credits_used"]


async def test_time_runs_out(a_house: House) -> None:
    start = time.monotonic()
    answer = await a_house.post("slow [sandbox:stuck]", headers={"Prefer": "wait=1"})
    assert 1 <= time.monotonic() - start < 5
    task = answer.json()
    assert answer.status_code == 200 and task["status"] in ("pending", "processing")
    assert answer.headers["preference-applied"] == "wait=1"
    assert int(answer.headers["retry-after"]) >= 1
    again = await waited(a_house, task["id"], "wait=0")
    assert again.json()["status"] == "processing"
    assert again.headers["preference-applied"] == "wait=0"


async def test_every_unfinished_answer_says_when_to_ask_again(a_house: House) -> None:
    posted = await a_house.post("soon [sandbox:delay=0.6]")
    polled = await a_house.poll(posted.json()["id"])
    for answer in (posted, polled):
        assert answer.headers["retry-after"] == "1"
        assert "preference-applied" not in answer.headers
    await a_house.ended(posted.json()["id"])
    assert "retry-after" not in (await a_house.poll(posted.json()["id"])).headers


async def test_what_is_ended_is_answered_at_once(a_house: House) -> None:
    done = await a_house.made("ended")
    failed = await a_house.made("ended badly [sandbox:fail]")
    hit = await a_house.post("ended", headers=WAIT)
    assert hit.headers["preference-applied"] == "wait=20"
    assert hit.json()["status"] == "completed"
    for task in (done, failed):
        answer = await waited(a_house, task["id"])
        assert answer.json() == task
        assert float(answer.headers["server-timing"].partition("upstream;dur=")[2]) == 0


async def test_a_failed_task_ends_the_wait(a_house: House) -> None:
    answer = await a_house.post("bad [sandbox:fail=content_policy_violation]", headers=WAIT)
    assert answer.status_code == 200 and answer.json()["status"] == "failed"
    assert answer.json()["error"]["code"] == "content_policy_violation"


async def test_a_refused_submit_is_still_an_error(tmp_path: Path) -> None:
    async with house(tmp_path, models={"gpt-image-1.5": {"deadline": "1s"}}) as one:
        refused = await one.post("no [sandbox:http=400]", headers=WAIT)
        assert refused.status_code == 400 and "preference-applied" not in refused.headers
        lost = await one.post("lost [sandbox:drop]", headers=WAIT)
        assert lost.status_code == 504
        await one.sandbox.refuse_connections()
        start = time.monotonic()
        down = await one.post("down", headers=WAIT)  # queued, and given up while we wait
        assert down.status_code == 200 and time.monotonic() - start < 10
        assert down.json()["status"] == "failed"
        assert down.json()["error"]["code"] == "service_unavailable"


async def test_foreign_and_unknown_tasks_are_not_waited_for(a_house: House) -> None:
    answer = await waited(a_house, "task-unified-1767312000-unknown1")
    assert answer.status_code == 404 and "preference-applied" not in answer.headers


async def test_other_preferences_change_nothing(a_house: House) -> None:
    task = (await a_house.post("plain [sandbox:stuck]", headers={"Prefer": "wait=soon"})).json()
    for prefer in ("respond-async", "wait=-1", "wait", "return=minimal"):
        answer = await waited(a_house, task["id"], prefer)
        assert "preference-applied" not in answer.headers


async def test_a_client_that_goes_away_costs_nothing(a_house: House) -> None:
    task = (await a_house.post("left alone [sandbox:stuck]")).json()
    tasks_before = len(asyncio.all_tasks())
    for leave in ("get", "post"):
        async with httpx.AsyncClient(base_url=a_house.http.base_url, timeout=30) as client:
            waiting = asyncio.create_task(
                client.get(f"/v1/tasks/{task['id']}", headers={**AUTH, **WAIT})
                if leave == "get"
                else client.post(
                    "/v1/images/generations",
                    json={"model": "gpt-image-1.5", "prompt": "left alone [sandbox:stuck]"},
                    headers={**AUTH, **WAIT},
                )
            )
            await until(lambda: a_house.waiters == 1)
            waiting.cancel()
        await until(lambda: a_house.waiters == 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
    assert (await a_house.metrics())[REQUESTS % "499"] == 1


async def test_only_so_many_may_wait(tmp_path: Path) -> None:
    async with house(tmp_path, server={"max_waiters": 4}) as one:  # half of them for one team
        task = (await one.post("crowded [sandbox:delay=2]")).json()
        first = [asyncio.create_task(waited(one, task["id"])) for _ in range(2)]
        await until(lambda: one.waiters == 2)
        third = await waited(one, task["id"])
        assert third.json()["status"] != "completed"
        assert "preference-applied" not in third.headers and third.headers["retry-after"]
        fourth = await one.post("crowded [sandbox:delay=2]", headers=WAIT)
        assert fourth.status_code == 200 and "preference-applied" not in fourth.headers
        for answer in await asyncio.gather(*first):
            assert answer.json()["status"] == "completed"


async def test_a_stop_answers_everyone_at_once(a_house: House) -> None:
    task = (await a_house.post("stopped [sandbox:stuck]")).json()
    waiting = [asyncio.create_task(waited(a_house, task["id"])) for _ in range(20)]
    posting = asyncio.create_task(a_house.post("stopped [sandbox:stuck]", headers=WAIT))
    await until(lambda: a_house.waiters == 21)
    start = time.monotonic()
    a_house.gateway.stop_taking()
    answers = await asyncio.gather(*waiting, posting)
    assert time.monotonic() - start < 2
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} <= {"pending", "processing"}
    late = await waited(a_house, task["id"])
    assert late.status_code == 200 and "preference-applied" not in late.headers


async def test_a_restart_cuts_no_wait_short_of_an_answer(tmp_path: Path) -> None:
    """Who waits when the gateway stops is answered, and waits on at the next one."""
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path)
        task = (await one.post("over [sandbox:delay=1.2]")).json()
        waiting = asyncio.create_task(waited(one, task["id"]))
        await until(lambda: one.waiters == 1)
        one.gateway.stop_taking()
        assert (await waiting).status_code == 200
        await one.stop()
        again = await opened(sandbox, tmp_path)
        assert (await waited(again, task["id"])).json()["status"] == "completed"
        await again.stop()
        assert sandbox.state.submits == 1


@pytest.mark.alone
async def test_waiters_cost_upstream_nothing(a_house: House) -> None:
    """The same task is polled as often for sixty who wait as for one who does."""

    async def polls(prompt: str, width: int) -> int:
        task = (await a_house.post(prompt)).json()
        answers = await asyncio.gather(*(waited(a_house, task["id"]) for _ in range(width)))
        assert {answer.json()["status"] for answer in answers} == {"completed"}
        known = a_house.sandbox.state.tasks.values()
        (theirs,) = [one.id for one in known if one.wish.prompt == prompt]
        return a_house.sandbox.state.polls_by_task[theirs]

    alone = await polls("alone [sandbox:delay=0.6]", 1)
    together = await polls("together [sandbox:delay=0.6]", 60)
    assert together <= alone + 3


async def test_many_runs_are_asked_after_as_often_as_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all: one of them alone is asked after every 40 ms here."""
    monkeypatch.setattr(schedule, "MOST_POLLS", 5)
    monkeypatch.setattr(loop, "CROWD_SECONDS", 0.1)
    async with house(tmp_path) as one:
        for number in range(20):
            await one.post(f"crowd {number} [sandbox:stuck]")
        crowd = one.gateway.worker._deps.crowd
        await until(lambda: crowd.running == 20)
        await asyncio.sleep(1)  # each has its next turn by it
        tasks = one.sandbox.state.tasks.values()
        before, start = sum(task.polls for task in tasks), time.monotonic()
        await asyncio.sleep(3)
        seconds = time.monotonic() - start
        polls = sum(task.polls for task in tasks) - before
        assert 0 < polls <= 2 * 5 * seconds


async def test_the_news_of_another_process_are_found(tmp_path: Path) -> None:
    """Here the worker publishes to waiters of its own, as another process would."""
    async with house(tmp_path) as one:
        gateway = one.gateway
        await gateway.services.waiters.stop()
        recorder = gateway.worker._recorder
        recorder._deps = replace(recorder._deps, waiters=Waiters())
        waiters = Waiters(silence_seconds=0.3)
        gateway.services.orders._deps = replace(gateway.services.orders._deps, waiters=waiters)
        gateway.services.tasks._waiters = waiters
        waiters.start(gateway.ledger.each_run)
        answer = await one.post("elsewhere [sandbox:delay=0.3]", headers=WAIT)
        await waiters.stop()
        assert answer.json()["status"] == "completed"


async def test_whatever_goes_wrong_at_the_ledger_runs_go_on(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loops that lease and renew outlive what nobody thought of."""
    ledger, failed = a_house.gateway.ledger, set[str]()

    def failing_once(name: str) -> None:
        real = getattr(ledger, name)

        async def broken(*args: object, **more: object) -> object:
            if name not in failed:
                failed.add(name)
                raise RuntimeError("broken")
            return await real(*args, **more)

        monkeypatch.setattr(ledger, name, broken)

    monkeypatch.setattr(loop, "RENEW_SECONDS", 0.01)
    failing_once("next_due")
    failing_once("renew")
    answer = await a_house.post("goes on [sandbox:delay=0.3]", headers=WAIT)
    assert answer.json()["status"] == "completed"
    assert "next_due" in failed


# --- thousands ---------------------------------------------------------------------------------

RUNS = 50
WAITERS = 5_000
LATE_SECONDS = 0.25
STEADY = {"first": "500ms", "every": "500ms", "max": "500ms"}
LONG = {"gpt-image-1.5": {"deadline": "90s"}}


def poll_of(task_id: str, prefer: str = "") -> tuple[str, str]:
    return f"/v1/tasks/{task_id}", f"Authorization: Bearer {TEAM_KEY}\r\n{prefer}"


async def wave(one: House, clients: Sequence[Client], runs: int, ends: dict[str, float]) -> float:
    """Everyone waits for one of so many runs, which end within two seconds.

    Returns the longest time from a run's end to an answer; meanwhile upstream was asked after
    each run once an interval.
    """
    sandbox = one.sandbox.state
    known = set(sandbox.tasks)
    prompts = [f"wave {len(known)} {number} [sandbox:stuck]" for number in range(runs)]
    ids = [(await one.post(prompt)).json()["id"] for prompt in prompts]
    of_run = [(await one.gateway.ledger.job(task_id) or pytest.fail())[1].id for task_id in ids]
    asked = [
        client.ask(*poll_of(ids[number % runs], "Prefer: wait=60\r\n"))
        for number, client in enumerate(clients)
    ]
    await until(lambda: one.waiters == len(clients), 60)
    theirs = [task for task in sandbox.tasks.values() if task.id not in known]
    before, start = sum(task.polls for task in theirs), time.monotonic()
    await asyncio.sleep(2)
    polls, seconds = sum(task.polls for task in theirs) - before, time.monotonic() - start
    assert 0 < polls <= runs * (seconds / 0.5 + 1)
    for number, task in enumerate(theirs):
        task.ready_at = sandbox.clock() + 2 * number / runs
    bodies = await asyncio.gather(*asked)
    assert all(b'"status":"completed"' in body for body in bodies)
    for number, body in enumerate(bodies):
        assert ids[number % runs].encode() in body
    return max(
        client.answered_at - ends[of_run[number % runs]] for number, client in enumerate(clients)
    )


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_thousands_wait_for_fifty_runs(tmp_path: Path) -> None:
    if not many_files():
        pytest.skip("the limit of open files is too low here")
    changes = {"upstreams": {"evolink": {"poll": STEADY}}, "models": LONG}
    async with house(tmp_path, **changes) as one:
        ends: dict[str, float] = {}
        publish = one.gateway.services.waiters.publish

        def noting(run: Run) -> None:
            if run.is_final:
                ends.setdefault(run.id, time.perf_counter())
            publish(run)

        one.gateway.services.waiters.publish = noting  # type: ignore[method-assign]
        async with crowd(200, one.http.bound_port) as clients:
            await wave(one, clients, 2, ends)  # what is made once and stays is there now
        await settled_blocks()
        before = await settled_blocks()
        async with crowd(WAITERS, one.http.bound_port) as clients:
            late = await wave(one, clients, RUNS, ends)
            peak = sys.getallocatedblocks()
            floor = await burst_seconds(one, clients[: WAITERS // RUNS])
        del clients
        left = await settled_blocks() - before
        assert left < 0.05 * (peak - before), (left, peak - before)
        # The floor: as many plain polls as one run has waiters. Several runs end at a time.
        assert late < LATE_SECONDS + 4 * floor, (late, floor)
        assert await one.violations() == []


async def burst_seconds(one: House, clients: Sequence[Client]) -> float:
    """The longest that these take, of ten times, for a poll each of a task that has ended."""
    task = await one.made("floor")
    longest = 0.0
    for _ in range(10):
        start = time.perf_counter()
        await asyncio.gather(*(client.ask(*poll_of(task["id"])) for client in clients))
        longest = max(longest, time.perf_counter() - start)
    return longest


async def settled_blocks() -> int:
    """Python's memory in blocks, when what was closed is gone."""
    await asyncio.sleep(0.5)
    gc.collect()
    return sys.getallocatedblocks()
