"""An order whose request has left, and whose answer will be the pictures: the same everywhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from house import TEAM_KEY, House

from gateway.core.model import Job, Run, RunState, Verdict
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.money.booking import book
from gateway.core.money.budgets import windows_at
from gateway.core.runs.history import begun
from gateway.core.transaction import Keys, View, Writes
from gateway.ids import new_run_id, new_task_id

S = RunState


async def awaited(one: House, *, since: float) -> tuple[Job, Run]:
    """An order of the team's that some other worker is at, and whose request left so long ago."""
    made = await one.gateway.ledger.job((await one.made("a kite"))["id"])
    assert made is not None
    now, policy = time.time(), one.gateway._current.policy
    run = replace(
        made.run,
        id=new_run_id(),
        fingerprint=new_run_id(),
        state=S.SUBMITTING,
        hold=Amounts(made.run.price_usd_micros, 1, 1),
        spent=NOTHING,
        accepted_at=now - since,
        told_at=now - since,
        windows=windows_at(now - since, policy.zone),
        created_at=now - since,
        deadline_at=now + 900,
        due_at=now,
        finished_at=None,
        upstream_finished_at=None,
        upstream_task_id=None,
        task="{}",
        links=(),
        kept=(),
        lease_owner="elsewhere",
        lease_until=now + 900,
    )
    job = Job(new_task_id(run.created_at), run.id, run.team, Verdict.STARTED, run.created_at)

    def decide(view: View) -> tuple[None, Writes]:
        writes = book(None, run, view.accounts)
        return None, replace(writes, jobs=(job,), steps=(begun(run),))

    keys = policy.account_keys(run.team, run.created_at)
    await one.gateway.ledger.transact(Keys(keys, counted=(run.team, run.created_at)), decide)
    return job, run


async def own(one: House, path: str) -> list[Any]:
    answer = await one.client.get(path, headers={"Authorization": f"Bearer {TEAM_KEY}"})
    assert answer.status_code == 200, answer.text
    rows: list[Any] = answer.json()["data"]
    return rows


@pytest.mark.parametrize(
    ("since", "least", "most"), [(0.0, 1, 10), (60.0, 60, 85), (600.0, 95, 95)]
)
async def test_it_is_shown_as_one_that_upstream_is_at_work_on(
    a_house: House, since: float, least: int, most: int
) -> None:
    job, run = await awaited(a_house, since=since)
    task: dict[str, Any] = (await a_house.poll(job.id)).json()
    assert task["status"] == "processing" and least <= task["progress"] <= most
    assert task["task_info"]["estimated_time"] >= 1
    assert [row["id"] for row in await own(a_house, "/v1/tasks?status=processing")] == [job.id]
    assert await own(a_house, "/v1/tasks?status=pending") == []
    [order] = await own(a_house, f"/team/v1/orders?task={job.id}")
    assert order["state"] == "processing" and least <= order["progress"] <= most
    listed = (await a_house.admin("GET", "runs?state=running")).json()["data"]
    assert [(row["id"], row["state"]) for row in listed] == [(run.id, "running")]
    assert (await a_house.admin("GET", "runs?state=submitting")).json()["data"] == []
    story = (await a_house.admin("GET", f"runs/{job.id}")).json()
    assert story["run"]["state"] == "running"
    assert "Upstream is at work on it" in story["summary"]
    counts = await a_house.metrics()
    assert counts['gateway_runs{state="running"}'] == 1
    assert counts['gateway_runs{state="submitting"}'] == 0
    assert await a_house.violations() == []
