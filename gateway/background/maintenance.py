"""What has to be done now and then: watch the disk, prune old rows, check the ledger, and the like.

Each chore has its own pace and its own task; one that fails is logged and tried again at its
next turn, and never takes the others or the gateway with it. What concerns the ledger and what
lies beside it is done once, by whichever gateway has its turn; each looks after its own disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Final, Protocol

import structlog

from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current
from gateway.core.transaction import Keys, Writes
from gateway.ports.clock import Clock
from gateway.ports.ledger import Old, Upkeep
from gateway.ports.pictures import Pictures
from gateway.ports.replicas import Replicas
from gateway.ports.spool import PaidAnswers
from gateway.process.following import FORGET_SECONDS

log = structlog.get_logger("gateway.housekeeping")

SPACE_SECONDS: Final = 2.0
"""A disk fills no faster than downloads run; the floor leaves room for what is under way."""

PRUNE_SECONDS: Final = 3600.0
PRUNE_ROWS: Final = 1000
"""Rows deleted in one transaction: a few milliseconds, so that orders do not feel it."""

PRUNE_ROUNDS: Final = 1000
"""A million rows an hour: more than any hour makes."""

ACCOUNTS_SECONDS: Final = 5.0
"""How soon after a change of the time zone nobody waits any more for a month to be added up."""

CHECK_SECONDS: Final = 600.0
ACCOUNTS_KEPT_SECONDS: Final = 7 * 86_400.0
"""Minute and hour accounts are of no use to anyone after a week."""

TURNS_KEPT_SECONDS: Final = 3600.0
"""Turns that ran out are free; the margin is for clocks that differ."""


Chore = tuple[str, float, Callable[[], Awaitable[None]]]
"""Its name, the seconds from one time to the next, and what is done."""


class Turn(Protocol):
    @property
    def is_ours(self) -> bool:
        """As far as was known a moment ago."""

    async def ours(self) -> None:
        """Returns when it is this gateway's turn."""


class _Mine:
    is_ours = True

    async def ours(self) -> None:
        return


MINE: Final[Turn] = _Mine()
"""Of whoever is alone."""


NO_SPACE: Final = "free disk space is below storage.free_space_floor"
NO_PICTURE_FITS: Final = "free disk space is below storage.picture_limit, which a picture may take"


class UpkeepRecords(Upkeep, Replicas, Protocol):
    """What is looked after."""


