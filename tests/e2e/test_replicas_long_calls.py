"""Three gateways with long calls open to OpenAI: stopped one after the other, and killed.

A call is one gateway's own, and so is what it has in its spool. Everything else is everybody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import doomed
import httpx2 as httpx
import pytest
import shared_servers
from house import TEAM_KEY, digest, until
from processes import forked
from replicas import Replica, Replicas, replicas
from two_vendors import MODEL, ONLY_OPENAI, QUICK, model, openai_upstream

from gateway.sandbox.openai import RunningOpenAI, running_openai

pytestmark = [pytest.mark.slow, pytest.mark.files]

HOLD_USD = 0.02
CAP_USD = 3 * HOLD_USD
SLOWER = {"connect": "1s", "submit": "40s", "poll": "1s", "download": "5s"}


@contextlib.asynccontextmanager
async def three(
    folder: Path, openai: RunningOpenAI, name: str, count: int = 3
) -> AsyncIterator[Replicas]:
    changes: dict[str, Any] = {
        "vendors": {"openai": openai_upstream(openai.api_url, timeout=SLOWER)},
        "models": {MODEL: model(*ONLY_OPENAI, deadline="120s")},
        "server": {"shutdown_grace": "2s"},
        "teams": {
            "blue": {"keys": [digest(TEAM_KEY)]},
            "tight": {"keys": [digest("tight")], "budgets": [{"usd": CAP_USD, "per": "month"}]},
        },
    }
    storage = shared_servers.stores(name)
    async with replicas(folder, storage=storage, count=count, **changes) as all_:
        yield all_


async def ordered(all_: Replicas, prompt: str, **more: Any) -> str | None:
    """The task of an order that is sent until somebody takes it; None: the budget does not."""
    key = {"Idempotency-Key": digest(prompt)}
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await all_.post(prompt, model=MODEL, headers=key, **more)
            if answer.status_code == 200:
                return str(answer.json()["id"])
            if answer.status_code == 402:
                return None
            assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)


def spooled(one: Replica) -> list[str]:
    folder = one.folder / "data" / "spool"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def runs_by_prompt(all_: Replicas) -> dict[str, Any]:
    listed = (await all_.admin("GET", "runs", params={"limit": 500})).json()["data"]
    whole = [(await all_.admin("GET", f"runs/{one['id']}")).json() for one in listed]
    found = {one["run"]["prompt"]: one["run"] for one in whole}
    assert len(found) == len(listed), "one run for each prompt"
    return found


async def prove(all_: Replicas, openai: RunningOpenAI, tasks: dict[str, str | None]) -> None:
    """Sent once, booked as billed, or more where the answer is lost; and nothing is left lying."""
    charged: Counter[str] = Counter()
    for line in openai.state.bill.lines():
        charged[line.prompt] += line.usd_micros
    runs = await runs_by_prompt(all_)
    assert set(runs) == {prompt for prompt, task in tasks.items() if task}
    for prompt, run in runs.items():
        assert openai.state.calls_by_prompt[prompt] == 1, prompt
        spent = round(run["spent_usd"] * 1_000_000)
        if run["state"] == "done":
            assert spent == charged[prompt], prompt
        else:
            assert run["failure"]["code"] == "outcome_unknown", run
            assert spent >= charged[prompt], prompt
    assert (await all_.usage("tight"))["spent_usd"] <= CAP_USD
    assert await all_.audit() == []
    await until(lambda: not any(spooled(one) for one in all_.every))


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_rolling_restart_loses_no_open_call(tmp_path: Path) -> None:
    async with running_openai(QUICK) as openai, three(tmp_path, openai, "rolling") as all_:
        tasks: dict[str, str | None] = {}
        stopping = asyncio.Event()

        async def customer(name: str, seconds: int, key: str = TEAM_KEY) -> None:
            number = 0
            while not stopping.is_set():
                number += 1
                prompt = f"{name} {number} [sandbox:delay={seconds}]"
                tasks[prompt] = await ordered(all_, prompt, key=key)
                await asyncio.sleep(3)

        every = [customer(f"customer {n}", 8 + n) for n in range(4)]
        every += [customer(f"tight {n}", 12, "tight") for n in range(2)]
        customers = [asyncio.create_task(one) for one in every]
        for one in [*all_.every]:
            await asyncio.sleep(2)
            await until(lambda: openai.state.open_now >= 3)
            assert await one.stop() == 0
            assert spooled(one) == []
            await one.start()
        stopping.set()
        await asyncio.gather(*customers)
        for prompt, task in tasks.items():
            key = "tight" if prompt.startswith("tight") else TEAM_KEY
            if task:
                assert (await all_.ended(task, key=key))["status"] == "completed"
        assert None in tasks.values(), "more than a budget had room for"
        await prove(all_, openai, tasks)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_gateway_that_is_killed_takes_its_open_calls_with_it_and_no_others(
    tmp_path: Path,
) -> None:
    async with running_openai(QUICK) as openai, three(tmp_path, openai, "killed") as all_:
        first, *others = all_.every
        prompts = [f"order {number} [sandbox:delay=8]" for number in range(12)]
        asked = zip(prompts, all_.every * 4, strict=True)
        told = await asyncio.gather(*(ordered(all_, prompt, at=one) for prompt, one in asked))
        tasks = dict(zip(prompts, told, strict=True))
        first.signal(signal.SIGKILL)
        await first.gone()
        ended = {
            prompt: await all_.ended(str(task), at=others[0]) for prompt, task in tasks.items()
        }
        lost = {prompt for prompt, task in ended.items() if task["status"] == "failed"}
        assert lost == {prompts[number] for number in range(0, 12, 3)}
        await first.start()
        await prove(all_, openai, tasks)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    yield


@pytest.mark.long
@pytest.mark.usefixtures("bucket")
async def test_what_lies_with_one_that_died_is_found_when_it_comes_back(tmp_path: Path) -> None:
    """Another has given the run up by then, and told so."""
    slow = replace(QUICK, seconds_per_picture=1.0)
    async with running_openai(slow) as openai, three(tmp_path, openai, "back", count=2) as all_:
        first, second = all_.every
        await first.stop()
        prompt = "died with it [sandbox:delay=4]"
        config = first.folder / "config.yaml"
        point = ("submit@openai", "after", 1)
        async with forked(doomed.main, config, first.port, *point, cwd=first.folder) as gone:
            task = await ordered(all_, prompt, at=first)
            assert task is not None
            assert await gone() == -signal.SIGKILL
        [name] = spooled(first)
        assert name.endswith(".answer")
        told = await all_.ended(task, at=second)
        assert told["error"]["code"] == "outcome_unknown"
        assert (await all_.usage())["spent_usd"] >= HOLD_USD
        await first.start()
        await until(lambda: spooled(first) == [])
        ended = await all_.ended(task, at=second)
        assert ended["status"] == "completed"
        again = (await all_.post(prompt, model=MODEL, at=second)).json()
        assert again["results"] == ended["results"]
        await prove(all_, openai, {prompt: task})
