"""Records ↔ rows: the one place that knows in which column a field lies.

Lists and small objects inside a run are JSON text; everything that is summed, searched or
constrained has a column of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from operator import attrgetter
from typing import Any, Final

from gateway.adapters.ledger.database import Row
from gateway.core import codec
from gateway.core.model import (
    Claim,
    Delivery,
    DeliveryState,
    Job,
    Run,
    RunState,
    Task,
    Trouble,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import Account, AccountKey, Amounts, Window, Windows

RUN_COLUMNS: Final = (
    "id", "fingerprint", "team", "model", "quality", "n", "request",
    "upstream", "upstream_model", "price_usd_micros",
    "minute_start", "hour_start", "day_start", "week_start", "month_start",
    "hold_usd_micros", "hold_images", "hold_runs",
    "spent_usd_micros", "spent_images", "spent_runs",
    "created_at", "deadline_at", "due_at", "state", "shared", "superseded",
    "bypassed", "joins", "attempts", "tries", "tried",
    "upstream_task_id", "accepted_at", "told_at", "upstream_finished_at", "finished_at",
    "task", "links", "kept", "credits_used", "failure", "lease_owner", "lease_until", "trouble",
    "besides_usd_micros", "billed_usd_micros",
)  # fmt: skip

RUN_COUNTS: Final = {"links": "link_count", "kept": "kept_count"}
"""Written beside the run for the audit and never read back: the lengths of two of its lists."""

JOB_COLUMNS: Final = (
    "id", "run_id", "team", "verdict", "created_at", "callback_url", "labels",
)  # fmt: skip

CLAIM_COLUMNS: Final = ("team", "key", "digest", "job_id", "created_at")

DELIVERY_COLUMNS: Final = (
    "id", "job_id", "team", "url", "created_at", "due_at", "state", "attempts", "status",
    "error", "ended_at", "lease_owner", "lease_until", "body",
)  # fmt: skip

UPLOAD_COLUMNS: Final = (
    "team", "id", "upstream", "digest", "name", "size_bytes", "urls", "created_at", "expires_at",
)  # fmt: skip

URL_COLUMNS: Final = ("team", "url", "upload_id")

ACCOUNT_COLUMNS: Final = (
    "team", "window_name", "window_start", "window_end",
    "spent_usd_micros", "spent_images", "spent_runs",
    "held_usd_micros", "held_images", "held_runs",
)  # fmt: skip

USAGE_COUNTERS: Final = (
    "hits", "joined", "started", "failed", "images_generated", "images_cache",
    "spent_usd_micros", "saved_hit_usd_micros", "saved_joined_usd_micros",
    "bypassed", "spent_bypassed_usd_micros", "done", "spent_failed_usd_micros",
)  # fmt: skip

USAGE_COLUMNS: Final = ("team", "model", "day", *USAGE_COUNTERS)

TOTAL_COLUMNS: Final = ("team", "model", *USAGE_COUNTERS)


def run_row(run: Run) -> tuple[object, ...]:
    """The run's values in the order of `RUN_COLUMNS` and `RUN_COUNTS`."""
    values = zip(RUN_COLUMNS, _values(run), strict=True)
    counts = [len(getattr(run, name)) for name in RUN_COUNTS]
    return (*[_written(name, value) for name, value in values], *counts)


def run_changes(before: Run, after: Run) -> tuple[tuple[str, ...], Row]:
    """Which columns of a run's row differ from what it was before, and for `change_run` their
    values and its id; nothing where none differs. With a list goes its count.

    The fields are compared and not the rows, so that only what differs is written out as JSON.
    """
    triples = zip(RUN_COLUMNS, _values(before), _values(after), strict=True)
    changed = {name: new for name, old, new in triples if old is not new and old != new}
    if not changed:
        return (), ()
    counts = {column: len(changed[name]) for name, column in RUN_COUNTS.items() if name in changed}
    values = [_written(name, value) for name, value in changed.items()]
    return (*changed, *counts), (*values, *counts.values(), before.id)


def _written(name: str, value: Any) -> object:
    """A value of a run as its column has it."""
    writer = _WRITERS.get(name)
    return value if writer is None or value is None else writer(value)


def _json(value: Sequence[object] | Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":")) if value else "[]"


_WRITERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "state": attrgetter("value"),
    **dict.fromkeys(("shared", "superseded", "bypassed"), int),
    **dict.fromkeys(("joins", "tried", "links"), _json),
    "kept": lambda kept: _json(codec.plain_kept(kept)),
    "failure": lambda failure: _json(codec.plain_failure(failure)),
    "trouble": lambda trouble: _json(asdict(trouble)),
}
"""What writes the values that no column can have as they are; all others, and None, stay."""
_INSIDE: Final = {
    **{f"{name}_start": f"windows.{name}" for name in ("minute", "hour", "day", "week", "month")},
    **{
        f"{amounts}_{name}": f"{amounts}.{name}"
        for amounts in ("hold", "spent")
        for name in ("usd_micros", "images", "runs")
    },
}
"""The columns whose field lies in a record inside the run."""
_values: Final = attrgetter(*[_INSIDE.get(name, name) for name in RUN_COLUMNS])


