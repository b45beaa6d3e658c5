"""Killed at any step, dozens of times under load: nothing lost, nothing paid twice.

`IMAGE_GATEWAY_TEST_KILLS` is how often at random: 24 times in `make test`, 1,000 in `make kills`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import random
import signal
from pathlib import Path
from typing import Any

import doomed
import httpx2 as httpx
import pytest
import stores
from house import FAST, PRICE_USD, TEAM_KEY, House, opened, settings_text
from PIL import Image
from processes import GATEWAY, forked, free_port, process

from gateway.sandbox import RunningSandbox, running_sandbox

KILLS = int(os.environ.get("IMAGE_GATEWAY_TEST_KILLS", "24"))
WHOLE = 10
"""One life in so many is the program's own; the others are its parts in a fork, which take a
third of the processor's time to start."""

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}
SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
SHORT = {"gpt-image-1.5": {"deadline": "4s"}}
PATIENT = {"gpt-image-1.5": {"deadline": "8s"}}
"""Longer than a row of short lives."""
WATCHED: dict[str, Any] = {
    "models": SHORT,
    "teams": {"blue": {"budgets": [{"usd": PRICE_USD, "per": "total"}]}},
    "alerts": {"webhook": "http://127.0.0.1:9/nobody", "allow_private_addresses": True},
}
"""One order reaches every threshold, and whoever is to be told of that does not answer."""

DOOMED_PROMPT = "doomed [sandbox:delay=0.5]"
"""Slow enough for several polls, so that every step below is reached."""

STEPS = [
    *(("transact", count) for count in (1, 2, 3, 4, 5)),
    *(("poll", count) for count in (1, 2)),
    *((name, 1) for name in ("submit", "keep", "readable", "put")),
]
POINTS = [(name, when, count) for name, count in STEPS for when in ("before", "after")]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point)))
async def test_killed_between_any_two_steps(tmp_path: Path, point: tuple[str, str, int]) -> None:
    async with running_sandbox(FAST) as sandbox:
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(sandbox.base_url, tmp_path / "data", **WATCHED))
        port = free_port()
        answered = None
        async with forked(doomed.main, config, port, *point, cwd=tmp_path) as ended:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post(
                        "/v1/images/generations",
                        json={"model": "gpt-image-1.5", "prompt": DOOMED_PROMPT},
                        headers=AUTH,
                    )
                    assert answer.status_code == 200
                    answered = answer.json()["id"]
            assert await ended() == -signal.SIGKILL
        one = await opened(sandbox, tmp_path / "data", **WATCHED)
        try:
            await one.settled()
            await recorded(one)
            if answered:
                task = await one.ended(answered)
                assert task["status"] == "completed", task
                picture = await one.client.get(task["results"][0])
                Image.open(io.BytesIO(picture.content)).load()
            assert sandbox.state.accepted_by_prompt[DOOMED_PROMPT] <= 1
            assert await one.violations() == []
            paid = (await one.metrics())[SPEND]
            started = sum((await one.gateway.ledger.run_counts()).values())
            assert round(paid, 6) == round(PRICE_USD * started, 6)
        finally:
            await one.stop()


async def recorded(one: House) -> None:
    """What the run's transactions write beside its money is there, once, or the run is not."""
    runs = (await one.admin("GET", "runs")).json()["data"]
    alerts = (await one.admin("GET", "callbacks")).json()["data"]
    assert len(alerts) == 2 * len(runs)  # of the thresholds 80 % and 100 %
    for run in runs:
        steps = (await one.admin("GET", f"runs/{run['id']}")).json()["steps"]
        assert (steps[0]["before"], steps[-1]["after"]) == ("", run["state"])
        assert all(a["after"] == b["before"] for a, b in itertools.pairwise(steps))


class Customers:
    """Clients that order distinct prompts and remember what they were promised."""

    def __init__(self, port: int) -> None:
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)
        self.promised: dict[str, str] = {}
        self.stopping = False
        self._serial = 0

    async def order(self) -> None:
        while not self.stopping:
            self._serial += 1
            prompt = f"order {self._serial}"
            try:
                answer = await self.client.post(
                    "/v1/images/generations",
                    json={"model": "gpt-image-1.5", "prompt": prompt},
                    headers=AUTH,
                )
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.promised[prompt] = answer.json()["id"]
            else:
                assert answer.status_code in (503, 504), answer.text
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * KILLS)
async def test_killed_dozens_of_times_under_load(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with running_sandbox(FAST) as sandbox:
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(sandbox.base_url, tmp_path / "data", models=PATIENT))
        port = free_port()
        customers = Customers(port)
        orders = [asyncio.create_task(customers.order()) for _ in range(8)]
        program = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        for number in range(4 * KILLS):  # more lives where a busy machine lets each do too little
            if number >= KILLS and len(customers.promised) > KILLS:
                break
            whole = number % WHOLE == 0
            async with (
                process(*program, cwd=tmp_path)
                if whole
                else forked(doomed.serve, config, port, cwd=tmp_path)
            ):
                await asyncio.sleep(chance.uniform(0.05, 0.8))
        customers.stopping = True
        await asyncio.gather(*orders)
        await customers.client.aclose()
        await prove(sandbox, tmp_path / "data", customers)
        audit = await asyncio.create_subprocess_exec(
            *GATEWAY, "audit", "--config", str(config), cwd=tmp_path
        )
        assert await audit.wait() == 0


async def prove(sandbox: RunningSandbox, folder: Path, customers: Customers) -> None:
    """Every promise is kept, no prompt was paid twice, the books agree."""
    assert len(customers.promised) > KILLS
    one = await opened(sandbox, folder, models=PATIENT)
    try:
        await one.settled(stores.patience(60))
        for prompt, task_id in customers.promised.items():
            task = await one.ended(task_id)
            assert task["status"] == "completed", (prompt, task)
            picture = await one.client.get(task["results"][0])
            Image.open(io.BytesIO(picture.content)).load()
        assert max(sandbox.state.accepted_by_prompt.values()) == 1
        assert max(sandbox.state.submits_by_prompt.values()) == 1
        assert await one.violations() == []
        counts = await one.gateway.ledger.run_counts()
        paid = (await one.metrics())[SPEND]
        assert round(paid, 6) == round(PRICE_USD * sum(counts.values()), 6)
    finally:
        await one.stop()
