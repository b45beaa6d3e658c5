"""How teams stand: with each of their limits, and what they have spent.

Whoever asks, a page, an estimate or a list of hundreds of teams, is answered from here: by the
accounts of the windows that this moment lies in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.core.catalog import Team
from gateway.core.money import budgets
from gateway.core.money.accounts import Measure, Window
from gateway.core.money.budgets import Standing
from gateway.core.policy import Current
from gateway.ports.ledger import AccountReads


@dataclass(frozen=True, slots=True)
class TeamStanding:
    """With each of its limits, in their order; and what it spent ever, and this month."""

    limits: Sequence[Standing]
    spent_usd_micros: int
    spent_month_usd_micros: int

    @property
    def left_usd_micros(self) -> int | None:
        """What is left in the tightest of its budgets; None where it has none."""
        money = [one.left for one in self.limits if one.cap.measure is Measure.USD]
        return min(money, default=None)


class Standings:
    def __init__(self, ledger: AccountReads, current: Current) -> None:
        self._ledger = ledger
        self._current = current

    async def of(self, team: Team) -> TeamStanding:
        """Raises `Unavailable`."""
        return (await self.of_all([team]))[team.name]

    async def of_all(self, teams: Iterable[Team]) -> Mapping[str, TeamStanding]:
        """By their names, all looked up at once. Raises `Unavailable`."""
        teams, now, zone = list(teams), self._current.clock(), self._current.policy.zone
        keys = {team.name: budgets.account_keys(team.name, now, zone) for team in teams}
        accounts = await self._ledger.accounts(key for some in keys.values() for key in some)
        resets_at = partial(budgets.resets_at, now=now, zone=zone)
        found = {}
        for team in teams:
            own = {key: accounts[key] for key in keys[team.name]}
            spent = {key.window: one.spent.usd_micros for key, one in own.items()}
            limits = budgets.standings(team.caps, own, resets_at)
            found[team.name] = TeamStanding(limits, spent[Window.TOTAL], spent[Window.MONTH])
        return found