class Maintenance:
    """Runs the chores. `enough()` is the newest word on disk space, without a system call."""

    def __init__(
        self,
        ledger: UpkeepRecords,
        pictures: Pictures,
        *,
        current: Current,
        clock: Clock,
        checked: Callable[[int], None],
    ) -> None:
        self._spool: PaidAnswers | None = None
        self._ledger = ledger
        self._pictures = pictures
        self._current = current
        self._clock = clock
        self._checked = checked
        self._free_bytes: int | None = None
        self._problem: str | None = None
        self._lack = ""
        self._last_check: tuple[int, float] | None = None
        self._zone: tzinfo | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._more: list[Chore] = []
        self._turn = MINE
        self._own: list[Chore] = []

    def enough(self) -> bool:
        """Whether new runs may start: a disk that cannot be read, or that refused a picture a
        while ago, counts as a full one."""
        return self.has_space() and self._problem is None

    def has_space(self) -> bool:
        """Whether at least the floor of disk space was left at the last look."""
        return self._has(self._current.policy.room_floor_bytes)

    def lack(self) -> str | None:
        """What new runs lack that may not start, beside the picture store; None: nothing."""
        if self.has_space():
            return None
        reserve = self._current.policy.free_space_floor_bytes
        return self._lack or (NO_PICTURE_FITS if self._has(reserve) else NO_SPACE)

    @property
    def free_bytes(self) -> int | None:
        """The disk space at the last look; None when it could not be told."""
        return self._free_bytes

    @property
    def last_check(self) -> tuple[int, float] | None:
        """How many violations the ledger's last check found, and when that was; None where another
        gateway checks it."""
        return self._last_check

    def _has(self, floor_bytes: int) -> bool:
        return self._free_bytes is not None and self._free_bytes >= floor_bytes

    def watch(self, spool: PaidAnswers) -> None:
        """Its disk counts too, while there is an upstream whose answers lie there."""
        self._spool = spool

    def also(self, name: str, every_seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        """One chore more that is done once, from the start on."""
        self._more.append((name, every_seconds, chore))

    def each(self, name: str, every_seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        """One chore more that every gateway does."""
        self._own.append((name, every_seconds, chore))

    async def start(self, turn: Turn = MINE) -> None:
        """Looks at disk and accounts once, then keeps doing all chores in the background."""
        self._turn = turn
        await self._attempt("disk space", self._look_at_disk)
        await self._attempt("accounts", self._make_accounts)
        own: list[Chore] = [
            ("disk space", SPACE_SECONDS, self._look_at_disk),
            ("accounts", ACCOUNTS_SECONDS, self._make_accounts),
            *self._own,
        ]
        once: list[Chore] = [
            ("pruning", PRUNE_SECONDS, self._prune),
            ("ledger check", CHECK_SECONDS, self._check),
            *self._more,
        ]
        chores = [*((one, MINE) for one in own), *((one, turn) for one in once)]
        self._tasks = [asyncio.create_task(self._repeat(*one, turn)) for one, turn in chores]

    def passed_on(self) -> None:
        """Another gateway does now what is done once: what was found here is not the last word."""
        self._last_check = None
        self._checked(0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(
        self, name: str, every_seconds: float, chore: Callable[[], Awaitable[None]], turn: Turn
    ) -> None:
        while True:
            await turn.ours()
            await self._attempt(name, chore)
            await asyncio.sleep(every_seconds)

    async def _attempt(self, name: str, chore: Callable[[], Awaitable[None]]) -> None:
        try:
            await chore()
        except Exception:
            log.exception("chore failed", chore=name)

    async def _look_at_disk(self) -> None:
        try:
            self._free_bytes = await self._room()
        except PictureProblem as problem:
            self._free_bytes = None  # nobody may think that there is room
            self._note_problem(str(problem))
        except OSError as error:
            self._free_bytes = None
            self._note_lack(f"the spool cannot be written: {error.strerror}")
        except BaseException:
            self._free_bytes = None
            raise
        else:
            self._note_lack("")
            self._note_problem(await self._pictures.problem())

    async def _room(self) -> int:
        """The least that is left on a disk that pictures pass."""
        room = await self._pictures.free_bytes()
        if self._spool is None or not self._current.policy.has_whole_upstreams:
            return room
        return min(room, await self._spool.free_bytes())

    def _note_lack(self, lack: str) -> None:
        """One line when it begins, and one when it ends."""
        former, self._lack = self._lack, lack
        if lack and lack != former:
            log.error("no new order is taken", reason=lack)
        elif former and not lack:
            log.info("the spool can be written again")

    def _note_problem(self, problem: str | None) -> None:
        """One line when the store goes, and one when it is back."""
        former, self._problem = self._problem, problem
        if problem is not None and problem != former:
            log.error("the picture store cannot be used: no new order is taken", reason=problem)
        elif problem is None and former is not None:
            log.info("the picture store is back")

    async def _prune(self) -> None:
        """A bounded number of rows at each turn; what is left over goes at the next ones."""
        await self._ledger.forget_replicas(before=self._clock() - FORGET_SECONDS)
        old = self._old()
        for _ in range(PRUNE_ROUNDS):
            if await self._ledger.prune(old, limit=PRUNE_ROWS) < PRUNE_ROWS:
                return

    def _old(self) -> Old:
        """A link that upstream forgot names its file for as long as the cache may answer."""
        now, policy = self._clock(), self._current.policy
        return Old(
            jobs_before=now - policy.jobs_retention_seconds,
            claims_before=now - policy.claims_retention_seconds,
            accounts_before=now - ACCOUNTS_KEPT_SECONDS,
            uploads_before=now - policy.cache_ttl_seconds,
            refusals_before=now - policy.refusals_retention_seconds,
            turns_before=now - TURNS_KEPT_SECONDS,
        )

    async def _make_accounts(self) -> None:
        """Those of a zone that is new in force. Whoever asks first would make them all the same.

        What a transaction loads is there from then on, which no read brings about.
        """
        policy = self._current.policy
        if policy.zone == self._zone:
            return
        for team in policy.teams:
            keys = policy.account_keys(team, self._clock())
            await self._ledger.transact(Keys(keys), lambda _: (None, Writes()))
        self._zone = policy.zone

    async def _check(self) -> None:
        violations = await self._ledger.violations()
        for violation in violations:
            log.error("ledger violation", violation=violation.sentence)
        if not self._turn.is_ours:
            return  # it took so long that another one has the last word by now
        self._checked(len(violations))
        self._last_check = len(violations), self._clock()
