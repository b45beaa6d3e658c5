"""A gateway that stands still or dies: another does its work, nothing is paid twice or lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import frozen
import httpx2 as httpx
import pytest
import pytest_asyncio
import shared_servers
from house import ADMIN_KEY, FAST, TEAM_KEY, settings_text
from processes import forked, free_port

from gateway.sandbox import RunningSandbox, running_sandbox

FINAL = ("done", "failed")
HANG_SECONDS = 7.0
"""How long a submit may take here: longer than a lease that nobody renews."""


@dataclass
class Gate:
    """One gateway among the others."""

    url: str
    folder: Path
    client: httpx.AsyncClient
    posted: list[asyncio.Task[httpx.Response]] = field(default_factory=list)

    def signal(self, number: signal.Signals) -> None:
        os.kill(int((self.folder / "pid").read_text("utf-8")), number)

    @property
    def stands_still(self) -> bool:
        pid = (self.folder / "pid").read_text("utf-8")
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        return state == "T"

    def post(self, prompt: str, **headers: str) -> asyncio.Task[httpx.Response]:
        asked = self.client.post(
            f"{self.url}/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": prompt},
            headers={"Authorization": f"Bearer {TEAM_KEY}", **headers},
        )
        self.posted.append(asyncio.create_task(asked))
        return self.posted[-1]

    async def admin(self, path: str) -> Any:
        answer = await self.client.get(
            f"{self.url}/admin/v1/{path}", headers={"Authorization": f"Bearer {ADMIN_KEY}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def runs(self) -> dict[str, Any]:
        """Every run by its prompt."""
        rows = (await self.admin("runs?limit=500"))["data"]
        return {row["prompt"]: row for row in rows}

    async def settled(self, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            runs = await self.runs()
            live = {name: one["state"] for name, one in runs.items() if one["state"] not in FINAL}
            if not live:
                return runs
            assert time.monotonic() < end, live
            await asyncio.sleep(0.1)


@dataclass
class Town:
    """Where the gateways of a test stand: their stores, and the sandbox they order from."""

    folder: Path
    storage: Mapping[str, str]
    sandbox: RunningSandbox
    client: httpx.AsyncClient

    @contextlib.asynccontextmanager
    async def gateway(
        self, name: str, *, ahead: float = 0.0, freezes: bool = False, **upstream: Any
    ) -> AsyncIterator[Gate]:
        folder = self.folder / name
        folder.mkdir()
        settings = folder / "config.yaml"
        timeout = {"connect": "1s", "submit": f"{HANG_SECONDS:.0f}s", "poll": "5s"}
        settings.write_text(
            settings_text(
                self.sandbox.base_url,
                folder / "data",
                storage=self.storage,
                server={"public_url": "https://images.example.org"},
                models={"gpt-image-1.5": {"deadline": "12s"}},
                upstreams={"evolink": {"timeout": timeout, **upstream}},
            )
        )
        port = free_port()
        async with forked(frozen.main, settings, port, ahead, freezes, cwd=folder):
            one = Gate(f"http://127.0.0.1:{port}", folder, self.client)
            try:
                yield one
            finally:
                with contextlib.suppress(ProcessLookupError):
                    one.signal(signal.SIGCONT)
                for task in one.posted:
                    task.cancel()
                await asyncio.gather(*one.posted, return_exceptions=True)


@pytest_asyncio.fixture
async def town(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Town]:
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    storage = shared_servers.stores("takeover")
    limits = httpx.Limits(max_connections=200)
    async with (
        running_sandbox(FAST) as sandbox,
        httpx.AsyncClient(timeout=60, limits=limits) as client,
    ):
        yield Town(tmp_path, storage, sandbox, client)


@pytest.mark.parametrize("resend", [False, True], ids=["once", "resent"])
async def test_a_gateway_that_stood_still_at_any_point_does_no_harm(
    town: Town, resend: bool
) -> None:
    """The second stands still before, so that each order gets to its point with the first."""
    again = {"resend_after_lost_answer": resend}
    prompts = [frozen.prompt(point) for point in frozen.POINTS]
    before, *_ = prompts
    async with (
        town.gateway("second", ahead=-5, **again) as second,
        town.gateway("first", ahead=5, freezes=True, **again) as first,
    ):
        second.signal(signal.SIGSTOP)
        for prompt in prompts:
            first.post(prompt)
        await until(lambda: first.stands_still)
        second.signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            while (await second.runs())[before]["state"] == "submitting":
                await asyncio.sleep(0.1)
        first.signal(signal.SIGCONT)
        runs = await second.settled()
        accepted = town.sandbox.state.accepted_by_prompt
        ends = {name: (one["state"], accepted[name]) for name, one in runs.items()}
        lost = {before: ("failed", 0)} if not resend else {}
        assert ends == {**dict.fromkeys(prompts, ("done", 1)), **lost}
        usage = (await second.admin("usage"))["totals"]
        assert usage["spent_usd"] == pytest.approx(0.05 * len(prompts))
        assert usage["images_generated"] == len(prompts) - len(lost)


async def test_orders_of_a_gateway_that_dies_are_done_by_the_other(town: Town) -> None:
    kinds = ("[sandbox:slow-link=1]", "[sandbox:delay=1]", "[sandbox:hang]", "")
    async with town.gateway("second") as second:
        async with town.gateway("first") as first:
            answers = [first.post(f"order {n} {kinds[n % 4]}") for n in range(16)]
            while sum(answer.done() for answer in answers) < 12 or len(await second.runs()) < 16:
                await asyncio.sleep(0.05)
            first.signal(signal.SIGKILL)
        runs = await second.settled()
        accepted = town.sandbox.state.accepted_by_prompt
        for name, run in runs.items():
            assert accepted[name] <= 1, name
            assert run["state"] == "done" or "hang" in name or accepted[name] == 0, run
        spent = (await second.admin("usage"))["totals"]["spent_usd"]
        assert spent == pytest.approx(0.05 * len(runs))


async def test_clocks_that_differ_steal_no_lease_and_move_no_window(town: Town) -> None:
    async with (
        town.gateway("early", ahead=5) as early,
        town.gateway("late", ahead=-5) as late,
    ):
        for gate in (early, late):
            gate.post(f"patient {gate.url} [sandbox:hang]")
        while len(runs := await late.runs()) < 2:
            await asyncio.sleep(0.05)
        await asyncio.sleep(frozen.LEASE_SECONDS + 1)
        runs = await late.runs()
        assert {one["state"] for one in runs.values()} == {"submitting"}
        one, other = (_unix(run["created_at"]) for run in runs.values())
        assert abs(one - other) < 3
        for gate, ahead in ((early, 5), (late, -5)):
            told = await gate.admin("replicas")
            assert told["clock_offset_seconds"] == pytest.approx(-ahead, abs=0.5)
            assert [row["this"] for row in told["data"]].count(True) == 1
            assert len({row["settings"] for row in told["data"]}) == 1
        await told_within_a_second(early, late)
        async with asyncio.timeout(60):
            while not await both_live_and_one_works(early, late):
                await asyncio.sleep(0.1)


async def both_live_and_one_works(early: Gate, late: Gate) -> bool:
    told = [await gate.admin("replicas") for gate in (early, late)]
    alive = [row["alive"] for one in told for row in one["data"]]
    return alive == [True] * 4 and sorted(one["chores_here"] for one in told) == [False, True]


async def told_within_a_second(early: Gate, late: Gate) -> None:
    """One order at both: whoever does not drive the run hears of its end from the other.

    The quickest of some, for the machine may be busy.
    """
    apart = [await told_apart(early, late, f"awaited {n} [sandbox:delay=0.5]") for n in range(3)]
    assert min(apart) < 1.0


async def told_apart(early: Gate, late: Gate, prompt: str) -> float:
    ended: list[float] = []
    waiting = [gate.post(prompt, Prefer="wait=20") for gate in (early, late)]
    for one in waiting:
        one.add_done_callback(lambda _: ended.append(time.monotonic()))
    answers = await asyncio.gather(*waiting)
    assert [answer.json()["status"] for answer in answers] == ["completed"] * 2
    assert len({answer.json()["results"][0] for answer in answers}) == 1
    return max(ended) - min(ended)


async def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
