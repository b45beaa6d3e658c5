"""Records and decisions for the ledger's tests; money is booked as the core books it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from gateway.core.model import (
    Claim,
    Delivery,
    DeliveryState,
    Failure,
    FailureKind,
    Job,
    Kept,
    Picture,
    Run,
    RunState,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import (
    FOREVER,
    NOTHING,
    Account,
    AccountKey,
    Amounts,
    Window,
    Windows,
)
from gateway.core.money.booking import book
from gateway.core.runs.history import Refusal, Step, begun
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import Keys, View, Writes
from gateway.ports.ledger import Ledger, Mark, Old

NOW = 1_760_000_000.0
PRICE = 13_000

T = TypeVar("T")

_numbers = count(1)


def windows(now: float = NOW) -> Windows:
    at = int(now)
    return Windows(
        at - at % 60, at - at % 3600, at - at % 86_400, at - at % 604_800, at - at % 2_592_000
    )


LENGTHS = dict(
    zip(Window, (60, 3600, 86_400, 604_800, 2_592_000, FOREVER), strict=True)
)  # of the windows above


def key_of(team: str, window: Window, start: int) -> AccountKey:
    return AccountKey(team, window, start, start + LENGTHS[window])


def keys_of(run: Run) -> tuple[AccountKey, ...]:
    """The accounts of the windows that the run was ordered in."""
    return tuple(key_of(run.team, window, run.windows.start(window)) for window in Window)


def counted(run: Run) -> tuple[str, float]:
    return run.team, run.created_at


def a_run(**fields: Any) -> Run:
    number = next(_numbers)
    n = fields.get("n", 1)
    now = fields.get("created_at", NOW)
    base = Run(
        id=f"run-{number:06}",
        fingerprint=f"fingerprint-{number}",
        team="alpha",
        model="gpt-image-1.5",
        quality="low",
        n=n,
        request='{"prompt":"a ? and a \'quote\' and ünïcode"}',
        upstream="evolink",
        upstream_model="gpt-image-1.5-beta",
        price_usd_micros=PRICE,
        windows=windows(now),
        hold=Amounts(PRICE * n, n, 1),
        created_at=now,
        deadline_at=now + 900.0,
        due_at=now,
    )
    return replace(base, **fields)


def a_picture(digest: str = "d1", size_bytes: int = 1000) -> Picture:
    return Picture(digest=digest, extension="png", size_bytes=size_bytes, width=64, height=32)


def a_job(run: Run, verdict: Verdict = Verdict.STARTED, **fields: Any) -> Job:
    number = next(_numbers)
    base = Job(f"task-{number:06}", run.id, run.team, verdict, run.created_at)
    return replace(base, **fields)


def a_claim(team: str = "alpha", key: str = "key") -> Claim:
    return Claim(team, key, digest="d" * 64, job_id="task-of-claim", created_at=NOW)


def a_delivery(job: Job, **fields: Any) -> Delivery:
    base = Delivery(
        id=f"callback-{job.id}",
        job_id=job.id,
        team=job.team,
        url=job.callback_url or "https://client.test/hook?a=ü",
        created_at=NOW,
        due_at=NOW,
    )
    return replace(base, **fields)


def ended(delivery: Delivery, state: DeliveryState = DeliveryState.DELIVERED) -> Delivery:
    return replace(delivery, state=state, ended_at=NOW + 1, attempts=delivery.attempts + 1)


def an_upload(**fields: Any) -> Upload:
    number = next(_numbers)
    base = Upload(
        id=f"file-{number:06}",
        team="alpha",
        upstream="evolink",
        digest="d" * 64,
        name="cat.png",
        size_bytes=1234,
        urls=(f"https://files.test/{number}.png",),
        created_at=NOW,
        expires_at=NOW + 3 * 86_400.0,
    )
    return replace(base, **fields)


def an_alert(**fields: Any) -> Delivery:
    base = Delivery(
        id=f"alert-{next(_numbers):06}",
        job_id=None,
        team="alpha",
        url="https://ops.test/hook",
        created_at=NOW,
        due_at=NOW,
        body='{"said":"80 %"}',
    )
    return replace(base, **fields)


def a_team(name: str = "alpha", **fields: Any) -> ManagedTeam:
    return replace(ManagedTeam(name, '{"budgets":[]}', NOW, NOW), **fields)


def a_key(team: str = "alpha", **fields: Any) -> TeamKey:
    number = next(_numbers)
    base = TeamKey(f"key-{number:06}", team, f"{number:064x}", "for the printer", NOW)
    return replace(base, **fields)


def a_change(**fields: Any) -> Change:
    base = Change(f"change-{next(_numbers):06}", NOW, "0123456789ab", "team.change", "alpha")
    return replace(base, **fields)


def a_step(run: Run, **fields: Any) -> Step:
    base = Step(run.id, 0, NOW, "Accepted", "submitting", "running", run.route)
    return replace(base, **fields)


def now_is(run: Run) -> Step:
    """The step that says how the run is by now."""
    return Step(run.id, 0, NOW, "Progressed", "running", str(run.state), run.route)


def a_refusal(**fields: Any) -> Refusal:
    base = Refusal(
        id=f"request-{next(_numbers):06}",
        at=NOW,
        team="alpha",
        model="gpt-image-1.5",
        verdict="denied",
        mode="enforce",
        reason="usd",
        rule="usd_per_day",
        message="The budget is used up.",
    )
    return replace(base, **fields)


def done(run: Run, *pictures: Picture, at: float = NOW + 30.0) -> Run:
    kept = tuple(Kept(f"https://files.test/{one.digest}", one) for one in pictures)
    paid = min(len(kept), run.n)
    return replace(
        run,
        state=RunState.DONE,
        hold=NOTHING,
        spent=Amounts(run.price_usd_micros * paid, paid, 1),
        links=tuple(one.link for one in kept),
        kept=kept,
        finished_at=at,
        lease_owner=None,
        lease_until=0.0,
    )


def failed(run: Run, *, spent: Amounts = NOTHING, at: float = NOW + 30.0) -> Run:
    failure = run.failure or Failure(_why(run, spent), "code", "message")
    return replace(
        run, state=RunState.FAILED, failure=failure, hold=NOTHING, spent=spent, finished_at=at
    )


def _why(run: Run, spent: Amounts) -> FailureKind:
    """What a run that spent so much failed of."""
    if not spent:
        return FailureKind.UNAVAILABLE
    return FailureKind.TIMED_OUT if spent == run.hold else FailureKind.TASK_FAILED


async def start(ledger: Ledger, run: Run, *jobs: Job, told: bool = True) -> Run:
    """Books a new run, with its first step when `told`, and with a job unless others are given."""

    def decide(view: View) -> tuple[Run, Writes]:
        writes = replace(book(None, run, view.accounts), steps=(begun(run),) if told else ())
        return run, replace(writes, jobs=jobs or (a_job(run),))

    return await ledger.transact(Keys(accounts=keys_of(run), counted=counted(run)), decide)


async def change(ledger: Ledger, after: Run) -> Run:
    """Books the run as it is from now on."""

    def decide(view: View) -> tuple[Run, Writes]:
        assert view.run is not None
        writes = book(view.run, after, view.accounts)
        is_news = after.state is not view.run.state
        return after, replace(writes, steps=(now_is(after),) if is_news else ())

    keys = Keys(accounts=keys_of(after), counted=counted(after), run_id=after.id)
    return await ledger.transact(keys, decide)


async def write(ledger: Ledger, **writes: Any) -> None:
    """Writes records as they are, without booking."""
    await ledger.transact(Keys(), lambda _: (None, Writes(**writes)))


async def look(ledger: Ledger, **keys: Any) -> View:
    return await ledger.transact(Keys(**keys), lambda view: (view, Writes()))


async def run_of(ledger: Ledger, run_id: str) -> Run | None:
    return (await look(ledger, run_id=run_id)).run


def zeros(run: Run) -> dict[Any, Account]:
    return {key: Account(key) for key in keys_of(run)}


def hit_usage(job: Job, run: Run) -> Usage:
    """What is counted for a hit."""
    saved, day = run.spent.usd_micros, windows(job.created_at).day
    counted = {"hits": 1, "images_cache": len(run.kept), "saved_hit_usd_micros": saved}
    return usage(job.team, run.model, day, **counted)


def issued(key: TeamKey) -> Change:
    """The record of its issue."""
    return a_change(action="key.issue", subject=f"{key.team}/{key.id}")


def usage(team: str = "alpha", model: str = "m", day: int = 0, **counters: int) -> Usage:
    return Usage(team, model, day, **counters)


def older(**before: float) -> Old:
    """What is older than the times that are named: jobs, claims, accounts, and so on."""
    kinds = ("jobs", "claims", "accounts", "uploads", "refusals", "turns")
    return Old(*(before.get(kind, 0.0) for kind in kinds))


async def pages(fetch: Callable[..., Awaitable[Sequence[T]]], mark: Callable[[T], Mark]) -> list[T]:
    """The whole list, fetched two at a time by the marks of the rows."""
    found: list[T] = []
    after: Mark | None = None
    while page := await fetch(after=after, limit=2):
        assert len(page) <= 2
        found += page
        after = mark(page[-1])
    return found
