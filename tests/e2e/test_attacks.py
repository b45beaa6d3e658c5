"""Against the whole gateway: jumping clocks, full disks, signals in storms, money in races."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import (
    FAST,
    ORGANISATION_KEY,
    OTHER_KEY,
    TEAM_KEY,
    House,
    digest,
    house,
    opened,
    settings_text,
)
from processes import GATEWAY, free_port, process

from gateway.background.runs import asking
from gateway.config import parse
from gateway.core.money import budgets
from gateway.core.money.accounts import Window
from gateway.sandbox import running_sandbox
from gateway.serving import InProcessServer
from gateway.wiring import Gateway

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}


# --- clocks --------------------------------------------------------------------------------------


class JumpingClock:
    ahead_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


@contextlib.asynccontextmanager
async def house_with_clock(folder: Path, clock: JumpingClock) -> AsyncIterator[House]:
    async with running_sandbox(FAST) as sandbox:
        teams = {"blue": {"budgets": [{"usd": 1, "per": "hour"}]}}
        settings = parse(settings_text(sandbox.base_url, folder, teams=teams), {})
        gateway = Gateway(settings, clock=clock)
        await gateway.start()
        http = InProcessServer(gateway.app)
        await http.start()
        gateway.bound(http.bound_port)
        client = httpx.AsyncClient(base_url=http.base_url, timeout=10)
        one = House(gateway, http, client, sandbox, folder, settings)
        try:
            yield one
        finally:
            await one.stop()


@pytest.mark.parametrize("jump_seconds", [-3600, 600, 3600, 86_400])
async def test_a_clock_that_jumps(tmp_path: Path, jump_seconds: float) -> None:
    clock = JumpingClock()
    async with house_with_clock(tmp_path, clock) as one:
        await one.made("before")
        await asyncio.sleep(0.1)  # the worker rests, and the jump comes in its sleep
        clock.ahead_seconds = jump_seconds
        assert (await one.made("after"))["status"] == "completed"
        assert "hit" in (await one.post("before")).headers["cache-status"]
        assert one.sandbox.state.submits == 2
        assert await one.violations() == []
        await one.settled()


# --- a full disk ---------------------------------------------------------------------------------


def let_files_grow(pid: int, to_bytes: int) -> None:
    """Every write beyond so many bytes of a file fails from now on, as on a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (to_bytes, resource.RLIM_INFINITY))


@pytest.mark.files
async def test_a_disk_that_fills_and_empties(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(sandbox.base_url, tmp_path / "data"))
        port = free_port()
        serve = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        async with (
            process(*serve, cwd=tmp_path) as one,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTH) as client,
        ):
            running = [(await order(client, f"{i} [sandbox:delay=0.3]")).json() for i in range(5)]
            let_files_grow(one.pid, 4096)
            refused = await order(client, "into a full disk")
            assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
            assert str(tmp_path) not in refused.text
            await asyncio.sleep(0.6)  # meanwhile their tasks end upstream
            for path in ("/healthz", "/metrics", f"/v1/tasks/{running[0]['id']}"):
                assert (await client.get(path)).status_code == 200
            let_files_grow(one.pid, resource.RLIM_INFINITY)
            for task in running:
                await completed(client, task["id"])
            later = await order(client, "into a full disk")
            assert later.status_code == 200
            await completed(client, later.json()["id"])
            assert sandbox.state.submits == 6
            one.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(one.wait(), 10) == 0
        assert "Traceback" not in (tmp_path / "process.log").read_text()
        audit = await asyncio.create_subprocess_exec(
            *(*GATEWAY, "audit", "--config", str(config)), stdout=asyncio.subprocess.DEVNULL
        )
        assert await audit.wait() == 0


async def order(client: httpx.AsyncClient, prompt: str) -> httpx.Response:
    body = {"model": "gpt-image-1.5", "prompt": prompt}
    return await client.post("/v1/images/generations", json=body)


async def completed(client: httpx.AsyncClient, task_id: str) -> None:
    async with asyncio.timeout(15):
        while (task := (await client.get(f"/v1/tasks/{task_id}")).json())["status"] != "completed":
            assert task["status"] != "failed", task
            await asyncio.sleep(0.05)


