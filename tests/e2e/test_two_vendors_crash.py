"""Killed while OpenAI is at work: nothing is sent twice, what came is not lost, the bill agrees.

What a process had in hand when it died is known from its spool, or counts as spent for good: the
vendor charges a call whether anybody is there to take its answer or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from pathlib import Path
from typing import Any

import doomed
import httpx2 as httpx
import pytest
from house import FAST, ORGANISATION_KEY, TEAM_KEY, opened, settings_text, until
from processes import forked, free_port
from two_vendors import (
    CHEAP,
    DEAR,
    MODEL,
    ONLY_OPENAI,
    QUICK,
    Vendors,
    model,
    openai_upstream,
    replace,
)

from gateway.core.model import RunState
from gateway.ports.ledger import RunFilter
from gateway.sandbox import running_sandbox
from gateway.sandbox.openai import RunningOpenAI, running_openai

PROMPT = "doomed [sandbox:delay=0.6]"
KILLS = 8
STEPS = [
    *(("transact", count) for count in (1, 2, 3)),
    *((name, 1) for name in ("submit@openai", "keep", "readable", "put", "forget@openai")),
]
POINTS = [(name, when, count) for name, count in STEPS for when in ("before", "after")]


def changes(openai: RunningOpenAI, *routes: dict[str, Any]) -> dict[str, Any]:
    return {
        "upstreams": {"openai": openai_upstream(openai.api_url)},
        "models": {MODEL: model(*routes)},
    }


async def order(client: httpx.AsyncClient, prompt: str) -> httpx.Response:
    return await client.post(
        "/v1/images/generations",
        json={"model": MODEL, "prompt": prompt},
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )


@pytest.mark.files
@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point)))
async def test_killed_between_any_two_steps(tmp_path: Path, point: tuple[str, str, int]) -> None:
    async with running_sandbox(FAST) as evolink, running_openai(QUICK) as openai:
        told = changes(openai, *ONLY_OPENAI)
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(evolink.base_url, tmp_path / "data", **told))
        port = free_port()
        answered = None
        async with forked(doomed.main, config, port, *point, cwd=tmp_path) as ended:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                with contextlib.suppress(httpx.TransportError):
                    answer = await order(client, PROMPT)
                    assert answer.status_code == 200, answer.text
                    answered = answer.json()["id"]
            assert await ended() == -signal.SIGKILL
        await asyncio.sleep(0.8)  # the vendor works on, whoever is gone
        one = Vendors(await opened(evolink, tmp_path / "data", **told), evolink, openai)
        try:
            await one.house.settled()
            assert openai.state.calls_by_prompt[PROMPT] <= 1
            spent = await one.spent_usd_micros()
            if answered:
                task = await one.house.ended(answered)
                assert task["status"] == "completed" or (
                    task["error"]["code"] == "outcome_unknown"
                ), task
                if task["status"] == "completed":
                    assert spent == one.billed_usd_micros
            assert spent >= one.billed_usd_micros
            assert await one.house.violations() == []
            await until(lambda: one.spool == [])
        finally:
            await one.house.stop()


ILL = ({"http": 0.3}, {"garbage": 0.2}, {"fail": 0.3}, {"drop": 0.2}, {})
"""EvoLink refuses, lies, fails, is lost, and is well again."""


@pytest.mark.files
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.long
async def test_killed_again_and_again_while_a_vendor_is_ill(tmp_path: Path) -> None:
    chance = random.Random(11)
    ill = replace(FAST, accepted_key=ORGANISATION_KEY)
    quick = replace(QUICK, rates={"drop": 0.05, "cut": 0.05, "garbage": 0.05, "empty-data": 0.05})
    async with running_sandbox(ill) as evolink, running_openai(quick) as openai:
        told = changes(openai, CHEAP, DEAR)
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(evolink.base_url, tmp_path / "data", **told))
        port, promised, stopping = free_port(), dict[str, str](), asyncio.Event()

        async def customer(name: str) -> None:
            number = 0
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                while not stopping.is_set():
                    number += 1
                    prompt = f"{name} {number}"
                    with contextlib.suppress(httpx.TransportError):
                        answer = await order(client, prompt)
                        if answer.status_code == 200:
                            promised[prompt] = answer.json()["id"]
                    await asyncio.sleep(0.05)

        customers = [asyncio.create_task(customer(f"customer {n}")) for n in range(4)]
        for number in range(4 * KILLS):  # more lives where a busy machine lets each do too little
            if number >= KILLS and len(promised) > KILLS:
                break
            evolink.state.down = number % 3 == 0
            evolink.state.options = replace(evolink.state.options, rates=ILL[number % len(ILL)])
            async with forked(doomed.serve, config, port, cwd=tmp_path):
                await asyncio.sleep(chance.uniform(0.3, 1.5))
        stopping.set()
        await asyncio.gather(*customers)
        evolink.state.down = False
        evolink.state.options = replace(evolink.state.options, rates={})
        one = Vendors(await opened(evolink, tmp_path / "data", **told), evolink, openai)
        try:
            await one.house.settled(40)
            await prove(one, promised)
        finally:
            await one.house.stop()


async def prove(one: Vendors, promised: dict[str, str]) -> None:
    """Every promise has an end, no prompt was sent twice to a vendor, and the bill is the ledger's:
    to the micro-dollar where an answer came, and never above it where it did not."""
    assert len(promised) > KILLS
    for prompt, task_id in promised.items():
        task = await one.house.ended(task_id)
        assert task["status"] == "completed" or task["error"]["code"], (prompt, task)
    charged: dict[str, int] = {}
    for line in one.openai.state.bill.lines():
        charged[line.prompt] = charged.get(line.prompt, 0) + line.usd_micros
    for prompt in {*promised, *charged}:
        assert one.openai.state.calls_by_prompt[prompt] <= 1, prompt
        assert one.evolink.state.accepted_by_prompt[prompt] <= 1, prompt
    every = await one.house.gateway.ledger.runs(RunFilter(), after=None, limit=100_000)
    runs = [run for run in every if run.upstream == "openai" and run.is_final]
    assert runs
    for run in runs:
        prompt = json.loads(run.request)["prompt"]
        if run.state is RunState.DONE:
            assert run.spent.usd_micros == charged[prompt], prompt
        else:
            assert run.spent.usd_micros >= charged.get(prompt, 0), (prompt, run.failure)
    assert await one.house.violations() == []
    await until(lambda: one.spool == [])
