"""The story of teams and keys: those of the settings, and those that operators make meanwhile.

    change: look → decide → write with its record → install → answer

Whatever changes either side ends in `_install`: one policy is made of both and put in force, so
that nobody else sees two kinds of teams. The settings' own teams are not changed here.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from gateway import ids
from gateway.core.catalog import Team
from gateway.core.money import budgets
from gateway.core.money.accounts import Window
from gateway.core.money.budgets import Standing
from gateway.core.policy import Current, Policy
from gateway.core.teams import changes
from gateway.core.teams.changes import Act, Action, Exists, Missing, NotActive, Rotation, StillTwo
from gateway.core.teams.records import ManagedTeam, TeamKey
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.errors import CallerError, NotFound
from gateway.ports.clock import Clock
from gateway.ports.ledger import TeamRecords

log = structlog.get_logger("gateway.roster")

T = TypeVar("T")

KEY_ID_CHARACTERS: Final = 12
"""Enough that no two keys ever share one; short enough to be told on the telephone."""

SECRET_BYTES: Final = 32
"""256 bits: nobody guesses it, so that one quick digest is enough to keep it by."""

_ALPHABET: Final = string.ascii_lowercase + string.digits

ReadTeam = Callable[[ManagedTeam], tuple[Team, Sequence[str]]]
"""A stored team → the team under the settings in force, and what is to be noticed about it."""


class TeamNotFound(NotFound):
    code = "team_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class Conflict(CallerError):
    """What is asked does not go with how things are; the request itself is in order."""

    status = 409


class TeamExists(Conflict):
    code = "team_exists"


class Provisioned(Conflict):
    code = "provisioned"


class KeyNotActive(Conflict):
    code = "key_not_active"


class RotationUnderWay(Conflict):
    code = "rotation_under_way"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key: its record, and the whole of it, which is nowhere but here."""

    record: TeamKey
    key: str


@dataclass(frozen=True, slots=True)
class Rotated:
    issued: Issued
    replaced: TeamKey


