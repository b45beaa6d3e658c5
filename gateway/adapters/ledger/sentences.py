"""What is said of a ledger that does not add up: one sentence for each kind of violation.

Each takes the numbers of one place and says where it is.
"""

from __future__ import annotations

from gateway.adapters.ledger.rows import USAGE_COUNTERS
from gateway.core.money.usd import exact_usd


def say_account(team: str, window: str, start: int, *amounts: int) -> str:
    """`amounts`: the account's held and spent, then its runs' held and spent, three each."""
    held, spent, runs_held, runs_spent = (_amounts(*amounts[at : at + 3]) for at in (0, 3, 6, 9))
    return (
        f"The {window} account of team {team} from {start} has {held} held and {spent} spent,"
        f" but its runs have {runs_held} held and {runs_spent} spent."
    )


def say_final_holds(run_id: str, state: str, *hold: int) -> str:
    return f"Run {run_id} is {state} and still holds {_amounts(*hold)}."


def say_asleep(run_id: str, state: str, due_at: float, lease_until: float) -> str:
    return (
        f"Run {run_id} is {state}, and nobody looks after it: it is due at {due_at:.0f}, and is"
        f" taken until {lease_until:.0f}."
    )


def say_late(run_id: str, state: str, overdue_at: float) -> str:
    return f"Run {run_id} is still {state}, though it had to end by {overdue_at:.0f}."


def say_usage(team: str, model: str, day: int, *counters: int) -> str:
    """`counters`: started, failed, pictures and micro-dollars of the roll-up, then of the runs."""
    rolled, counted = (_counters(*counters[at : at + 4]) for at in (0, 4))
    return (
        f"The usage of team {team} and model {model} on day {day} says {rolled},"
        f" but the runs say {counted}."
    )


def say_bypasses(team: str, model: str, day: int, *counters: int) -> str:
    """`counters`: bypasses and their micro-dollars of the roll-up, then of the runs."""
    rolled, spent, runs, runs_spent = counters
    return (
        f"The usage of team {team} and model {model} on day {day} says {rolled} bypasses for"
        f" {spent} micro-dollars, but the runs say {runs} for {runs_spent}."
    )


def say_ends(team: str, model: str, day: int, *counters: int) -> str:
    """`counters`: orders done and what failed ones cost, of the roll-up, then of the runs."""
    rolled, lost, runs, runs_lost = counters
    return (
        f"The usage of team {team} and model {model} on day {day} says {rolled} orders done and"
        f" {lost} micro-dollars spent on failed ones, but the runs say {runs} and {runs_lost}."
    )


def say_unkept(run_id: str, kept: int, links: int) -> str:
    return f"Run {run_id} is done with {kept} kept pictures for {links} result links."


def say_shared_task(upstream: str, task_id: str, count: int) -> str:
    return f"{count} runs of upstream {upstream} share the task {task_id}."


def say_two_live(fingerprint: str, count: int) -> str:
    return f"{count} live shared runs have the fingerprint {fingerprint}."


def say_orphan(job_id: str, run_id: str) -> str:
    return f"Job {job_id} points to run {run_id}, which is not there."


def say_uncalled(job_id: str, run_id: str, state: str) -> str:
    return f"Job {job_id} wants a callback for run {run_id}, which is {state}, and none is owed."


def say_stuck(delivery_id: str, job_id: str | None, due_at: float) -> str:
    name = f"alert {delivery_id}" if job_id is None else f"callback {delivery_id} of job {job_id}"
    return f"The {name} is still pending; it was due {due_at:.0f}."


def say_unshown(job_id: str, verdict: str, run_id: str) -> str:
    return f"Job {job_id} ({verdict}) of run {run_id} is not in its gallery or not noted there."


def say_gap(run_id: str, first: int, last: int, count: int) -> str:
    return f"Run {run_id} has {count} steps, numbered from {first} to {last}."


def say_stray_key(key_id: str, team: str) -> str:
    return f"The key {key_id} is open, but its team {team} is not there or deleted."


def say_missing_picture(run_id: str, digest: str) -> str:
    return f"Run {run_id} is done with picture {digest}, which is not among the pictures."


def _amounts(usd_micros: int, images: int, runs: int) -> str:
    return f"{exact_usd(usd_micros)} USD, {images} pictures, {runs} runs"


def _counters(started: int, failed: int, images: int, usd_micros: int) -> str:
    return (
        f"{started} started, {failed} failed, {images} pictures, {exact_usd(usd_micros)} USD spent"
    )


def say_total(team: str, model: str, *counters: int) -> str:
    """`counters`: all of the total's, then of the days' sums."""
    half = len(counters) // 2
    pairs = zip(USAGE_COUNTERS, counters[:half], counters[half:], strict=True)
    wrong = ", ".join(f"{name} {total} for {days}" for name, total, days in pairs if total != days)
    return f"The usage totals of team {team} and model {model} are not those of its days: {wrong}."


def say_mislisted(job_id: str, listed: str, run_id: str, actual: str) -> str:
    return f"Job {job_id} is listed as {listed}, but its run {run_id} is {actual}."


def say_wrong_count(run_id: str, kept: int, links: int) -> str:
    return f"Run {run_id} does not count its own lists right: {kept} kept, {links} links."


def say_dangling(table: str, row: int | str, parent: str, _: int) -> str:
    return f"Row {row} of {table} points to a row of {parent} that is not there."


def say_file(report: str) -> str:
    return "" if report == "ok" else f"The ledger's file is damaged: {report}."
