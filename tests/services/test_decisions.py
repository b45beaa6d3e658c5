"""The decision on an order: what is looked for before it, and what only an order to make needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any, cast

from core_samples import CATALOG, NOW, Books, a_policy, a_run, an_ask, kept
from following_samples import alone

from gateway.core.catalog import Team
from gateway.core.model import Picture, Run, RunState
from gateway.core.orders.admission import Denied, Hit, Started
from gateway.core.orders.denials import Reason
from gateway.core.policy import Current
from gateway.core.transaction import ConstraintViolation, Decide, Keys
from gateway.process.lately import SECONDS
from gateway.services.decisions import Decisions, DecisionsDeps

Asked = list[str]


@dataclass
class Outside:
    """The ledger, the cache, the pictures and the disk at once; `asked` tells what was wanted."""

    books: Books = field(default_factory=Books)
    cached: Run | None = None
    known: Run | None = None
    readable_: bool = True
    looked_: int = 0
    enough_: bool = True
    refuses: int = 0
    asked: Asked = field(default_factory=list)
    epoch: int = 0

    async def transact(self, keys: Keys, decide: Decide[Any]) -> Any:
        self.asked.append("ledger" if keys.fingerprint else "claim")
        decision, writes = decide(self.books.view(keys))
        if self.refuses:
            self.refuses -= 1
            raise ConstraintViolation("its run is of another ledger")
        self.books.apply(writes)
        return decision

    async def run(self, run_id: str) -> Run | None:
        return self.known if self.known and self.known.id == run_id else None

    async def get(self, _: str) -> Run | None:
        return self.cached

    async def delete(self, _: str) -> None:
        self.asked.append("drop")
        self.cached = None

    async def readable(self, _: Sequence[Picture]) -> bool:
        self.looked_ += 1
        return self.readable_

    async def require(self) -> None:
        self.asked.append("store")

    def enough(self) -> bool:
        self.asked.append("room")
        return self.enough_

    def cache_looked_up(self, result: str) -> None:
        self.asked.append(result)


def decisions(outside: Outside) -> Decisions:
    policy = a_policy(catalog=CATALOG, teams={"alpha": Team("alpha")}, zone=UTC)
    one = cast(Any, outside)
    current = Current(policy, lambda: NOW)
    return Decisions(DecisionsDeps(one, one, one, one, one, current, alone()))


def asking() -> tuple[Any, Run]:
    """An order, and the finished run that answers it."""
    ask = an_ask(team=Team("alpha"))
    picture = kept("https://files.example/1.png")
    done = a_run(
        fingerprint=ask.fingerprint,
        state=RunState.DONE,
        finished_at=NOW - 1,
        kept=(picture,),
        links=(picture.link,),
    )
    return ask, done


async def test_an_answer_that_is_held_ready_needs_neither_room_nor_the_runs() -> None:
    ask, done = asking()
    outside = Outside(cached=done, enough_=False)
    assert isinstance(await decisions(outside).on(ask, None), Hit)
    assert outside.asked == ["hit", "claim"]


async def test_pictures_are_looked_for_once_a_second_and_not_for_each_hit() -> None:
    ask, done = asking()
    outside = Outside(cached=done)
    one = decisions(outside)
    for number in range(20):
        assert isinstance(await one.on(replace(ask, job_id=f"job-{number}"), None), Hit)
    assert outside.looked_ == 1
    outside.readable_ = False
    await asyncio.sleep(SECONDS)
    assert isinstance(await one.on(replace(ask, job_id="job-20"), None), Started)


async def test_an_answer_whose_pictures_are_gone_is_made_again_where_there_is_room() -> None:
    for enough, verdict in ((True, Started), (False, Denied)):
        ask, done = asking()
        outside = Outside(cached=done, readable_=False, enough_=enough)
        decision = await decisions(outside).on(ask, None)
        assert isinstance(decision, verdict)
        if isinstance(decision, Denied):
            assert decision.denial.reason is Reason.ROOM
        assert outside.asked == ["hit", "drop", "store", "room", "ledger"]


async def test_a_cache_that_outlived_its_ledger_is_not_believed_and_its_order_needs_room() -> None:
    for enough, verdict in ((True, Started), (False, Denied)):
        ask, done = asking()
        outside = Outside(cached=done, enough_=enough, refuses=1)
        assert isinstance(await decisions(outside).on(ask, None), verdict)
        assert outside.asked == ["hit", "claim", "drop", "store", "room", "ledger"]


async def test_a_good_answer_outlives_a_task_id_that_is_taken() -> None:
    ask, run = asking()
    outside = Outside(cached=run, known=run, refuses=1)
    decided = await decisions(outside).on(ask, None)
    assert isinstance(decided, Hit) and decided.job.id != ask.job_id
    assert (outside.asked, outside.cached) == (["hit", "claim", "claim"], run)


async def test_what_is_foreseen_is_not_written() -> None:
    ask, _ = asking()
    outside = Outside()
    assert isinstance(await decisions(outside).foreseen(ask), Started)
    assert outside.asked == ["miss", "store", "room", "ledger"]
    assert outside.books == Books()
