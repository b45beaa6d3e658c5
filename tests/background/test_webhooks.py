"""Webhooks over a ledger: what is done when stores, receivers and clocks misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from core_samples import a_policy

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background import webhooks
from gateway.background.webhooks import (
    ATTEMPT_SECONDS,
    IN_HAND,
    LEASE_SECONDS,
    Webhooks,
    WebhooksDeps,
)
from gateway.core.delivery import Outcome, owes, receiver
from gateway.core.model import Delivery, DeliveryState, Job, Run, RunState, Verdict
from gateway.core.money.accounts import NOTHING, Windows
from gateway.core.policy import Current
from gateway.core.transaction import Keys, Writes
from gateway.errors import Unavailable
from gateway.ports.ledger import DeliveryFilter

RUN = Run(
    id="run_1",
    fingerprint="f" * 64,
    team="blue",
    model="m",
    quality="",
    n=1,
    request="{}",
    upstream="u",
    upstream_model="m",
    price_usd_micros=0,
    windows=Windows(0, 0, 0, 0, 0),
    hold=NOTHING,
    created_at=1.0,
    deadline_at=2.0,
    due_at=1.0,
    state=RunState.DONE,
    accepted_at=1.0,
    finished_at=1.0,
)


class Watcher:
    """Collects what it is told; an observer as far as they go."""

    def __init__(self) -> None:
        self.told: list[Delivery] = []

    def called_back(self, delivery: Delivery) -> None:
        self.told.append(delivery)


class Shaky(SqliteLedger):
    """A store that is away for the next `away` calls of what is named."""

    def __init__(self, path: Path, **away: int) -> None:
        super().__init__(path)
        self._away = away

    def _fail(self, what: str) -> None:
        if self._away.get(what, 0) > 0:
            self._away[what] -= 1
            raise Unavailable("away")

    async def transact(self, keys: Keys, decide: Any) -> Any:
        self._fail("transact")
        return await super().transact(keys, decide)

    async def job(self, job_id: str) -> Any:
        self._fail("job")
        return await super().job(job_id)

    async def next_delivery_due(self) -> float | None:
        self._fail("next_delivery_due")
        return await super().next_delivery_due()


class Receivers:
    """The port, answering by host: 200, except where the test says otherwise."""

    def __init__(self, **hosts: Callable[[], Any]) -> None:
        self._hosts = hosts
        self.taken: list[str] = []
        self.bodies: list[bytes] = []
        self.leases: list[float] = []

    async def deliver(self, delivery: Delivery, body: bytes) -> Outcome:
        self.taken.append(delivery.id)
        self.bodies.append(body)
        self.leases.append(delivery.lease_until)
        answer = self._hosts.get(receiver(delivery.url).partition(".")[0])
        return Outcome(200) if answer is None else await answer()

    async def aclose(self) -> None:
        return


async def never() -> Outcome:
    await asyncio.Event().wait()
    return Outcome(200)


def job(number: int, host: str, *, team: str = "blue") -> Job:
    url = f"https://{host}.example.com/{number}"
    return Job(f"task-unified-1-{number:08}", RUN.id, team, Verdict.HIT, 1.0 + number, url)


class Round:
    """The sending of webhooks, with its ledger and its receivers."""

    def __init__(self, ledger: SqliteLedger, receivers: Receivers, **options: Any) -> None:
        self.ledger = ledger
        self.watcher = Watcher()
        self.clock: Callable[[], float] = options.pop("clock", time.time)
        render = options.pop("render", lambda job, run: job.id.encode())
        policy = a_policy(callback_retries=options.pop("retries", (0.01,)))
        observer: Any = self.watcher
        deps = WebhooksDeps(ledger, observer, Current(policy, self.clock), self.clock, render)
        concurrency = options.pop("concurrency", 16)
        self.webhooks = Webhooks(deps, receivers, concurrency=concurrency, owner="here")

    async def owe(self, *jobs: Job) -> None:
        rows = tuple(one for each in jobs for one in owes(each, self.clock()))
        writes = Writes(runs=(RUN,), jobs=jobs, deliveries=rows)
        await self.ledger.transact(Keys(), lambda _: (None, writes))
        self.webhooks.nudge()

    async def told(self, count: int) -> list[Delivery]:
        async with asyncio.timeout(10):
            while len(self.watcher.told) < count:
                await asyncio.sleep(0.01)
        return self.watcher.told


@contextlib.asynccontextmanager
async def a_round(
    ledger: Callable[[Path], SqliteLedger] = SqliteLedger,
    receivers: Receivers | None = None,
    *,
    folder: Path | None = None,
    **options: Any,
) -> AsyncIterator[Round]:
    """Its ledger lies in the folder, or in one of its own."""
    with tempfile.TemporaryDirectory() as own:
        made = ledger((folder or Path(own)) / "ledger.db")
        one = Round(made, receivers or Receivers(), **options)
        await one.ledger.open()
        one.webhooks.run()
        try:
            yield one
        finally:
            await one.webhooks.stop(0.05)
            await one.ledger.close()


async def test_what_a_former_process_left_is_delivered(tmp_path: Path) -> None:
    first = Round(SqliteLedger(tmp_path / "ledger.db"), Receivers())
    await first.ledger.open()
    await first.owe(job(1, "a"))
    now = time.time()
    await first.ledger.lease_deliveries("gone", now=now, until=now + LEASE_SECONDS, limit=9)
    await first.ledger.close()
    async with a_round(folder=tmp_path) as second:
        [delivery] = await second.told(1)
        assert delivery.state is DeliveryState.DELIVERED
        assert await second.ledger.delivery(delivery.id) == delivery


@pytest.mark.parametrize("what", ["job", "next_delivery_due"])
async def test_a_store_that_is_away_holds_it_up_and_loses_nothing(what: str) -> None:
    receivers = Receivers()
    async with a_round(partial(Shaky, **{what: 1}), receivers) as one:
        await one.owe(job(1, "a"))
        [delivery] = await one.told(1)
    assert (delivery.state, receivers.taken) == (DeliveryState.DELIVERED, [delivery.id])


async def test_whatever_goes_wrong_at_the_store_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(SqliteLedger):
        looks = renewals = 0

        async def next_delivery_due(self) -> float | None:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("broken")
            return await super().next_delivery_due()

        async def renew_deliveries(self, *args: Any, **more: Any) -> Any:
            self.renewals += 1
            if self.renewals == 1:
                raise RuntimeError("broken")
            return await super().renew_deliveries(*args, **more)

    monkeypatch.setattr(webhooks, "RENEW_SECONDS", 0.001)
    async with a_round(Broken, Receivers(b=never)) as one:
        await one.owe(job(1, "a"), job(2, "b"))
        await one.told(1)
        async with asyncio.timeout(5):
            while one.ledger.renewals < 3:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)


async def test_an_outcome_is_recorded_once_the_store_is_back() -> None:
    receivers = Receivers()
    async with a_round(Shaky, receivers) as one:

        async def falls_away() -> Outcome:
            one.ledger._away["transact"] = 1
            return Outcome(200)

        receivers._hosts["a"] = falls_away
        await one.owe(job(1, "a"))
        [delivery] = await one.told(1)
        assert await one.ledger.delivery(delivery.id) == delivery
    assert (delivery.state, receivers.taken) == (DeliveryState.DELIVERED, [delivery.id])


async def test_a_task_that_cannot_be_shown_stops_no_other() -> None:
    def render(one: Job, _: Run) -> bytes:
        if one.id.endswith("1"):
            raise KeyError("status")
        return b"{}"

    async with a_round(render=render) as one:
        await one.owe(job(1, "a"), job(2, "a"))
        await one.told(3)
        ends = {d.job_id[-1]: d for d in one.watcher.told if d.state is not DeliveryState.PENDING}
    assert ends["1"].state is DeliveryState.FAILED
    assert ends["1"].error == "internal error: KeyError"
    assert ends["2"].state is DeliveryState.DELIVERED


async def test_one_that_is_going_on_is_not_begun_anew() -> None:
    async with a_round(receivers=Receivers(a=never)) as one:
        await one.owe(job(1, "a"))
        [row] = await one.ledger.deliveries(DeliveryFilter(), after=None, limit=9)
        again = await one.webhooks.redeliver(row.id)
        assert again is not None and (again.id, again.created_at) == (row.id, row.created_at)
        assert await one.webhooks.redeliver("msg_0") is None


async def test_a_host_has_a_quarter_of_the_slots() -> None:
    receivers = Receivers(a=never)
    async with a_round(receivers=receivers, concurrency=8) as one:
        await one.owe(*(job(n, "a") for n in range(20)))
        await one.owe(*(job(n, "b") for n in range(20, 30)))
        await one.told(10)
        assert len(receivers.taken) == 10 + 8 // 4
        assert {d.url.split(".")[0] for d in one.watcher.told} == {"https://b"}


async def test_a_long_line_makes_room_for_other_hosts() -> None:
    receivers = Receivers(a=never)
    async with a_round(receivers=receivers) as one:
        await one.owe(*(job(n, "a") for n in range(3000)))
        await one.owe(job(5000, "b"))
        start = time.monotonic()
        [delivery] = await one.told(1)
        assert delivery.url == "https://b.example.com/5000"
        assert time.monotonic() - start < 5
        held = len(one.webhooks._lines)
        rows = await one.ledger.deliveries(DeliveryFilter(), after=None, limit=5000)
    assert held <= 2000
    assert sum(row.attempts for row in rows) == 1  # what was put off was not tried


async def test_nothing_is_attempted_at_the_end_of_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waited for too long is given back and comes again at once, first and freshly leased."""
    monkeypatch.setattr(webhooks, "GATHER_SECONDS", 0.5)  # all are given back by the next look
    now = 1_000_000.0
    release = asyncio.Event()

    async def slow() -> Outcome:
        await release.wait()
        return Outcome(200)

    receivers = Receivers(a=slow)
    async with a_round(receivers=receivers, concurrency=1, clock=lambda: now) as one:
        await one.owe(*(job(number, "a") for number in range(5)))
        while not receivers.taken:
            await asyncio.sleep(0.01)
        now += LEASE_SECONDS - ATTEMPT_SECONDS + 1
        await one.owe(job(9, "a"))
        release.set()
        told = await one.told(6)
        assert [one.job_id for one in told] == [job(n, "a").id for n in (0, 1, 2, 3, 4, 9)]
        assert all(until >= now + ATTEMPT_SECONDS for until in receivers.leases[1:])


