"""Teams, keys, changes, steps and refusals of the ledger in memory, with their constraints."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from gateway.adapters.ledger.memory_rules import check_refusal, refuse
from gateway.adapters.ledger.memory_undo import Undo
from gateway.core.runs.history import OUR_DETAILS, Refusal, Step, last_number
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import Writes


class Roster:
    """`steps` are those of a run by its id, in order."""

    def __init__(self) -> None:
        self.teams: dict[str, ManagedTeam] = {}
        self.keys: dict[str, TeamKey] = {}
        self.changes: dict[str, Change] = {}
        self.steps: dict[str, tuple[Step, ...]] = {}
        self.refusals: dict[str, Refusal] = {}
        self._of_digest: dict[str, str] = {}

    def keys_of(self, team: str) -> tuple[TeamKey, ...]:
        """Oldest first."""
        return tuple(key for key in self.all_keys() if key.team == team)

    def all_keys(self) -> list[TeamKey]:
        """Oldest first."""
        return sorted(self.keys.values(), key=lambda key: (key.created_at, key.id))

    def write(self, writes: Writes, runs: Container[str], undo: Undo) -> None:
        for team in writes.teams:
            undo.put(self.teams, team.name, team)
        for key in writes.team_keys:
            self._put_key(key, undo)
        for change in writes.changes:
            if change.id in self.changes:
                refuse(f"change {change.id} is there already")
            undo.put(self.changes, change.id, change)
        for step in writes.steps:
            self._add_step(step, runs, undo)
        for refusal in writes.refusals:
            check_refusal(refusal)
            if refusal.id not in self.refusals:
                undo.put(self.refusals, refusal.id, refusal)

    def take_words(self, run_id: str, jobs: Container[str], undo: Undo) -> None:
        """What steps of a run and refusals of its jobs may say in upstream's words."""
        told = self.steps.get(run_id, ())
        bare = (one if one.event in OUR_DETAILS else replace(one, detail="") for one in told)
        undo.put(self.steps, run_id, tuple(bare))
        for one in [one for one in self.refusals.values() if one.job_id in jobs]:
            undo.put(self.refusals, one.id, replace(one, message="", param=None))

    def _put_key(self, key: TeamKey, undo: Undo) -> None:
        if key.team not in self.teams:
            refuse(f"key {key.id} has no team")
        if self._of_digest.get(key.digest, key.id) != key.id:
            refuse(f"key {key.id} has the digest of another one")
        known = self.keys.get(key.id)
        if known and (known.digest, known.team) != (key.digest, key.team):
            refuse(f"the key {key.id} is there already, and is another one")
        undo.put(self.keys, key.id, key)
        undo.put(self._of_digest, key.digest, key.id)

    def _add_step(self, step: Step, runs: Container[str], undo: Undo) -> None:
        """A step without a number gets the next one, unless the run has told enough."""
        told = self.steps.get(step.run_id, ())
        if step.number == 0:
            last = told[-1].number if told else 0
            if last >= last_number(step):
                return
            step = replace(step, number=last + 1)
        if step.run_id not in runs:
            refuse(f"a step has no run {step.run_id}")
        if step.number < 1 or any(one.number == step.number for one in told):
            refuse(f"run {step.run_id} cannot have the step {step.number}")
        inserted = sorted((*told, step), key=lambda one: one.number)
        undo.put(self.steps, step.run_id, tuple(inserted))
