"""The ledger's invariants over plain records: what `audit` says in SQL, said again in Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from gateway.core.codec import plain_amounts
from gateway.core.invariants import Invariant, Violation
from gateway.core.model import (
    NOTHING,
    Account,
    AccountKey,
    Delivery,
    Run,
    RunState,
    Usage,
    Window,
)
from gateway.ledger import audit
from gateway.ledger.memory_tables import Tables

PRUNED = frozenset({Window.MINUTE, Window.HOUR})


def violations(books: Tables, now: float) -> Sequence[Violation]:
    runs = books.runs.values()
    checks = (
        *((Invariant.ACCOUNTS, _accounts(books, window)) for window in Window),
        (Invariant.FINAL_HOLDS, _holds(runs)),
        (Invariant.IN_TIME, _late(runs, now)),
        (Invariant.USAGE, _usage(books)),
        (Invariant.ALL_KEPT, _unkept(runs)),
        (Invariant.PAID_ONCE, _shared_tasks(runs)),
        (Invariant.ONE_LIVE, _twins(runs)),
        (Invariant.JOBS, _orphans(books)),
        (Invariant.ON_RECORD, _missing_pictures(books)),
        (Invariant.OWED, _uncalled(books)),
        (Invariant.CALLED, _stuck(books.pending_deliveries(), now)),
    )
    return [
        Violation(invariant, sentence)
        for invariant, sentences in checks
        for sentence in sorted(sentences)
    ]


def _accounts(books: Tables, window: Window) -> Iterator[str]:
    sums = {key: Account(key) for key in books.accounts if key.window is window}
    for run in books.runs.values():
        key = AccountKey(run.team, window, run.windows.start(window))
        old = sums.get(key, Account(key))
        sums[key] = Account(key, old.spent + run.spent, old.held + run.hold)
    for key, runs in sums.items():
        account = books.accounts.get(key)
        if account is None and key.window in PRUNED and not runs.held:
            continue
        held = account.held if account else NOTHING
        spent = account.spent if account else NOTHING
        if (held, spent) != (runs.held, runs.spent):
            amounts = (held, spent, runs.held, runs.spent)
            plain = (value for one in amounts for value in plain_amounts(one))
            yield audit.say_account(key.team, key.window, key.start, *plain)


def _holds(runs: Collection[Run]) -> Iterator[str]:
    for run in runs:
        if run.is_final and run.hold:
            yield audit.say_final_holds(run.id, run.state, *plain_amounts(run.hold))


def _late(runs: Collection[Run], now: float) -> Iterator[str]:
    for run in runs:
        ends_at = _ends_at(run)
        if not run.is_final and ends_at < now - audit.GRACE_SECONDS:
            yield audit.say_late(run.id, run.state, ends_at)


def _ends_at(run: Run) -> float:
    since = None
    if run.state is RunState.RUNNING:
        since = run.accepted_at if run.accepted_at is not None else run.created_at
    elif run.state is RunState.KEEPING:
        finished = run.upstream_finished_at
        since = finished if finished is not None else run.created_at
    if since is None:
        return run.deadline_at
    return max(run.deadline_at, since + audit.LINKS_LIVE_SECONDS)


def _usage(books: Tables) -> Iterator[str]:
    counted: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for run in books.runs.values():
        counts = counted[run.team, run.model, run.windows.day]
        counts[0] += 1
        counts[1] += run.state is RunState.FAILED
        counts[2] += len(run.kept) if run.state is RunState.DONE else 0
        counts[3] += run.spent.usd_micros
    for key in sorted({*counted, *books.usage}):
        one = books.usage.get(key, Usage(*key))
        rolled = [one.started, one.failed, one.images_generated, one.spent_usd_micros]
        if rolled != counted[key]:
            yield audit.say_usage(*key, *rolled, *counted[key])


def _unkept(runs: Collection[Run]) -> Iterator[str]:
    for run in runs:
        if run.state is RunState.DONE and len(run.kept) < len(run.links):
            yield audit.say_unkept(run.id, len(run.kept), len(run.links))


def _missing_pictures(books: Tables) -> Iterator[str]:
    for run in books.runs.values():
        for picture in run.pictures if run.state is RunState.DONE else ():
            if picture.digest not in books.pictures:
                yield audit.say_missing_picture(run.id, picture.digest)


def _shared_tasks(runs: Collection[Run]) -> Iterator[str]:
    tasks = Counter(
        (run.upstream, run.upstream_task_id) for run in runs if run.upstream_task_id is not None
    )
    for (upstream, task_id), count in tasks.items():
        if count > 1:
            yield audit.say_shared_task(upstream, str(task_id), count)


def _twins(runs: Collection[Run]) -> Iterator[str]:
    live = Counter(run.fingerprint for run in runs if run.shared and not run.is_final)
    for fingerprint, count in live.items():
        if count > 1:
            yield audit.say_two_live(fingerprint, count)


def _orphans(books: Tables) -> Iterator[str]:
    for job in books.jobs.values():
        if job.run_id not in books.runs:
            yield audit.say_orphan(job.id, job.run_id)


def _uncalled(books: Tables) -> Iterator[str]:
    for job in books.jobs.values():
        run = books.runs[job.run_id]
        told = run.state is RunState.DONE or (run.is_final and run.accepted_at is not None)
        if job.callback_url is not None and told and not books.delivered.get(job.id):
            yield audit.say_uncalled(job.id, run.id, run.state)


def _stuck(pending: Sequence[Delivery], now: float) -> Iterator[str]:
    for one in pending:
        if one.due_at < now - audit.STUCK_SECONDS:
            yield audit.say_stuck(one.id, one.job_id, one.due_at)
