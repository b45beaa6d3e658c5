"""The ledger's invariants over plain records: what `audit` says in SQL, said again in Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from gateway.adapters.ledger import audit, sentences
from gateway.adapters.ledger.memory_tables import Tables
from gateway.core.codec import plain_amounts
from gateway.core.model import Delivery, Run, RunState, Usage
from gateway.core.money.accounts import NOTHING, Account, AccountKey, Window
from gateway.core.money.invariants import Invariant, Violation
from gateway.core.runs.answered import Reply, reply

PRUNED = frozenset({Window.MINUTE, Window.HOUR})


def violations(books: Tables, now: float) -> Sequence[Violation]:
    runs = books.runs.values()
    checks = (
        (Invariant.ACCOUNTS, _accounts(books)),
        *((Invariant.ACCOUNTS, _uncounted(books, window)) for window in Window),
        (Invariant.FINAL_HOLDS, _holds(runs)),
        (Invariant.IN_TIME, _late(runs, now)),
        (Invariant.IN_TIME, _asleep(runs, now)),
        (Invariant.USAGE, _usage(books)),
        (Invariant.USAGE, _bypasses(books)),
        (Invariant.ALL_KEPT, _unkept(runs)),
        (Invariant.PAID_ONCE, _shared_tasks(runs)),
        (Invariant.ONE_LIVE, _twins(runs)),
        (Invariant.JOBS, _orphans(books)),
        (Invariant.ON_RECORD, _missing_pictures(books)),
        (Invariant.SHOWN, _unshown(books)),
        (Invariant.STEPS, _gaps(books)),
        (Invariant.KEYS, _stray_keys(books, now)),
        (Invariant.OWED, _uncalled(books)),
        (Invariant.CALLED, _stuck(books.pending_deliveries(), now)),
    )
    return [
        Violation(invariant, sentence) for invariant, told in checks for sentence in sorted(told)
    ]


def _accounts(books: Tables) -> Iterator[str]:
    for key, account in books.accounts.items():
        runs = books.of_runs(key)
        if account != runs:
            yield _say_account(key.team, key.window, key.start, account, runs)


def _uncounted(books: Tables, window: Window) -> Iterator[str]:
    """Runs of whose time there is no account of this window."""
    missing: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in books.runs.values():
        counts = run.hold if window in PRUNED else run.hold or run.spent
        known = (key for key in books.accounts if key.window is window)
        if counts and not any(key.covers(run.team, run.created_at) for key in known):
            missing[run.team, run.windows.start(window)].append(run)
    for (team, start), runs in missing.items():
        key = AccountKey(team, window, start, start + 1)
        spent, held = (run.spent for run in runs), (run.hold for run in runs)
        sums = Account(key, sum(spent, NOTHING), sum(held, NOTHING))
        yield _say_account(team, window, start, Account(key), sums)


def _say_account(team: str, window: Window, start: int, account: Account, runs: Account) -> str:
    amounts = (account.held, account.spent, runs.held, runs.spent)
    plain = (value for one in amounts for value in plain_amounts(one))
    return sentences.say_account(team, window, start, *plain)


def _holds(runs: Collection[Run]) -> Iterator[str]:
    for run in runs:
        if run.is_final and run.hold:
            yield sentences.say_final_holds(run.id, run.state, *plain_amounts(run.hold))


def _late(runs: Collection[Run], now: float) -> Iterator[str]:
    for run in runs:
        ends_at = _ends_at(run)
        if not run.is_final and ends_at < now - audit.GRACE_SECONDS:
            yield sentences.say_late(run.id, run.state, ends_at)


def _asleep(runs: Collection[Run], now: float) -> Iterator[str]:
    """Those that nobody looks after by the time that they must end, or soon."""
    for run in runs:
        due_by = max(_ends_at(run), now) + audit.GRACE_SECONDS
        if not run.is_final and (
            run.due_at > due_by or run.lease_until > now + audit.GRACE_SECONDS
        ):
            yield sentences.say_asleep(run.id, run.state, run.due_at, run.lease_until)


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
            yield sentences.say_usage(*key, *rolled, *counted[key])


def _bypasses(books: Tables) -> Iterator[str]:
    counted: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
    for run in books.runs.values():
        if run.bypassed:
            counts = counted[run.team, run.model, run.windows.day]
            counts[0] += 1
            counts[1] += run.spent.usd_micros
    for key in sorted({*counted, *books.usage}):
        one = books.usage.get(key, Usage(*key))
        rolled = [one.bypassed, one.spent_bypassed_usd_micros]
        if rolled != counted[key]:
            yield sentences.say_bypasses(*key, *rolled, *counted[key])


def _unkept(runs: Collection[Run]) -> Iterator[str]:
    for run in runs:
        if run.state is RunState.DONE and len(run.kept) < len(run.links):
            yield sentences.say_unkept(run.id, len(run.kept), len(run.links))


def _missing_pictures(books: Tables) -> Iterator[str]:
    for run in books.runs.values():
        for picture in run.pictures if run.state is RunState.DONE else ():
            if f"{picture.digest}/{run.id}" not in books.pictures.kept:
                yield sentences.say_missing_picture(run.id, picture.digest)


def _shared_tasks(runs: Collection[Run]) -> Iterator[str]:
    tasks = Counter(
        (run.upstream, run.upstream_task_id) for run in runs if run.upstream_task_id is not None
    )
    for (upstream, task_id), count in tasks.items():
        if count > 1:
            yield sentences.say_shared_task(upstream, str(task_id), count)


def _twins(runs: Collection[Run]) -> Iterator[str]:
    live = Counter(run.fingerprint for run in runs if run.shared and not run.is_final)
    for fingerprint, count in live.items():
        if count > 1:
            yield sentences.say_two_live(fingerprint, count)


def _orphans(books: Tables) -> Iterator[str]:
    for job in books.jobs.values():
        if job.run_id not in books.runs:
            yield sentences.say_orphan(job.id, job.run_id)


def _unshown(books: Tables) -> Iterator[str]:
    for job in books.jobs.values():
        is_noted = job.verdict in books.verdicts.get(job.run_id, ())
        if not is_noted or (job.team, job.run_id) not in books.pictures.shown:
            yield sentences.say_unshown(job.id, job.verdict, job.run_id)


def _gaps(books: Tables) -> Iterator[str]:
    for run_id, steps in books.roster.steps.items():
        if [step.number for step in steps] != list(range(1, len(steps) + 1)):
            yield sentences.say_gap(run_id, steps[0].number, steps[-1].number, len(steps))


def _stray_keys(books: Tables, now: float) -> Iterator[str]:
    for key in books.roster.keys.values():
        team = books.roster.teams.get(key.team)
        if key.ends_at > now and (team is None or team.deleted_at is not None):
            yield sentences.say_stray_key(key.id, key.team)


def _uncalled(books: Tables) -> Iterator[str]:
    for job in books.jobs.values():
        run = books.runs[job.run_id]
        told = run.is_final and reply(run) is Reply.TASK
        if job.callback_url is not None and told and not books.delivered.get(job.id):
            yield sentences.say_uncalled(job.id, run.id, run.state)


def _stuck(pending: Sequence[Delivery], now: float) -> Iterator[str]:
    for one in pending:
        if one.due_at < now - audit.STUCK_SECONDS:
            yield sentences.say_stuck(one.id, one.job_id, one.due_at)
