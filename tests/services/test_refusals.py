"""Refused orders are written down without costing an order anything, and a flood stays small."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from core_samples import a_policy
from structlog.testing import capture_logs

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.adapters.metrics.recorder import MetricsRecorder
from gateway.core.catalog import Team
from gateway.core.model import Verdict
from gateway.core.orders.asked import Asked
from gateway.core.orders.receipt import NOTHING, Receipt
from gateway.core.runs.history import Refusal
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.errors import InvalidRequest, Unavailable, UpstreamError
from gateway.ports.ledger import RefusalFilter
from gateway.services import refusals as recorder
from gateway.services.orders import Orders, OrdersDeps, Sent
from gateway.services.refusals import Refusals

EMPTY = a_policy()


class Lame(SqliteLedger):
    """A ledger that is away while `trouble` is set; `writes` counts the rows of each batch."""

    trouble: Exception | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes: list[int] = []

    async def transact(self, keys: Keys, decide: Decide[Any]) -> Any:
        if self.trouble:
            raise self.trouble

        def counted(view: View) -> tuple[Any, Writes]:
            answer, writes = decide(view)
            self.writes.append(len(writes.refusals))
            return answer, writes

        return await super().transact(keys, counted)


class Hands:
    """The clock of a test."""

    now = 1_767_355_203.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Lame]:
    one = Lame(tmp_path / "ledger.db")
    await one.open()
    yield one
    await one.close()


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def refusals(ledger: Lame, clock: Hands) -> Refusals:
    return Refusals(ledger, MetricsRecorder(EMPTY), clock=clock)


def refuse(refusals: Refusals, request_id: str, team: str = "blue", message: str = "No.") -> None:
    refusals.invalid(InvalidRequest(message, param="n"), Asked(Team(team), "m"), request_id)


async def written(ledger: Lame, **asked: Any) -> list[Refusal]:
    return list(await ledger.refusals(RefusalFilter(**asked), after=None, limit=100_000))


async def test_a_refusal_is_known_at_once_and_written_soon(
    refusals: Refusals, ledger: Lame, clock: Hands
) -> None:
    refuse(refusals, "req_1")
    (found,) = refusals.find("req_1")
    expected = Refusal(
        id=found.id,
        request_id="req_1",
        at=clock.now,
        team="blue",
        model="m",
        verdict=str(Verdict.INVALID),
        mode="enforce",
        reason="invalid_request",
        rule="",
        message="No.",
        param="n",
    )
    assert found == expected and refusals.find(found.id) == [expected]
    assert await written(ledger) == []
    assert await refusals.flush()
    assert await written(ledger) == [expected]
    assert refusals.find("req_1") == []
    assert not await refusals.flush()


async def test_only_the_callers_faults_are_refusals(refusals: Refusals) -> None:
    orders = Orders(cast("OrdersDeps", SimpleNamespace(refusals=refusals)))
    told: list[Receipt] = []
    for error in (UpstreamError("theirs"), Unavailable("ours"), RuntimeError("a defect")):
        with pytest.raises(type(error)), orders.reading(Team("blue"), Sent(told.append, "req_1")):
            raise error
    assert refusals.find("req_1") == [] and told == []
    with pytest.raises(InvalidRequest), orders.reading(Team("blue"), Sent(told.append, "req_1")):
        raise InvalidRequest("yours")
    assert len(refusals.find("req_1")) == 1 and told == [NOTHING]


async def test_the_task_writes_about_once_a_second(
    refusals: Refusals, ledger: Lame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)
    refusals.run()
    refuse(refusals, "req_1")
    async with asyncio.timeout(5):
        while not await written(ledger):
            await asyncio.sleep(0.01)
    await refusals.stop()


async def test_stopping_writes_what_is_left_in_batches(refusals: Refusals, ledger: Lame) -> None:
    refusals.run()
    for number in range(recorder.ROWS_AT_ONCE + 7):
        refuse(refusals, f"req_{number}")
    await refusals.stop()
    assert ledger.writes == [recorder.ROWS_AT_ONCE, 7]


async def test_a_ledger_that_is_away_costs_nothing_but_time(
    refusals: Refusals, ledger: Lame
) -> None:
    for number in range(3):
        refuse(refusals, f"req_{number}")
    ledger.trouble = Unavailable("away")
    assert not await refusals.flush()
    assert refusals.find("req_0")
    refuse(refusals, "req_3")
    ledger.trouble = None
    assert await refusals.flush()
    assert {one.request_id for one in await written(ledger)} == {
        f"req_{number}" for number in range(4)
    }


async def test_stopping_with_a_ledger_that_is_away_ends(refusals: Refusals, ledger: Lame) -> None:
    refusals.run()
    refuse(refusals, "req_1")
    ledger.trouble = Unavailable("away")
    async with asyncio.timeout(5):
        await refusals.stop()


async def test_what_the_ledger_refuses_is_not_tried_for_ever(
    refusals: Refusals, ledger: Lame
) -> None:
    refuse(refusals, "req_1")
    ledger.trouble = RuntimeError("a defect")
    with capture_logs() as lines:
        await refusals.flush()
    assert [line["event"] for line in lines] == ["refusals were not written down"]
    assert refusals.find("req_1") == []


async def test_requests_that_are_called_alike_are_all_on_record(
    refusals: Refusals, ledger: Lame
) -> None:
    refuse(refusals, "mine", "blue", "first")
    refuse(refusals, "mine", "green", "second")
    await refusals.flush()
    refuse(refusals, "mine", "green", "third")
    assert [one.message for one in refusals.find("mine")] == ["third"]
    await refusals.flush()
    assert {one.message for one in await written(ledger)} == {"first", "second", "third"}
    assert len({one.id for one in await written(ledger)}) == 3


async def test_long_texts_are_cut(refusals: Refusals) -> None:
    refuse(refusals, "req_1", message="x" * 100_000)
    (found,) = refusals.find("req_1")
    assert len(found.message) == recorder.MESSAGE_CHARACTERS


# --- floods --------------------------------------------------------------------------------------


async def test_of_a_flood_the_first_are_kept_and_the_rest_is_counted(
    refusals: Refusals, ledger: Lame, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 refusals of one team within ten seconds, and one of another."""
    for number in range(100_000):
        clock.now += 0.0001
        refuse(refusals, f"req_{number}")
    refuse(refusals, "other", "green")
    assert refusals.find("other")
    while await refusals.flush():
        pass
    assert max(ledger.writes) == recorder.ROWS_AT_ONCE
    kept = [one for one in await written(ledger) if one.team == "blue"]
    assert len(kept) <= recorder.TEAM_BURST + 10 * recorder.TEAM_ROWS_PER_SECOND
    assert {f"req_{number}" for number in range(recorder.TEAM_BURST)} <= {
        one.request_id for one in kept
    }
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0)
    with capture_logs() as lines:
        refusals.run()
        while not lines:
            await asyncio.sleep(0)
        await refusals.stop()
    assert lines[0]["count"] == 100_000 - len(kept)


