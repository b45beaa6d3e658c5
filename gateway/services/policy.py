"""The policy in force: that of the settings, with the teams and keys made at run time.

Whatever changes either side ends in `_merge`: one policy is made of both and put in force, so
that nobody else sees two kinds of teams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from gateway.core.catalog import Team
from gateway.core.policy import Current, Policy
from gateway.core.teams.changes import merged
from gateway.core.teams.records import ManagedTeam, TeamKey
from gateway.ports.ledger import TeamRecords

log = structlog.get_logger("gateway.roster")

ReadTeam = Callable[[ManagedTeam], tuple[Team, Sequence[str]]]
"""A stored team → the team under the settings in force, and what is to be noticed about it."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A stored team as it is in force."""

    document: str
    team: Team
    notices: Sequence[str]


class PolicyInForce:
    """Made with the policy of the settings; `load` adds what the ledger has."""

    def __init__(
        self,
        ledger: TeamRecords,
        current: Current,
        *,
        read: ReadTeam,
        installed: Callable[[Policy], None],
    ) -> None:
        """`installed` is told of each policy that was put in force."""
        self._ledger = ledger
        self._current = current
        self._settings = current.policy
        self._read = read
        self._installed = installed
        self._teams: dict[str, ManagedTeam] = {}
        self._keys: dict[str, dict[str, TeamKey]] = {}
        self._in_force: dict[str, _Read] = {}
        self.managed: Mapping[str, ManagedTeam] = {}
        """The teams made at run time that are in force, by name."""
        self.notices: Sequence[str] = ()
        """What of them does not go together with the settings, in sentences."""

    async def load(self) -> None:
        """Puts in force what the ledger has. To be called once the ledger is open."""
        self.adopt(*await self._ledger.roster())

    def install(self, settings: Policy, read: ReadTeam) -> None:
        """Puts new settings in force, together with the teams that were made at run time."""
        self._settings, self._read = settings.following(self._settings), read
        self._in_force.clear()
        self._merge()

    def adopt(self, teams: Iterable[ManagedTeam], keys: Iterable[TeamKey]) -> None:
        """Puts these teams and keys in force as they are now committed."""
        for team in teams:
            self._teams[team.name] = team
        for key in keys:
            self._keys.setdefault(key.team, {})[key.id] = key
        self._merge()

    def keys(self, name: str) -> Sequence[TeamKey]:
        """Every key that a team made at run time ever had, the oldest first."""
        return list(self._keys.get(name, {}).values()) if name in self.managed else []

    def live_keys(self, name: str) -> int:
        """How many of them open something now."""
        now = self._current.clock()
        return sum(key.ends_at > now for key in self.keys(name))

    def _merge(self) -> None:
        settings = self._settings
        there = {name: team for name, team in self._teams.items() if team.deleted_at is None}
        hidden = [_hidden(name) for name in there if name in settings.provisioned]
        self.managed = {name: there[name] for name in there if name not in settings.provisioned}
        read = [self._as_read(team) for team in self.managed.values()]
        teams = [one.team for one in read]
        keys = [key for team in teams for key in self._keys.get(team.name, {}).values()]
        self._current.policy = merged(settings, teams, keys, self._current.clock())
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
            if notice not in self.notices:
                log.warning("team and settings disagree", notice=notice)
        self.notices = notices


def _hidden(name: str) -> str:
    return (
        f"teams.{name}: a team of this name was made through the admin API; it and its keys are "
        "out of force while the settings file has one"
    )