def run_from(row: Row) -> Run:
    """The run in a row that was selected in the order of `RUN_COLUMNS`."""
    (
        run_id, fingerprint, team, model, quality, n, request,
        upstream, upstream_model, price_usd_micros,
        minute, hour, day, week, month,
        hold_usd_micros, hold_images, hold_runs,
        spent_usd_micros, spent_images, spent_runs,
        created_at, deadline_at, due_at, state, shared, superseded,
        bypassed, joins, attempts, tries, tried,
        upstream_task_id, accepted_at, told_at, upstream_finished_at, finished_at,
        task, links, kept, credits_used, failure, lease_owner, lease_until, trouble,
        besides_usd_micros, billed_usd_micros,
    ) = row  # fmt: skip
    return Run(
        id=run_id, fingerprint=fingerprint, team=team, model=model, quality=quality, n=n,
        request=request, upstream=upstream, upstream_model=upstream_model,
        price_usd_micros=price_usd_micros,
        windows=Windows(minute, hour, day, week, month),
        hold=Amounts(hold_usd_micros, hold_images, hold_runs),
        spent=Amounts(spent_usd_micros, spent_images, spent_runs),
        created_at=created_at, deadline_at=deadline_at, due_at=due_at,
        state=RunState(state), shared=bool(shared),
        superseded=bool(superseded), bypassed=bool(bypassed), attempts=attempts, tries=tries,
        tried=() if tried == "[]" else tuple(json.loads(tried)),
        joins=() if joins == "[]" else codec.read_joins(json.loads(joins)),
        upstream_task_id=upstream_task_id, accepted_at=accepted_at, told_at=told_at,
        upstream_finished_at=upstream_finished_at, finished_at=finished_at,
        task=task, links=() if links == "[]" else tuple(json.loads(links)),
        kept=() if kept == "[]" else codec.read_kept(json.loads(kept)),
        credits_used=credits_used,
        besides_usd_micros=besides_usd_micros, billed_usd_micros=billed_usd_micros,
        failure=None if failure is None else codec.read_failure(json.loads(failure)),
        lease_owner=lease_owner, lease_until=lease_until,
        trouble=None if trouble is None else Trouble(**json.loads(trouble)),
    )  # fmt: skip


def job_row(job: Job) -> tuple[object, ...]:
    """The values of `JOB_COLUMNS`, and the run that its state and its model come from; without
    one it has neither, which its table refuses."""
    return (
        job.id, job.run_id, job.team, job.verdict.value, job.created_at, job.callback_url,
        job.labels, job.run_id, job.run_id,
    )  # fmt: skip


def job_from(row: Row) -> Job:
    job_id, run_id, team, verdict, created_at, callback_url, labels = row
    return Job(job_id, run_id, team, Verdict(verdict), created_at, callback_url, labels)


def task_from(row: Row) -> Task:
    """A row of `JOB_COLUMNS` and `RUN_COLUMNS`, one after the other."""
    width = len(JOB_COLUMNS)
    return Task(job_from(row[:width]), run_from(row[width:]))


def claim_row(claim: Claim) -> tuple[object, ...]:
    return (claim.team, claim.key, claim.digest, claim.job_id, claim.created_at)


def delivery_row(one: Delivery) -> tuple[object, ...]:
    return (
        one.id, one.job_id, one.team, one.url, one.created_at, one.due_at, one.state.value,
        one.attempts, one.status, one.error, one.ended_at, one.lease_owner, one.lease_until,
        one.body,
    )  # fmt: skip


def delivery_from(row: Row) -> Delivery:
    state = DeliveryState(row[DELIVERY_COLUMNS.index("state")])
    return replace(Delivery(*row), state=state)


def upload_row(upload: Upload) -> tuple[object, ...]:
    return (
        upload.team, upload.id, upload.upstream, upload.digest, upload.name, upload.size_bytes,
        _json(upload.urls), upload.created_at, upload.expires_at,
    )  # fmt: skip


def upload_from(row: Row) -> Upload:
    team, upload_id, upstream, digest, name, size_bytes, urls, created_at, expires_at = row
    return Upload(
        upload_id, team, upstream, digest, name, size_bytes, tuple(json.loads(urls)),
        created_at, expires_at,
    )  # fmt: skip


def key_row(key: AccountKey) -> tuple[object, ...]:
    return (key.team, key.window.value, key.start, key.end)


def account_row(account: Account) -> tuple[object, ...]:
    spent, held = account.spent, account.held
    return (
        *key_row(account.key),
        spent.usd_micros, spent.images, spent.runs, held.usd_micros, held.images, held.runs,
    )  # fmt: skip


def accounts_from(rows: Sequence[Row]) -> Mapping[AccountKey, Account]:
    found = {}
    for row in rows:
        team, window, start, end = row[:4]
        key = AccountKey(team, Window(window), start, end)
        found[key] = amounts_of(key, row)
    return found


def amounts_of(key: AccountKey, row: Row) -> Account:
    """The account of this key from its row."""
    return Account(key, Amounts(*row[4:7]), Amounts(*row[7:]))


def usage_row(usage: Usage) -> tuple[object, ...]:
    return tuple(getattr(usage, name) for name in USAGE_COLUMNS)


def total_row(usage: Usage) -> tuple[object, ...]:
    return tuple(getattr(usage, name) for name in TOTAL_COLUMNS)


def usage_from(row: Row) -> Usage:
    """A row of team, model and sums of the counters; `int` because PostgreSQL sums to decimals."""
    team, model, *counters = row
    return Usage(team, model, 0, *(int(counter) for counter in counters))


def summed_from(row: Row) -> Usage:
    """A row of team, model, day and sums of the counters."""
    team, model, day, *counters = row
    return replace(usage_from((team, model, *counters)), day=int(day))


def usage_of_day(row: Row) -> Usage:
    """A row of `USAGE_COLUMNS`: nothing in it was summed, and there may be very many."""
    return Usage(*row)
