"""The writes of several decisions as the writes of one: pure.

Merged, they come to what they come to one after the other, or they are not merged. The last version
of a run or an account counts, usage is summed, and everything else is written as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from operator import add, attrgetter
from typing import Final

from gateway.core.codec import plain_amounts
from gateway.core.model import Run, RunState, Usage
from gateway.core.money.accounts import Account
from gateway.core.transaction import Writes

_counters: Final = attrgetter(*[field.name for field in fields(Usage)][3:])
"""`astuple` copies each of them deeply, which is half of the work on a batch of cached answers."""

AS_THEY_CAME: Final = (
    "jobs", "claims", "freed", "deliveries", "uploads", "alerts", "teams", "team_keys", "changes",
    "steps", "refusals",
)  # fmt: skip


class Merged:
    """Begins empty; `accounts` are written in any case."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._runs: dict[str, Run] = {}
        self._accounts = {account.key: account for account in accounts}
        self._usage: dict[tuple[str, str, int], Usage] = {}
        self._parts: list[Writes] = []
        self._written: set[str] = set()
        self._named: set[str] = set()
        self.is_alone = False

    def take(self, writes: Writes) -> bool:
        """Adds them; False: they do not merge with what is there, and nothing was added."""
        written, named = set(_written(writes)), set(_named(writes))
        alone = _is_alone(writes)
        if self._parts and (alone or self.is_alone or not self._goes_with(writes, written, named)):
            return False
        self.is_alone = alone
        self._written |= written
        self._named |= named
        self._runs |= {run.id: run for run in writes.runs}
        self._accounts |= {account.key: account for account in writes.accounts}
        for one in writes.usage if not alone else ():
            key = (one.team, one.model, one.day)
            known = self._usage.get(key)
            self._usage[key] = one if known is None else _sum(known, one)
        self._parts.append(writes)
        return True

    def writes(self) -> Writes:
        accounts = tuple(self._accounts.values())
        if self.is_alone:
            [only] = self._parts
            given = {account.key for account in only.accounts}
            made = tuple(one for one in accounts if one.key not in given)
            return replace(only, accounts=(*made, *only.accounts))
        came = {
            name: tuple(one for part in self._parts for one in getattr(part, name))
            for name in AS_THEY_CAME
        }
        return Writes(
            runs=tuple(self._runs.values()),
            accounts=accounts,
            usage=tuple(self._usage.values()),
            raised=frozenset(epoch for part in self._parts for epoch in part.raised),
            **came,
        )

    def _goes_with(self, writes: Writes, written: set[str], named: set[str]) -> bool:
        """Nothing is written twice that only a former version would refuse, and nothing that a
        former one had to find already."""
        twice = written & self._written
        if any(not one.startswith(("run ", "account ", "job of ")) for one in twice):
            return False
        if (written - self._written) & self._named:
            return False
        if any(not _may_pass(self._runs[run.id], run) for run in writes.runs if _again(run, twice)):
            return False
        former = (self._accounts.get(account.key) for account in writes.accounts)
        return all(one is None or _is_sound(one) for one in former)


def _again(run: Run, twice: set[str]) -> bool:
    return f"run {run.id}" in twice


def _may_pass(former: Run, latter: Run) -> bool:
    """Whether no one would miss the former version.

    What it gave up to another run, or took from it, has to be written in its order.
    """
    if former.state is RunState.DONE or former.is_final:
        return False
    task = (former.upstream, former.upstream_task_id)
    if former.upstream_task_id and task != (latter.upstream, latter.upstream_task_id):
        return False
    given_up = former.shared and not latter.shared and not latter.superseded
    amounts = (*plain_amounts(former.hold), *plain_amounts(former.spent))
    counts = (former.price_usd_micros, former.attempts, former.tries, former.n - 1)
    return not given_up and min(*amounts, *counts) >= 0


def _is_sound(account: Account) -> bool:
    return min(*plain_amounts(account.held), *plain_amounts(account.spent)) >= 0


def _sum(one: Usage, more: Usage) -> Usage:
    return Usage(one.team, one.model, one.day, *map(add, _counters(one), _counters(more)))


def _is_alone(writes: Writes) -> bool:
    """What is read before it is written, what is taken away from sums, a run in two versions."""
    return bool(
        writes.pictures
        or writes.wordless
        or len({run.id for run in writes.runs}) < len(writes.runs)
        or any(min(_counters(one)) < 0 for one in writes.usage)
    )


def _written(writes: Writes) -> Iterator[str]:
    """What is written, by name."""
    yield from (f"run {run.id}" for run in writes.runs)
    yield from (f"account {account.key}" for account in writes.accounts)
    yield from (f"job {job.id}" for job in writes.jobs)
    yield from (f"claim {one.team} {one.key}" for one in (*writes.claims, *writes.freed))
    yield from (f"delivery {one.id}" for one in (*writes.deliveries, *writes.alerts))
    yield from (f"upload {one.team} {one.id}" for one in writes.uploads)
    yield from (f"url {one.team} {url}" for one in writes.uploads for url in one.urls)
    yield from (f"team {team.name}" for team in writes.teams)
    yield from (f"key {key.id}" for key in writes.team_keys)
    yield from (f"digest {key.digest}" for key in writes.team_keys)
    yield from (f"change {change.id}" for change in writes.changes)
    yield from (f"refusal {one.id}" for one in writes.refusals)
    yield from (f"step {one.run_id}" for one in writes.steps if one.number)
    yield from (f"epoch {epoch}" for epoch in writes.raised)


def _named(writes: Writes) -> Iterator[str]:
    """What has to be there before."""
    yield from (f"run {job.run_id}" for job in writes.jobs)
    yield from (f"run {step.run_id}" for step in writes.steps)
    yield from (f"job {one.job_id}" for one in writes.deliveries if one.job_id)
    yield from (f"team {key.team}" for key in writes.team_keys)
    yield from (f"step {one.run_id}" for one in writes.steps)