# --- signals -------------------------------------------------------------------------------------


async def is_taken(client: httpx.AsyncClient, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await client.get("/v1/tasks/task-unified-1", headers=headers)
    return answer.status_code == 404


async def taken(client: httpx.AsyncClient, key: str) -> None:
    async with asyncio.timeout(5):
        while not await is_taken(client, key):
            await asyncio.sleep(0.02)


async def test_hang_ups_while_settings_are_read(tmp_path: Path) -> None:
    """A named pipe as the settings file: reading it takes as long as the test likes."""
    async with running_sandbox(FAST) as sandbox:
        config = tmp_path / "config.yaml"

        def text(key: str) -> str:
            teams = {"blue": {"keys": [digest(key)]}}
            return settings_text(sandbox.base_url, tmp_path / "data", teams=teams)

        port = free_port()
        serve = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        os.mkfifo(config)
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(*serve, stdout=asyncio.subprocess.PIPE)
        )
        pipe = await asyncio.to_thread(config.open, "w")
        one = await starting
        try:
            one.send_signal(signal.SIGHUP)  # no reason to die; it is made up for
            with pipe:
                pipe.write(text("first"))
            assert one.stdout is not None
            assert b"ready" in await asyncio.wait_for(one.stdout.readline(), 10)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await taken(client, "first")
                one.send_signal(signal.SIGHUP)
                pipe = await asyncio.to_thread(config.open, "w")
                config.unlink()
                config.write_text(text("newest"))
                one.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.2)
                with pipe:
                    pipe.write(text("outdated"))
                await taken(client, "newest")
                await asyncio.sleep(0.1)
                assert not await is_taken(client, "outdated")
                for number in range(30):
                    config.write_text(text("last") if number % 2 else "{bad")
                    one.send_signal(signal.SIGHUP)
                await taken(client, "last")
            one.send_signal(signal.SIGTERM)
            one.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(one.wait(), 10) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                one.kill()
            await one.wait()


async def test_a_hang_up_before_it_is_ready_is_made_up_for(tmp_path: Path) -> None:
    """The settings that it read are the old ones by then, and nobody hangs up a second time."""
    async with running_sandbox(FAST) as sandbox:
        config = tmp_path / "config.yaml"

        def text(key: str) -> str:
            teams = {"blue": {"keys": [digest(key)]}}
            return settings_text(sandbox.base_url, tmp_path / "data", teams=teams)

        port = free_port()
        serve = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        os.mkfifo(config)
        one = await asyncio.create_subprocess_exec(*serve, stdout=asyncio.subprocess.PIPE)
        try:
            pipe = await asyncio.to_thread(config.open, "w")
            config.unlink()
            config.write_text(text("new"))
            one.send_signal(signal.SIGHUP)
            with pipe:
                pipe.write(text("old"))
            assert one.stdout is not None
            assert b"ready" in await asyncio.wait_for(one.stdout.readline(), 10)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await taken(client, "new")
                assert not await is_taken(client, "old")
        finally:
            one.kill()
            await one.wait()


# --- saturation ----------------------------------------------------------------------------------


async def test_what_found_no_slot_was_not_sent_and_is_not_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SLOT_SECONDS", 0.2)
    changes: dict[str, Any] = {
        "worker": {"concurrency": 4},  # of which one team alone gets two
        "models": {"gpt-image-1.5": {"deadline": "3s"}},
        "upstreams": {"evolink": {"timeout": {"submit": "2s"}}},
    }
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, **changes)
        hanging = [asyncio.create_task(one.post(f"{i} [sandbox:hang]")) for i in range(2)]
        async with asyncio.timeout(5):
            while sandbox.state.submits < 2:
                await asyncio.sleep(0.01)
        waiting = [await one.post(f"waiting {i}") for i in range(3)]
        assert [answer.json()["status"] for answer in waiting] == ["pending"] * 3
        assert sandbox.state.submits == 2
        one.gateway.stop_taking()
        await one.http.stop(5)
        assert {answer.status_code for answer in await asyncio.gather(*hanging)} == {504}
        await one.stop()
        again = await opened(sandbox, tmp_path, **changes)
        for answer in waiting:
            assert (await again.ended(answer.json()["id"]))["status"] == "completed"
        assert max(sandbox.state.submits_by_prompt.values()) == 1
        assert await again.violations() == []
        await again.stop()


