"""What a ledger must do, said in plain Python: the oracle that the stateful test compares with.

It has no lists, no reports and no audit: the contract suite asks for those. The records that it
has written lie open in `tables`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ledger_tables import Tables, summed

from gateway.core.delivery import party
from gateway.core.model import Delivery, Job, Run, RunState, Usage
from gateway.core.money.accounts import Account, AccountKey, Window
from gateway.core.replicas import Epoch, Epochs
from gateway.core.runs.history import Step
from gateway.core.runs.leases import LEFT_SECONDS, Stand, stand
from gateway.core.runs.showing import shown_state
from gateway.core.teams.records import ManagedTeam, TeamKey
from gateway.core.transaction import Decide, Keys
from gateway.core.turns import ANY, in_turn
from gateway.ports.ledger import Old
from gateway.ports.replicas import News

T = TypeVar("T")
Leasable = TypeVar("Leasable", Run, Delivery)


class Oracle:
    """See gateway.ports.ledger for what each method promises."""

    def __init__(self, *, is_shared: bool = False) -> None:
        """Of a store that several processes may share nobody voids another's leases."""
        self.tables = Tables()
        self._is_shared = is_shared

    async def open(self) -> None:
        if not self._is_shared:
            self._leased(self.tables.live(), None, 0.0)
            self._leased(self.tables.pending(), None, 0.0)

    async def close(self) -> None:
        """What was written stays."""

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        answer, writes = decide(self.tables.view(keys))
        self.tables.write(writes)
        return answer

    def listen(self, heard: Callable[[News], None]) -> None:
        """Nobody else writes here."""

    # --- leases --------------------------------------------------------------------------------

    async def lease(
        self, owner: str, *, now: float, until: float, limit: int, known: Collection[str] = ()
    ) -> Sequence[Run]:
        live = [run for run in self.tables.live() if _due_at(run, known) <= now]
        due = _due(live, now, lambda run: run.team)
        return self._leased(in_turn(*due, limit=limit), owner, until)

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        due = _due(self.tables.pending(), now, party)
        return self._leased(in_turn(*due, limit=limit, share=share), owner, until)

    async def renew(self, owner: str, run_ids: Sequence[str], *, until: float) -> Sequence[Stand]:
        asked = sorted({*run_ids})
        found = [one for one in self.tables.live() if one.id in asked and one.lease_owner == owner]
        return [stand(run) for run in self._leased(found, owner, until) if isinstance(run, Run)]

    async def give_back(self, owner: str) -> None:
        for rows in (self.tables.live(), self.tables.pending()):
            self._leased([one for one in rows if one.lease_owner == owner], None, 0.0)

    def _leased(
        self, found: Sequence[Leasable], owner: str | None, until: float
    ) -> Sequence[Leasable]:
        leased = [replace(one, lease_owner=owner, lease_until=until) for one in found]
        for one in leased:
            if isinstance(one, Run):
                self.tables.runs[one.id] = one
            else:
                self.tables.deliveries[one.id] = one
        return leased

    async def next_due(self, known: Collection[str] = ()) -> float | None:
        live = self.tables.live()
        return min((max(_due_at(run, known), run.lease_until) for run in live), default=None)

    async def next_delivery_due(self) -> float | None:
        return _next(self.tables.pending())

    # --- what goes -----------------------------------------------------------------------------

    async def forget_upload(self, team: str, upload_id: str) -> None:
        self.tables.uploads.pop((team, upload_id), None)
        self.tables.drop_strays()

    async def retire(self, *, team: str | None, limit: int) -> Sequence[str]:
        found = [
            run
            for run in self.tables.runs.values()
            if run.shared and run.state is RunState.DONE and team in (None, run.team)
        ]
        retired = sorted(found, key=lambda run: (run.team, run.id))[:limit]
        self.tables.runs.update((run.id, replace(run, shared=False)) for run in retired)
        if retired:
            self.tables.epochs[Epoch.CACHE] += 1
        return [run.fingerprint for run in retired]

    async def epochs(self) -> Epochs:
        return Epochs(**self.tables.epochs)

    async def prune(self, old: Old, *, limit: int) -> int:
        tables, owed = self.tables, {one.job_id for one in self.tables.pending()}
        ended = {job.id for job in tables.jobs.values() if tables.runs[job.run_id].is_final} - owed
        empty = {
            key
            for key, account in tables.accounts.items()
            if key.window in (Window.MINUTE, Window.HOUR) and not account.held
        }
        alerts = {one.id for one in tables.deliveries.values() if one.job_id is None}
        alerts -= {one.id for one in tables.pending()}
        kinds = (
            (tables.jobs, ended, lambda job: job.created_at, old.jobs_before),
            (tables.claims, tables.claims, lambda one: one.created_at, old.claims_before),
            (tables.accounts, empty, lambda account: account.key.start, old.accounts_before),
            (tables.uploads, tables.uploads, lambda one: one.expires_at, old.uploads_before),
            (tables.refusals, tables.refusals, lambda one: one.at, old.refusals_before),
            (tables.deliveries, alerts, lambda one: one.created_at, old.jobs_before),
        )
        gone = sum(_drop_oldest(*kind, limit) for kind in kinds)
        tables.drop_strays()
        return gone

    # --- reads ---------------------------------------------------------------------------------

    async def job(self, job_id: str) -> tuple[Job, Run] | None:
        job = self.tables.jobs.get(job_id)
        return None if job is None else (job, self.tables.runs[job.run_id])

    async def delivery(self, delivery_id: str) -> Delivery | None:
        return self.tables.deliveries.get(delivery_id)

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        found = {url: self.tables.of_url.get((team, url)) for url in urls}
        return {url: self.tables.uploads[team, one].digest for url, one in found.items() if one}

    async def steps(self, run_id: str) -> Sequence[Step]:
        return list(self.tables.steps.get(run_id, ()))

    async def roster(self) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
        teams = self.tables.teams
        return [teams[name] for name in sorted(teams)], self.tables.keys_by_age()

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        return self.tables.accounts_of(keys)

    async def usage(self) -> Sequence[Usage]:
        totals: dict[tuple[str, str], Usage] = {}
        for one in self.tables.usage.values():
            key = (one.team, one.model)
            totals[key] = summed(totals.get(key, Usage(*key, 0)), one)
        return [totals[key] for key in sorted(totals)]

    async def run_counts(self) -> Mapping[RunState, int]:
        counts = Counter(shown_state(run) for run in self.tables.runs.values())
        return {state: counts[state] for state in RunState}