async def test_a_lease_that_ran_out_in_the_line_is_renewed_in_it() -> None:
    now = 1_000_000.0
    release = asyncio.Event()

    async def slow() -> Outcome:
        await release.wait()
        return Outcome(200)

    receivers = Receivers(a=slow)
    async with a_round(receivers=receivers, concurrency=1, clock=lambda: now) as one:
        await one.owe(job(1, "a"), job(2, "a"))
        while not receivers.taken:
            await asyncio.sleep(0.01)
        now += LEASE_SECONDS + 1
        one.webhooks.nudge()
        until = time.monotonic() + 5
        while (await one.ledger.next_delivery_due() or 0.0) < now:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        release.set()
        await one.told(2)
    assert len(set(receivers.taken)) == 2


async def test_a_team_that_calls_thousands_of_hosts_that_hang_holds_up_no_other() -> None:
    receivers = Receivers(**{f"h{number}": never for number in range(2200)})
    async with a_round(receivers=receivers, concurrency=16) as one:
        await one.owe(*(job(number, f"h{number}") for number in range(2200)))
        async with asyncio.timeout(5):
            while len(receivers.taken) < 16 // 2:
                await asyncio.sleep(0.01)
        for number in range(3):
            start = time.monotonic()
            await one.owe(job(5000 + number, "well", team="green"))
            assert (await one.told(number + 1))[-1].team == "green"
            assert time.monotonic() - start < 1
        assert len(receivers.taken) == 16 // 2 + 3
        async with asyncio.timeout(1):  # the last of green's is told of, and about to leave
            while len(one.webhooks._lines) > IN_HAND:
                await asyncio.sleep(0)