# --- money ---------------------------------------------------------------------------------------

WORDS = [
    *[""] * 6,
    *(f"[sandbox:{word}]" for word in ("fail=service_error", "drop", "http=503*2", "dead-link")),
    *(f"[sandbox:{word}]" for word in ("http=400", "http=401", "delay=0.2", "garbage", "stuck")),
]
CONTROLS: list[dict[str, str]] = [{}] * 6 + [
    {"Cache-Control": value} for value in ("no-cache", "no-store", "max-age=0", "only-if-cached")
]
CAPS_USD = {
    "blue": {"hour": 1.5, "day": 1.2, "total": 2.0},
    "green": {"hour": 1.0, "month": 1.3},
}
BLUE_RUNS_AT_ONCE = 6
GREEN_IMAGES = 17


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_cap_is_ever_exceeded_and_nothing_leaks(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    teams: dict[str, Any] = {
        name: {"budgets": [{"usd": usd, "per": window} for window, usd in caps.items()]}
        for name, caps in CAPS_USD.items()
    }
    teams["blue"]["limits"] = {"concurrent_runs": BLUE_RUNS_AT_ONCE}
    teams["green"]["limits"] = {"images": [{"count": GREEN_IMAGES, "per": "day"}]}
    changes: dict[str, Any] = {
        "teams": teams,
        "cache": {"scope": "organization"},
        "models": {"gpt-image-1.5": {"deadline": "1s"}},
    }
    async with house(tmp_path, **changes) as one:
        said: Counter[int] = Counter()
        texts: list[str] = []

        async def customer() -> None:
            for _ in range(25):
                key = chance.choice((TEAM_KEY, OTHER_KEY))
                prompt = f"{chance.randint(1, 12)} {chance.choice(WORDS)}"
                wish = {"n": chance.choice((1, 1, 2, 3)), "headers": chance.choice(CONTROLS)}
                answer = await one.post(prompt, key=key, **wish)
                said[answer.status_code] += 1
                texts.append(answer.text)

        customers = [asyncio.create_task(customer()) for _ in range(8)]
        while not all(task.done() for task in customers):
            await prove_caps(one)
            await asyncio.sleep(0.02)
        await asyncio.gather(*customers)
        await one.settled()
        await prove_caps(one)
        assert set(said) <= {200, 400, 402, 424, 429, 502, 504}  # 424: its like was lost
        assert said[200] and said[402] + said[429] > 20
        shown = await one.metrics()
        for team, caps in CAPS_USD.items():
            spend = shown[f'gateway_spend_usd_total{{model="gpt-image-1.5",team="{team}"}}']
            for window in caps:
                labels = f'{{team="{team}",window="{window}"}}'
                assert shown[f"gateway_budget_held_usd{labels}"] == 0
                assert round(shown[f"gateway_budget_spent_usd{labels}"], 6) == round(spend, 6)
        assert await one.violations() == []
        for secret in (ORGANISATION_KEY, TEAM_KEY, one.sandbox.base_url, str(tmp_path)):
            assert secret not in "".join(texts)
        assert set(one.sandbox.state.keys_seen) == {f"Bearer {ORGANISATION_KEY}"}


async def prove_caps(one: House) -> None:
    """What the ledger has committed at this moment keeps every cap."""
    now = time.time()
    for team, caps in CAPS_USD.items():
        accounts = await one.gateway.ledger.accounts(budgets.account_keys(team, now, UTC))
        for key, account in accounts.items():
            used = account.spent + account.held
            assert used.usd_micros <= caps.get(key.window, 100) * 1_000_000
            if team == "blue":
                assert account.held.runs <= BLUE_RUNS_AT_ONCE
            elif key.window is Window.DAY:
                assert used.images <= GREEN_IMAGES