def _drop_oldest(
    table: dict[Any, Any],
    prunable: Iterable[Any],
    age: Callable[[Any], float],
    before: float,
    limit: int,
) -> int:
    """Those of the same time in the order of their keys; how many went."""
    old = [key for key in prunable if age(table[key]) < before]
    old.sort(key=lambda key: (age(table[key]), _sortable(key)))
    for key in old[:limit]:
        del table[key]
    return len(old[:limit])


def _sortable(key: Any) -> Any:
    return tuple(key) if isinstance(key, AccountKey) else key


def _due(
    waiting: Iterable[Leasable], now: float, party: Callable[[Leasable], str]
) -> tuple[Mapping[str, Sequence[Leasable]], Mapping[str, int]]:
    """What is due of each party in its order, and how much of that each has in hand."""
    due: dict[str, list[Leasable]] = {}
    in_hand: Counter[str] = Counter()
    for one in sorted(waiting, key=lambda one: (one.due_at, one.id)):
        if one.due_at <= now:
            if one.lease_until > now:
                in_hand[party(one)] += 1
            else:
                due.setdefault(party(one), []).append(one)
    return due, in_hand


def _due_at(run: Run, known: Collection[str]) -> float:
    """Where some upstreams are known, later for the others."""
    return run.due_at + (LEFT_SECONDS if known and run.upstream not in known else 0.0)


def _next(waiting: Iterable[Run | Delivery]) -> float | None:
    return min((max(one.due_at, one.lease_until) for one in waiting), default=None)
