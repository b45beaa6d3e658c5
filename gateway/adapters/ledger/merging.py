"""The writes of several decisions as the writes of one: pure.

Merged, they come to what they come to one after the other, or they are not merged. The last version
of a run or an account counts, usage is summed, and everything else is written as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import chain
from operator import add, attrgetter
from typing import Final

from gateway.core.codec import plain_amounts
from gateway.core.model import Run, RunState, Usage
from gateway.core.money.accounts import Account
from gateway.core.transaction import Writes

_counters: Final = attrgetter(*[field.name for field in fields(Usage)][3:])
"""`astuple` copies each of them deeply, which is half of the work on a batch of cached answers."""

_NO_COUNTS: Final = _counters(Usage("", "", 0))

AS_THEY_CAME: Final = {
    name: attrgetter(name)
    for name in (
        "jobs", "claims", "freed", "deliveries", "uploads", "alerts", "teams", "team_keys",
        "changes", "steps", "refusals",
    )
}  # fmt: skip

_Name = tuple[object, ...]
"""What kind of record, and which."""

AGAIN: Final = frozenset({"run", "account"})
"""Kinds of records of which the last version counts."""


class Merged:
    """Begins empty; `accounts` are written in any case."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._runs: dict[str, Run] = {}
        self._accounts = {account.key: account for account in accounts}
        self._usage: dict[tuple[str, str, int], tuple[int, ...]] = {}
        self._parts: list[Writes] = []
        self._written: set[_Name] = set()
        self._named: set[_Name] = set()
        self.is_alone = False

    def take(self, writes: Writes) -> bool:
        """Adds them; False: they do not merge with what is there, and nothing was added."""
        written, named = _written(writes), _named(writes)
        counts = [*map(_counters, writes.usage)]
        alone = _is_alone(writes, counts)
        if self._parts and (alone or self.is_alone or not self._goes_with(writes, written, named)):
            return False
        self.is_alone = alone
        self._written |= written
        self._named |= named
        for run in writes.runs:
            self._runs[run.id] = run
        for account in writes.accounts:
            self._accounts[account.key] = account
        for one, more in zip(writes.usage, counts, strict=True) if not alone else ():
            key = (one.team, one.model, one.day)
            self._usage[key] = tuple(map(add, self._usage.get(key, _NO_COUNTS), more))
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
            name: tuple(chain.from_iterable(map(of, self._parts)))
            for name, of in AS_THEY_CAME.items()
        }
        return Writes(
            runs=tuple(self._runs.values()),
            accounts=accounts,
            usage=tuple(Usage(*key, *counts) for key, counts in self._usage.items()),
            raised=frozenset(epoch for part in self._parts for epoch in part.raised),
            **came,
        )

    def _goes_with(self, writes: Writes, written: set[_Name], named: set[_Name]) -> bool:
        """Nothing is written twice that only a former version would refuse, and nothing that a
        former one had to find already."""
        twice = written & self._written
        if any(kind not in AGAIN for kind, *_ in twice):
            return False
        if not self._named.isdisjoint(written - twice):
            return False
        runs = (run for run in writes.runs if ("run", run.id) in twice)
        if any(not _may_pass(self._runs[run.id], run) for run in runs):
            return False
        former = [self._accounts.get(account.key) for account in writes.accounts]
        return all(one is None or _is_sound(one) for one in former)


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


def _is_alone(writes: Writes, counts: Iterable[tuple[int, ...]]) -> bool:
    """What is read before it is written, what is taken away from sums, a run in two versions."""
    return bool(
        writes.pictures
        or writes.wordless
        or (len(writes.runs) > 1 and len({run.id for run in writes.runs}) < len(writes.runs))
        or min(chain.from_iterable(counts), default=0) < 0
    )


def _written(writes: Writes) -> set[_Name]:
    """What is written, by name. Most write but few kinds: an answer from the cache one."""
    named: set[_Name] = {("job", job.id) for job in writes.jobs}
    if writes.runs:
        named.update(("run", run.id) for run in writes.runs)
    if writes.accounts:
        named.update(("account", account.key) for account in writes.accounts)
    if writes.claims or writes.freed:
        named.update(("claim", one.team, one.key) for one in (*writes.claims, *writes.freed))
    if writes.deliveries or writes.alerts:
        named.update(("delivery", one.id) for one in (*writes.deliveries, *writes.alerts))
    if writes.steps:
        named.update(("step", one.run_id) for one in writes.steps if one.number)
    if writes.uploads:
        named.update(("upload", one.team, one.id) for one in writes.uploads)
        named.update(("url", one.team, url) for one in writes.uploads for url in one.urls)
    if writes.teams:
        named.update(("team", team.name) for team in writes.teams)
    if writes.team_keys:
        named.update(("key", key.id) for key in writes.team_keys)
        named.update(("digest", key.digest) for key in writes.team_keys)
    if writes.changes:
        named.update(("change", change.id) for change in writes.changes)
    if writes.refusals:
        named.update(("refusal", one.id) for one in writes.refusals)
    if writes.raised:
        named.update(("epoch", epoch) for epoch in writes.raised)
    return named


def _named(writes: Writes) -> set[_Name]:
    """What has to be there before."""
    named: set[_Name] = {("run", job.run_id) for job in writes.jobs}
    if writes.steps:
        named.update(("run", step.run_id) for step in writes.steps)
        named.update(("step", step.run_id) for step in writes.steps)
    if writes.deliveries:
        named.update(("job", one.job_id) for one in writes.deliveries if one.job_id)
    if writes.team_keys:
        named.update(("team", key.team) for key in writes.team_keys)
    return named
