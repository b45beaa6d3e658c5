"""What `Writes` mean as statements, in the order in which they must be done.

Nothing is read in between, so that a store over a network gets all of it at once: what a row is
worth that depends on others is said inside its own statement. Usage comes last and sorted, and so
do verdicts, since decisions that share no lock may write the same rows of them. What has to be
read and rewritten (erased pictures, words taken back) is `picture_store`'s, after these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from gateway.adapters.ledger import (
    account_store,
    history_store,
    picture_store,
    replica_store,
    rows,
    statements,
    team_store,
)
from gateway.adapters.ledger.database import Database, Row
from gateway.adapters.ledger.plain_rows import row_of
from gateway.core.model import Run, RunState, Upload, Usage
from gateway.core.money.accounts import Account, AccountKey
from gateway.core.replicas import Epoch
from gateway.core.runs.showing import shown_state
from gateway.core.transaction import ConstraintViolation, Writes


@dataclass(frozen=True, slots=True)
class Bulk:
    """One statement, done for each of the rows.

    `or_else` says what is wrong where a row changes nothing. `follows`: it has nothing to do where
    the change before it found nothing to do, and may be left out then.
    """

    sql: str
    rows: Sequence[Row]
    or_else: str = ""
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Before:
    """What is there already: runs by id, accounts by key."""

    runs: Mapping[str, Run]
    accounts: Mapping[AccountKey, Account]

    def unread(self, runs: Sequence[Run]) -> list[str]:
        """Of which it must be known whether they were done before, and is not."""
        return [run.id for run in runs if run.state is RunState.DONE and run.id not in self.runs]

    def joined_by(self, read: Iterable[Run]) -> Before:
        return Before({**self.runs, **{run.id: run for run in read}}, self.accounts)

    def changed(self, runs: Sequence[Run]) -> list[Run]:
        """Those that differ. What others can join goes last: the fingerprint may be given up by
        one for another."""
        found = [run for run in runs if run != self.runs.get(run.id)]
        return sorted(found, key=lambda run: run.shared and not run.is_final)


def apply_all(db: Database, changes: Iterator[Bulk]) -> None:
    """One after the other, on a store that is near."""
    count = 1
    for change in changes:
        if change.follows and not count:
            continue
        if len(change.rows) == 1:
            count = db.execute(change.sql, change.rows[0]).rowcount
        else:
            count = db.executemany(change.sql, change.rows).rowcount
        check(change, count)


def check(change: Bulk, count: int) -> None:
    if change.or_else and count != len(change.rows):
        raise ConstraintViolation(change.or_else)


def planned(writes: Writes, known: Before) -> Iterator[Bulk]:
    """The statements for all but `pictures` and `wordless`."""
    if writes.runs:
        yield from _runs(known.changed(writes.runs), known)
    if writes.jobs:
        yield Bulk(statements.ADD_JOB, [rows.job_row(job) for job in writes.jobs])
    if writes.freed:
        freed = [(claim.team, claim.key, claim.job_id) for claim in writes.freed]
        yield Bulk(statements.FREE_CLAIM, freed)
    if writes.claims:
        yield Bulk(statements.ADD_CLAIM, [rows.claim_row(claim) for claim in writes.claims])
    if writes.deliveries:
        yield Bulk(statements.PUT_DELIVERY, [rows.delivery_row(d) for d in writes.deliveries])
    if writes.alerts:
        yield Bulk(statements.ADD_ALERT, [rows.delivery_row(one) for one in writes.alerts])
    yield from _operated(writes)
    for upload in writes.uploads:
        yield from _upload(upload)
    changed = {a.key: a for a in writes.accounts if known.accounts.get(a.key) != a}
    if changed:
        yield from account_changes(list(changed.values()))
    for numbered, steps in groupby(writes.steps, key=lambda step: step.number != 0):
        yield Bulk(*history_store.adding(list(steps), numbered=numbered))
    if writes.jobs:
        first = picture_store.first_of_each(writes.jobs)
        shown = sorted(first, key=lambda job: (job.team, job.run_id))
        yield Bulk(picture_store.SHOW, [picture_store.shown_row(job) for job in shown])
        noted = sorted({picture_store.verdict_row(job) for job in first})
        yield Bulk(picture_store.NOTE_VERDICT, noted, follows=True)
    if writes.usage:
        yield from _usage(writes.usage)


def raises(raised: Iterable[Epoch]) -> Iterator[Bulk]:
    """Last in their transaction: whoever raises one too waits for its end."""
    for epoch in sorted(raised):
        yield Bulk(replica_store.RAISE[epoch], [()])


def account_changes(accounts: Sequence[Account]) -> Iterator[Bulk]:
    for part in account_store.in_parts(accounts):
        values = [value for account in part for value in rows.account_row(account)]
        yield Bulk(statements.put_accounts(len(part)), [values])


def _runs(changed: Sequence[Run], known: Before) -> Iterator[Bulk]:
    """Pictures are kept when their run becomes done; a later change keeps none anew."""
    if not changed:
        return
    yield from _put_runs(changed, known)
    before = {run.id: known.runs.get(run.id) for run in changed}
    moved = [
        run
        for run in changed
        if (b := before[run.id]) is None or shown_state(b) is not shown_state(run)
    ]
    if moved:
        yield Bulk(statements.TELL_JOBS, [(shown_state(run).value, run.id) for run in moved])
    kept = [
        row for run in moved if run.state is RunState.DONE for row in picture_store.kept_rows(run)
    ]
    if kept:
        yield Bulk(picture_store.PUT_PICTURE, kept)


def _put_runs(changed: Sequence[Run], known: Before) -> Iterator[Bulk]:
    """Of a run that was read only what differs: each column that is named has its indexes written
    anew. In SQLite an event takes 34 µs so, and 54 with all of them.

    What others can join stays behind the rest.
    """
    bulks: dict[tuple[bool, str], list[Row]] = {}
    for run in changed:
        row: Row
        if before := known.runs.get(run.id):
            columns, row = rows.run_changes(before, run)
            sql = statements.change_run(columns)
        else:
            sql, row = statements.PUT_RUN, rows.run_row(run)
        if row:
            bulks.setdefault((run.shared and not run.is_final, sql), []).append(row)
    for (_, sql), some in bulks.items():
        yield Bulk(sql, some, "a run that was read is not there")


def _operated(writes: Writes) -> Iterator[Bulk]:
    """What operators change, and what was refused."""
    if writes.teams:
        yield Bulk(team_store.PUT_TEAM, [row_of(team) for team in writes.teams])
    if writes.team_keys:
        keys = [row_of(key) for key in writes.team_keys]
        yield Bulk(team_store.PUT_KEY, keys, "a key is there already, and is another one")
    if writes.changes:
        yield Bulk(team_store.ADD_CHANGE, [row_of(change) for change in writes.changes])
    if writes.refusals:
        yield Bulk(history_store.ADD_REFUSAL, [row_of(one) for one in writes.refusals])


def _upload(upload: Upload) -> Iterator[Bulk]:
    yield Bulk(statements.PUT_UPLOAD, [rows.upload_row(upload)])
    yield Bulk(statements.DROP_URLS, [(upload.team, upload.id)])
    urls: list[Row] = [(upload.team, url, upload.id) for url in upload.urls]
    if urls:
        yield Bulk(statements.PUT_URL, urls)


def _usage(increments: Sequence[Usage]) -> Iterator[Bulk]:
    """Some may become less, which no row to insert can say."""
    ordered = sorted(increments, key=lambda one: (one.day, one.team, one.model))
    more = [_more(one) for one in ordered]
    yield Bulk(statements.ADD_USAGE, [rows.usage_row(one) for one in more])
    yield Bulk(statements.ADD_TOTAL, [rows.total_row(one) for one in sorted(more, key=_total)])
    fewer = [one for one in ordered if any(_less(one))]
    if fewer:
        less: list[tuple[Any, ...]] = [(*_less(one), one.team, one.model) for one in fewer]
        by_day = [(*row, one.day) for row, one in zip(less, fewer, strict=True)]
        yield Bulk(statements.LESS, by_day)
        yield Bulk(statements.LESS_IN_ALL, less)


def _less(usage: Usage) -> tuple[int, ...]:
    return tuple(min(0, getattr(usage, name)) for name in statements.MAY_BE_LESS)


def _more(usage: Usage) -> Usage:
    if not any(_less(usage)):
        return usage
    kept = {name: max(0, getattr(usage, name)) for name in statements.MAY_BE_LESS}
    return replace(usage, **kept)


def _total(usage: Usage) -> tuple[str, str]:
    return usage.team, usage.model