@dataclass(frozen=True, slots=True)
class Books:
    """How a team stands: with each of its caps, and what it has spent, in micro-dollars."""

    standings: Sequence[Standing]
    spent: int
    spent_this_month: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A stored team as it is in force."""

    document: str
    team: Team
    notices: Sequence[str]


class Teams:
    """Teams and keys. Made with the policy of the settings; `load` adds what the ledger has."""

    def __init__(
        self,
        ledger: TeamRecords,
        current: Current,
        *,
        clock: Clock,
        read: ReadTeam,
        installed: Callable[[Policy], None],
    ) -> None:
        """`installed` is told of each policy that was put in force."""
        self._ledger = ledger
        self._current = current
        self._clock = clock
        self._settings = current.policy
        self._read = read
        self._installed = installed
        self._teams: dict[str, ManagedTeam] = {}
        self._keys: dict[str, dict[str, TeamKey]] = {}
        self._managed: Mapping[str, ManagedTeam] = {}
        self._in_force: dict[str, _Read] = {}
        self._notices: Sequence[str] = ()
        self._changing = asyncio.Lock()

    # --- what is in force ----------------------------------------------------------------------

    async def load(self) -> None:
        """Puts in force what the ledger has. To be called once the ledger is open."""
        self._take_over(*await self._ledger.roster())
        self._install()

    def install(self, settings: Policy, read: ReadTeam) -> None:
        """Puts new settings in force, together with the teams that were made at run time."""
        self._settings, self._read = settings, read
        self._in_force.clear()
        self._install()

    def _take_over(self, teams: Iterable[ManagedTeam], keys: Iterable[TeamKey]) -> None:
        for team in teams:
            self._teams[team.name] = team
        for key in keys:
            self._keys.setdefault(key.team, {})[key.id] = key

    def _install(self) -> None:
        settings = self._settings
        there = {name: team for name, team in self._teams.items() if team.deleted_at is None}
        hidden = [_hidden(name) for name in there if name in settings.provisioned]
        self._managed = {name: there[name] for name in there if name not in settings.provisioned}
        read = [self._as_read(team) for team in self._managed.values()]
        teams = [one.team for one in read]
        keys = [key for team in teams for key in self._keys.get(team.name, {}).values()]
        self._current.policy = changes.merged(settings, teams, keys, self._clock())
        self._notice([*hidden, *(notice for one in read for notice in one.notices)])
        self._installed(self._current.policy)

    def _as_read(self, team: ManagedTeam) -> _Read:
        """Read again only when its document or the settings are others: there may be hundreds."""
        known = self._in_force.get(team.name)
        if known is None or known.document != team.document:
            known = _Read(team.document, *self._read(team))
            self._in_force[team.name] = known
        return known

    def _notice(self, notices: Sequence[str]) -> None:
        for notice in notices:
            if notice not in self._notices:
                log.warning("team and settings disagree", notice=notice)
        self._notices = notices

    @property
    def notices(self) -> Sequence[str]:
        """What does not go together with the settings, in sentences."""
        return self._notices

    # --- looking -------------------------------------------------------------------------------

    @property
    def managed(self) -> Mapping[str, ManagedTeam]:
        """The teams made at run time that are in force, by name."""
        return self._managed

    def keys(self, name: str) -> Sequence[TeamKey]:
        """Every key that a team made at run time ever had, the oldest first."""
        return list(self._keys.get(name, {}).values()) if name in self.managed else []

    async def books(self, teams: Iterable[Team]) -> Mapping[str, Books]:
        """How these teams stand, by name, all looked up at once."""
        teams, now, zone = list(teams), self._clock(), self._current.policy.zone
        asked = {team.name: budgets.account_keys(team.name, now, zone) for team in teams}
        found = await self._ledger.accounts(key for keys in asked.values() for key in keys)
        books = {}
        for team in teams:
            accounts = {key: found[key] for key in asked[team.name]}
            spent = {key.window: one.spent.usd_micros for key, one in accounts.items()}
            standings = budgets.standings(
                team.caps, accounts, lambda window: budgets.resets_at(window, now, zone)
            )
            books[team.name] = Books(standings, spent[Window.TOTAL], spent[Window.MONTH])
        return books

    # --- changing teams ------------------------------------------------------------------------

    async def create(self, name: str, document: str, *, actor: str) -> ManagedTeam:
        """Raises `TeamExists`."""
        if name in self._settings.provisioned:
            raise TeamExists(f"The settings file has a team {name!r} already.", param="name")
        act = self._act(actor)
        made = await self._change(name, lambda view: changes.create(view, name, document, act))
        if isinstance(made, Exists):
            raise TeamExists(f"There is a team {name!r} already: change that one.", param="name")
        return made

    async def change(self, name: str, edit: Callable[[str], str], *, actor: str) -> ManagedTeam:
        """The team with the document that `edit` makes of its present one.

        When this returns, no order is judged by the former limits any more. Raises `TeamNotFound`,
        `Provisioned` and what `edit` raises.
        """
        self._require(name)
        act = self._act(actor)
        after = await self._change(name, lambda view: changes.change(view, edit, act))
        if isinstance(after, Missing):
            raise _no_team(name)
        await self._settle()
        return after

    async def delete(self, name: str, *, actor: str) -> None:
        """Its keys open nothing any more; runs that are under way end. Raises as `change` does."""
        self._require(name)
        act = self._act(actor)
        if isinstance(await self._change(name, lambda view: changes.delete(view, act)), Missing):
            raise _no_team(name)
        await self._settle()

    # --- changing keys -------------------------------------------------------------------------

    async def issue(self, name: str, *, label: str, actor: str) -> Issued:
        """A new key. Raises `TeamNotFound`, `Provisioned`."""
        self._require(name)
        act = self._act(actor)
        issued = _new_key(name, label, act.at)
        made = await self._change(name, lambda view: changes.issue(view, issued.record, act))
        if isinstance(made, Missing):
            raise _no_team(name)
        return issued

    async def rotate(
        self, name: str, key_id: str, *, grace_seconds: float, label: str | None, actor: str
    ) -> Rotated:
        """A new key for an old one, which works on for so long. `label` None: the old one's.

        Raises also `KeyNotFound`, `KeyNotActive`, `RotationUnderWay`.
        """
        self._require(name)
        act = self._act(actor)
        issued = _new_key(name, label or "", act.at, replaces=key_id)

        def make(old: TeamKey) -> TeamKey:
            return replace(issued.record, label=old.label if label is None else label)

        def decide(view: View) -> tuple[Rotation | NotActive | StillTwo | Missing, Writes]:
            return changes.rotate(view, key_id, make, grace_seconds=grace_seconds, act=act)

        match await self._change(name, decide):
            case Missing() as missing:
                raise _missing(missing, name, key_id)
            case NotActive(_, state):
                message = f"This key is {state.value}: only an active one is rotated. Issue one."
                raise KeyNotActive(message)
            case StillTwo(former):
                raise RotationUnderWay(
                    f"The key {former.id}, which this one replaced, still works. Wait for the end "
                    "of its grace period, or revoke it first."
                )
            case Rotation(old, new):
                return Rotated(Issued(new, issued.key), old)

    async def revoke(self, name: str, key_id: str, *, actor: str) -> TeamKey:
        """The key opens nothing from the next request on. Raises as `rotate` does."""
        self._require(name)
        act = self._act(actor)
        after = await self._change(name, lambda view: changes.revoke(view, key_id, act))
        if isinstance(after, Missing):
            raise _missing(after, name, key_id)
        return after

    async def note(
        self, action: Action, subject: str, *, before: str, after: str, actor: str
    ) -> None:
        """Writes down an act that changes nothing else in the ledger."""
        change = self._act(actor).change(action, subject, before=before, after=after)
        await self._ledger.transact(Keys(), lambda _: (None, Writes(changes=(change,))))

    # --- inside --------------------------------------------------------------------------------

    async def _change(self, name: str, decide: Decide[T]) -> T:
        """The decision's answer, once it is committed and in force."""

        def with_writes(view: View) -> tuple[tuple[T, Writes], Writes]:
            answer, writes = decide(view)
            return (answer, writes), writes

        async with self._changing:  # so that what is installed later was committed later
            answer, writes = await self._ledger.transact(Keys(team=name), with_writes)
            if writes.changes:
                self._take_over(writes.teams, writes.team_keys)
                self._install()
        for change in writes.changes:
            log.info(change.action, subject=change.subject, actor=change.actor)
        return answer

    async def _settle(self) -> None:
        """Returns when every decision that was under way is committed.

        An order is judged inside its transaction by the policy of that moment, and transactions
        come one after the other: behind this one, none was judged by a former policy.
        """
        await self._ledger.transact(Keys(), lambda _: (None, Writes()))

    def _require(self, name: str) -> None:
        if name in self._settings.provisioned:
            raise Provisioned(
                f"The team {name!r} comes from the settings file and is changed there: edit "
                f"teams.{name}, then reload with POST /admin/v1/settings/reload or SIGHUP."
            )
        if name not in self.managed:
            raise _no_team(name)

    def _act(self, actor: str) -> Act:
        return Act(ids.new_change_id(), self._clock(), actor)


def _hidden(name: str) -> str:
    return (
        f"teams.{name}: a team of this name was made through the admin API; it and its keys are "
        "out of force while the settings file has one"
    )


def _no_team(name: str) -> TeamNotFound:
    return TeamNotFound(f"There is no team {name[:128]!r}.", param="team")


def _missing(missing: Missing, name: str, key_id: str) -> NotFound:
    if missing is Missing.TEAM:
        return _no_team(name)
    return KeyNotFound(f"The team {name!r} has no key {key_id[:64]!r}.", param="id")


def _new_key(team: str, label: str, now: float, *, replaces: str | None = None) -> Issued:
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(KEY_ID_CHARACTERS))
    key = f"igw_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Issued(TeamKey(key_id, team, digest, label, now, replaces=replaces), key)
