"""The records of a batch as they are after some of its decisions, in memory.

Each decision sees what the former ones of its batch write, as if they had been committed. Where
that cannot be known from what was loaded, there is no view: that decision has to come again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.adapters.ledger.loaded import Loaded
from gateway.adapters.ledger.planned import Before
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Account, AccountKey
from gateway.core.replicas import Epoch
from gateway.core.transaction import Keys, View, Writes

UNKNOWN: Final = "?"
"""In place of the id of a run: another one takes its place, and was not loaded."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Which runs of a fingerprint may be meant, and which of them is: the highest by `rank`."""

    takes: Callable[[Run], bool]
    rank: Callable[[Run], tuple[float, str]]
    alone: bool = False


def _ended(run: Run) -> tuple[float, str]:
    return run.finished_at or 0.0, run.id


def _made(run: Run) -> tuple[float, str]:
    return run.created_at, run.id


SLOTS: Final[Mapping[str, _Slot]] = {
    "live": _Slot(lambda run: run.shared and not run.is_final, _made, alone=True),
    "finished": _Slot(lambda run: run.shared and run.state is RunState.DONE, _ended),
    "lost": _Slot(lambda run: run.shared and run.is_paid_in_vain, _ended),
    "superseded": _Slot(lambda run: run.superseded and not run.is_final, _made),
}


class Overlay:
    """Owns what it was given. `known` is what was there before."""

    def __init__(self, loaded: Loaded) -> None:
        made = {account.key for account in loaded.made}
        there = {key: one for key, one in loaded.accounts.items() if key not in made}
        self.known = Before(dict(loaded.runs), there)
        self._loaded = loaded
        self._by_team: dict[str, dict[AccountKey, Account]] = {}
        self._found: dict[tuple[AccountKey, ...], Mapping[AccountKey, Account]] = {}
        self._uploaders: set[str] = set()
        for key, account in loaded.accounts.items():
            self._by_team.setdefault(key.team, {})[key] = account

    def view(self, keys: Keys) -> View | None:
        """As `store.load` would give it now."""
        named: dict[str, Any] = {}
        if keys.fingerprint is not None and not keys.alone:
            slots = self._loaded.slots[keys.fingerprint]
            if UNKNOWN in slots.values():
                return None
            named = {name: self._loaded.runs[i] if i else None for name, i in slots.items()}
        if keys.run_id is not None:
            named["run"] = self._loaded.runs.get(keys.run_id)
            if not keys.alone:
                named["owed"] = tuple(self._loaded.owed[keys.run_id])
        if keys.claim is not None:
            named["claim"] = self._loaded.claims.get(keys.claim)
        if keys.team is not None:
            named["managed"] = self._loaded.teams.get(keys.team)
            named["team_keys"] = tuple(self._loaded.team_keys[keys.team])
        if keys.picture is not None:
            named["pictures"] = tuple(self._loaded.pictures[keys.picture])
        if keys.epochs:
            named["epochs"] = self._loaded.epochs
        if keys.uploads is not None:
            if keys.uploads[0] in self._uploaders:
                return None
            named["uploaded_bytes"] = self._loaded.uploaded[keys.uploads]
        return View(self._accounts(keys), **named)

    def _accounts(self, keys: Keys) -> Mapping[AccountKey, Account]:
        """What is answered from the cache changes none: it sees what those before it saw."""
        if keys.counted is None:
            known = self._found.get(keys.accounts)
            if known is not None:
                return known
        found = {key: self._by_team[key.team][key] for key in keys.accounts}
        if keys.counted is None:
            self._found[keys.accounts] = found
        else:
            team, at = keys.counted
            of_team = self._by_team.get(team, {}).items()
            found.update((key, one) for key, one in of_team if key.start <= at < key.end)
        return found

    # --- what is decided -----------------------------------------------------------------------

    def add(self, writes: Writes) -> None:
        for run in writes.runs:
            self._put_run(run)
        for job in writes.jobs:
            if job.callback_url is not None and job.run_id in self._loaded.owed:
                owed = self._loaded.owed[job.run_id]
                owed.append(job)
                owed.sort(key=lambda one: (one.created_at, one.id))
        self._put_claims(writes)
        if writes.accounts:
            self._found.clear()
        for account in writes.accounts:
            self._by_team.setdefault(account.key.team, {})[account.key] = account
        self._uploaders.update(upload.team for upload in writes.uploads)
        for team in writes.teams:
            self._loaded.teams[team.name] = team
        for key in writes.team_keys:
            if key.team in self._loaded.team_keys:
                others = [one for one in self._loaded.team_keys[key.team] if one.id != key.id]
                ordered = sorted([*others, key], key=lambda one: (one.created_at, one.id))
                self._loaded.team_keys[key.team] = ordered
        if writes.raised and self._loaded.epochs is not None:
            e = self._loaded.epochs
            policy, cache = (int(one in writes.raised) for one in (Epoch.POLICY, Epoch.CACHE))
            self._loaded.epochs = replace(e, policy=e.policy + policy, cache=e.cache + cache)

    def _put_claims(self, writes: Writes) -> None:
        for freed in writes.freed:
            known = self._loaded.claims.get((freed.team, freed.key))
            if known and known.job_id == freed.job_id:
                del self._loaded.claims[freed.team, freed.key]
        for claim in writes.claims:
            self._loaded.claims[claim.team, claim.key] = claim

    def _put_run(self, run: Run) -> None:
        self._loaded.runs[run.id] = run
        slots = self._loaded.slots.get(run.fingerprint)
        if slots is None:
            return
        for name, slot in SLOTS.items():
            slots[name] = self._holder(slot, slots[name], run)

    def _holder(self, slot: _Slot, holder: str | None, run: Run) -> str | None:
        """The id of the run that is meant, once this one is as it is."""
        if holder == UNKNOWN:
            return UNKNOWN
        if holder == run.id:
            if slot.takes(run):
                return holder
            return None if slot.alone else UNKNOWN
        if not slot.takes(run):
            return holder
        if holder is None:
            return run.id
        top = self._loaded.runs[holder]
        if slot.alone and not slot.takes(top):
            return run.id
        return max(top, run, key=slot.rank).id