async def test_an_alert_does_not_wait_behind_its_teams_callbacks() -> None:
    receivers = Receivers(**{f"h{number}": never for number in range(600)})
    async with a_round(receivers=receivers, concurrency=16) as one:
        await one.owe(*(job(number, f"h{number}") for number in range(600)))
        now = one.clock()
        alert = Delivery("alert_1", None, "blue", "https://ops.test/", now, now, body="{}")
        await one.ledger.transact(Keys(), lambda _: (None, Writes(alerts=(alert,))))
        one.webhooks.nudge()
        assert [each.id for each in await one.told(1)] == ["alert_1"]


async def test_a_host_that_hangs_for_one_team_is_called_for_another() -> None:
    async def hangs_for_blue() -> Outcome:
        return await never() if len(receivers.taken) <= 20 // 4 else Outcome(200)

    receivers = Receivers(shared=hangs_for_blue)
    async with a_round(receivers=receivers, concurrency=20) as one:
        await one.owe(*(job(number, "shared") for number in range(30)))
        async with asyncio.timeout(5):
            while len(receivers.taken) < 20 // 4:
                await asyncio.sleep(0.01)
        await one.owe(job(99, "shared", team="green"))
        assert [each.team for each in await one.told(1)] == ["green"]


async def test_nothing_is_begun_once_stopped() -> None:
    receivers = Receivers()
    async with a_round(receivers=receivers) as one:
        await one.webhooks.stop(1)
        await one.owe(job(1, "a"))
        await asyncio.sleep(0.1)
    assert receivers.taken == []
