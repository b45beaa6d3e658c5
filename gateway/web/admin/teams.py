"""`/admin/v1/teams`: who may order, what, and for how much.

Teams of the settings file are shown here and changed there. The body of a new team and of a
change is a team as the file has it (`gateway.config.schema.TeamEntry`), without keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.config import Settings, managed
from gateway.config.schema import TeamEntry
from gateway.config.words import NAME
from gateway.core.catalog import Team
from gateway.core.money.usd import dollars
from gateway.core.policy import Current
from gateway.core.prompt_search import occurs, sought
from gateway.core.teams.changes import no_team
from gateway.errors import Provisioned, TeamExists, TeamNotFound
from gateway.services.policy import PolicyInForce
from gateway.services.standings import Standings, TeamStanding
from gateway.services.teams import Teams
from gateway.web.admin import BODY_BYTES
from gateway.web.body import read_object
from gateway.web.calls import OperatorCall
from gateway.web.chapters import TEAMS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Query
from gateway.web.responses import json_response
from gateway.web.schema import REF, Component, text
from gateway.web.shown import StandingShape, moment, standing

TEAM: Final = {"team": "The team's name."}


_NAME: Final = f"^{NAME.pattern}$"
_DOCUMENT: Final = TeamEntry.model_json_schema(ref_template=REF)
_SAID: Final = {
    # Of a team as the settings file has it: everything but the keys.
    name: schema
    for name, schema in _DOCUMENT["properties"].items()
    if name != "keys"
}
_BODY: Final = {name: part for name, part in _DOCUMENT.items() if name != "$defs"}

NEW_TEAM: Final = Component(
    "NewTeam",
    {
        **_BODY,
        "description": "What may be said of a team. What is left out is as in the settings.",
        "properties": {"name": text("Its name, as in the settings file.", pattern=_NAME), **_SAID},
        "required": ["name"],
        "examples": [
            {"name": "marketing", "budgets": [{"usd": 50, "per": "day"}], "mode": "enforce"}
        ],
    },
    _DOCUMENT["$defs"],
)
TEAM_CHANGE: Final = Component(
    "TeamChange",
    {
        **_BODY,
        "description": "A merge patch (RFC 7396): what is named is replaced, null takes it away.",
        "properties": _SAID,
        "examples": [{"budgets": [{"usd": 80, "per": "day"}]}],
    },
    _DOCUMENT["$defs"],
)


class TeamShape(TypedDict):
    """A team. `provisioned`: it comes from the settings file and is changed there."""

    name: str
    provisioned: bool
    description: str | None
    settings: dict[str, Any]
    standing: list[StandingShape]
    keys: int
    spent_usd: float
    spent_month_usd: float
    created_at: str | None
    changed_at: str | None


class TeamsShape(TypedDict):
    data: list[TeamShape]
    next: str | None


class DeletedShape(TypedDict):
    name: str
    deleted: bool


class FindTeams(Query):
    """Which teams."""

    q: str = Field("", max_length=200, description="Words of the name or the description.")


class ManagedTeams:
    """`settings` gives those in force."""

    def __init__(
        self,
        teams: Teams,
        in_force: PolicyInForce,
        standings: Standings,
        current: Current,
        settings: Callable[[], Settings],
    ) -> None:
        self._teams = teams
        self._in_force = in_force
        self._standings = standings
        self._current = current
        self._settings = settings

    @Operation(
        "GET /admin/v1/teams",
        TEAMS,
        "All teams, with how they stand",
        query=FindTeams,
        answer=TeamsShape,
    )
    async def listed(self, call: OperatorCall[FindTeams]) -> Response:
        wanted = sought(call.query.q)
        teams = sorted(call.policy.teams.values(), key=lambda team: team.name)
        told = {team.name: self._described(team.name) for team in teams}
        found = [team for team in teams if occurs(wanted, team.name, told[team.name][0] or "")]
        standings = await self._standings.of_all(found)
        data = [self._shape(team, told[team.name], standings[team.name]) for team in found]
        answer: TeamsShape = {"data": data, "next": None}
        return json_response(answer)

    @Operation(
        "POST /admin/v1/teams",
        TEAMS,
        "Create a team",
        "Works from the next request on. It has no key yet.",
        body=NEW_TEAM,
        answer=TeamShape,
        errors=(TeamExists,),
    )
    async def create(self, call: OperatorCall[NoParameters]) -> Response:
        body = await read_object(call.request, BODY_BYTES)
        name = managed.read_name(body.pop("name", None))
        document = managed.new_document(body, self._settings(), call.policy.catalog.models)
        await self._teams.create(name, document, call.act())
        return await self._answer(name)

    @Operation(
        "GET /admin/v1/teams/{team}",
        TEAMS,
        "One team",
        path_words=TEAM,
        answer=TeamShape,
        errors=(TeamNotFound,),
    )
    async def read(self, call: OperatorCall[NoParameters]) -> Response:
        return await self._answer(call.word("team"))

    @Operation(
        "PATCH /admin/v1/teams/{team}",
        TEAMS,
        "Change a team",
        "What was spent stays spent: a changed limit is held against it at once. A "
        "team of the settings file is changed there.",
        path_words=TEAM,
        body=TEAM_CHANGE,
        answer=TeamShape,
        errors=(TeamNotFound, Provisioned),
    )
    async def change(self, call: OperatorCall[NoParameters]) -> Response:
        name, patch = call.word("team"), await read_object(call.request, BODY_BYTES)
        settings, models = self._settings(), call.policy.catalog.models
        await self._teams.change(
            name, lambda old: managed.changed_document(old, patch, settings, models), call.act()
        )
        return await self._answer(name)

    @Operation(
        "DELETE /admin/v1/teams/{team}",
        TEAMS,
        "Delete a team",
        "Its keys are revoked; its history, its spend and its pictures stay.",
        path_words=TEAM,
        answer=DeletedShape,
        errors=(TeamNotFound, Provisioned),
    )
    async def delete(self, call: OperatorCall[NoParameters]) -> Response:
        name = call.word("team")
        await self._teams.delete(name, call.act())
        answer: DeletedShape = {"name": name, "deleted": True}
        return json_response(answer)

    # --- inside --------------------------------------------------------------------------------

    async def _answer(self, name: str) -> Response:
        """The team as it is in force now."""
        team = self._current.policy.teams.get(name)
        if team is None:
            raise no_team(name)
        told = self._described(name)
        return json_response(self._shape(team, told, await self._standings.of(team)))

    def _described(self, name: str) -> tuple[str | None, dict[str, Any]]:
        """Description and settings."""
        made = self._in_force.managed.get(name)
        if made is not None:
            return managed.shown_document(made.document)
        entry = self._settings().teams[name]
        return entry.description, managed.shown(entry)

    def _shape(
        self, team: Team, told: tuple[str | None, dict[str, Any]], found: TeamStanding
    ) -> TeamShape:
        made = self._in_force.managed.get(team.name)
        description, settings = told
        return {
            "name": team.name,
            "provisioned": made is None,
            "description": description,
            "settings": settings,
            "standing": [standing(one) for one in found.limits],
            "keys": self._live_keys(team.name),
            "spent_usd": dollars(found.spent_usd_micros),
            "spent_month_usd": dollars(found.spent_month_usd_micros),
            "created_at": moment(made.created_at) if made else None,
            "changed_at": moment(made.changed_at) if made else None,
        }

    def _live_keys(self, name: str) -> int:
        if name in self._current.policy.provisioned:
            return len(self._settings().teams[name].keys)
        return self._in_force.live_keys(name)
