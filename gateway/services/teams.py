"""What operators do to teams and keys at run time.

    change: look → decide → write with its record → put in force → answer

What an act means is decided in `core.teams.changes`; here it is committed and put in force.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from gateway.core.policy import Current
from gateway.core.replicas import Epoch
from gateway.core.teams import changes
from gateway.core.teams.changes import Act, Rotation, no_team
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.errors import Provisioned, TeamExists
from gateway.ports.ledger import TeamRecords
from gateway.process.following import Following
from gateway.services.policy import PolicyInForce

log = structlog.get_logger("gateway.roster")

T = TypeVar("T")

KEY_ID_CHARACTERS: Final = 12
"""Enough that no two keys ever share one; short enough to be told on the telephone."""

SECRET_BYTES: Final = 32
"""256 bits: nobody guesses it, so that one quick digest is enough to keep it by."""

_ALPHABET: Final = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key: its record, and the whole of it, which is nowhere but here."""

    record: TeamKey
    key: str


@dataclass(frozen=True, slots=True)
class Rotated:
    issued: Issued
    replaced: TeamKey


class Teams:
    """What operators do to teams and keys; those of the settings are not changed here."""

    def __init__(
        self,
        ledger: TeamRecords,
        current: Current,
        in_force: PolicyInForce,
        following: Following,
    ) -> None:
        self._ledger = ledger
        self._current = current
        self._in_force = in_force
        self._following = following
        self._changing = asyncio.Lock()

    # --- changing teams ------------------------------------------------------------------------

    async def create(self, name: str, document: str, act: Act) -> ManagedTeam:
        """Raises `TeamExists`."""
        if name in self._current.policy.provisioned:
            raise TeamExists(f"The settings file has a team {name!r} already.", param="name")
        return await self._change(name, lambda view: changes.create(view, name, document, act))

    async def change(self, name: str, edit: Callable[[str], str], act: Act) -> ManagedTeam:
        """The team with the document that `edit` makes of its present one.

        When this returns, no order is judged by the former limits any more. Raises `TeamNotFound`,
        `Provisioned` and what `edit` raises.
        """
        self._check_is_managed(name)
        after = await self._change(name, lambda view: changes.change(view, name, edit, act))
        await self._settle()
        return after

    async def delete(self, name: str, act: Act) -> None:
        """Its keys open nothing any more; runs that are under way end. Raises as `change` does."""
        self._check_is_managed(name)
        await self._change(name, lambda view: changes.delete(view, name, act))
        await self._settle()

    # --- changing keys -------------------------------------------------------------------------

    async def issue(self, name: str, *, label: str, act: Act) -> Issued:
        """A new key. Raises `TeamNotFound`, `Provisioned`."""
        self._check_is_managed(name)
        issued = _new_key(name, label, act.at)
        await self._change(name, lambda view: changes.issue(view, issued.record, act))
        return issued

    async def rotate(
        self, name: str, key_id: str, *, grace_seconds: float, label: str | None, act: Act
    ) -> Rotated:
        """A new key for an old one, which works on for so long. `label` None: the old one's.

        Raises also `KeyNotFound`, `KeyNotActive`, `RotationUnderWay`.
        """
        self._check_is_managed(name)
        issued = _new_key(name, label or "", act.at, replaces=key_id)

        def decide(view: View) -> tuple[Rotation, Writes]:
            return changes.rotate(
                view, issued.record, label=label, grace_seconds=grace_seconds, act=act
            )

        rotation = await self._change(name, decide)
        return Rotated(Issued(rotation.new, issued.key), rotation.old)

    async def revoke(self, name: str, key_id: str, act: Act) -> TeamKey:
        """The key opens nothing from the next request on. Raises as `rotate` does."""
        self._check_is_managed(name)
        return await self._change(name, lambda view: changes.revoke(view, name, key_id, act))

    async def note(self, change: Change) -> None:
        """Writes down an act that changes nothing else in the ledger."""
        await self._ledger.transact(Keys(), lambda _: (None, Writes(changes=(change,))))

    # --- inside --------------------------------------------------------------------------------

    async def _change(self, name: str, decide: Decide[T]) -> T:
        """The decision's answer, once it is committed and in force, with every gateway that lives.

        Raises what it raises.
        """

        def with_writes(view: View) -> tuple[tuple[T, Writes], Writes]:
            answer, writes = decide(view)
            if writes.changes:
                writes = replace(writes, raised=frozenset({Epoch.POLICY}))
            return (answer, writes), writes

        async with self._changing:  # so that what is installed later was committed later
            answer, writes = await self._ledger.transact(Keys(team=name), with_writes)
            if writes.changes:
                self._in_force.adopt(writes.teams, writes.team_keys)
        for change in writes.changes:
            log.info(change.action, subject=change.subject, actor=change.actor)
        if writes.changes:
            await self._following.everywhere()
        return answer

    async def _settle(self) -> None:
        """Returns when every decision that was under way is committed.

        An order is judged inside its transaction by the policy of that moment, and transactions
        come one after the other: behind this one, none was judged by a former policy.
        """
        await self._ledger.transact(Keys(), lambda _: (None, Writes()))

    def _check_is_managed(self, name: str) -> None:
        """Raises `TeamNotFound`, `Provisioned`."""
        if name in self._current.policy.provisioned:
            raise Provisioned(
                f"The team {name!r} comes from the settings file and is changed there: edit "
                f"teams.{name}, then reload with POST /admin/v1/settings/reload or SIGHUP."
            )
        if name not in self._in_force.managed:
            raise no_team(name)


def _new_key(team: str, label: str, now: float, *, replaces: str | None = None) -> Issued:
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(KEY_ID_CHARACTERS))
    key = f"igw_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Issued(TeamKey(key_id, team, digest, label, now, replaces=replaces), key)