async def test_a_team_that_is_quiet_again_is_remembered_again(
    refusals: Refusals, clock: Hands
) -> None:
    for number in range(recorder.TEAM_BURST + 1):
        refuse(refusals, f"req_{number}")
    assert refusals.find(f"req_{recorder.TEAM_BURST}") == []
    clock.now += 1
    refuse(refusals, "later")
    assert refusals.find("later")
    clock.now -= 3600  # a clock that is set back grants nothing
    for number in range(3):
        refuse(refusals, f"back_{number}")
    assert refusals.find("back_2") == []


async def test_a_full_buffer_is_shared_evenly_and_teams_take_turns(
    refusals: Refusals, ledger: Lame
) -> None:
    noisy = [f"noisy-{number}" for number in range(8)]
    for team in noisy:
        for number in range(recorder.TEAM_BURST):
            refuse(refusals, f"{team}/{number}", team)
    for number in range(10):
        refuse(refusals, f"quiet/{number}", "quiet")
    await refusals.flush()
    first = Counter(one.team for one in await written(ledger))
    assert first["quiet"] == 10
    assert max(first.values()) - min(first[team] for team in noisy) <= 1
    while await refusals.flush():
        pass
    kept = Counter(one.team for one in await written(ledger))
    assert sum(kept.values()) == recorder.BUFFERED
    assert kept["quiet"] == 10
    assert min(kept[team] for team in noisy) > recorder.BUFFERED // 10
