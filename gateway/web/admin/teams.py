"""`/admin/v1/teams`: who may order, what, and for how much.

Teams of the settings file are shown here and changed there. The body of a new team and of a
change is a team as the file has it (`gateway.config.schema.TeamEntry`), without keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Settings, managed
from gateway.core.catalog import Team
from gateway.core.money.usd import dollars
from gateway.core.policy import Current
from gateway.core.teams.changes import no_team
from gateway.errors import InvalidRequest
from gateway.services.policy import PolicyInForce
from gateway.services.standings import Standings, TeamStanding
from gateway.services.teams import Teams
from gateway.web.admin import BODY_BYTES
from gateway.web.auth import operator_of
from gateway.web.body import read_json
from gateway.web.query import NoParameters, Query, read_query
from gateway.web.responses import json_response
from gateway.web.shapes import DeletedShape, TeamShape, TeamsShape
from gateway.web.shown import moment, standing


class FindTeams(Query):
    """Which teams."""

    q: str = Field("", max_length=200, description="Part of the name or the description.")


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

    def routes(self) -> list[Route]:
        return [
            Route("/admin/v1/teams", self.listed, methods=["GET"]),
            Route("/admin/v1/teams", self.create, methods=["POST"]),
            Route("/admin/v1/teams/{team}", self.read, methods=["GET"]),
            Route("/admin/v1/teams/{team}", self.change, methods=["PATCH"]),
            Route("/admin/v1/teams/{team}", self.delete, methods=["DELETE"]),
        ]

    async def listed(self, request: Request) -> Response:
        policy = self._current.policy
        operator_of(request, policy)
        wanted = read_query(request, FindTeams).q.casefold()
        teams = sorted(policy.teams.values(), key=lambda team: team.name)
        told = {team.name: self._described(team.name) for team in teams}
        found = [
            team
            for team in teams
            if wanted in team.name.casefold() or wanted in (told[team.name][0] or "").casefold()
        ]
        standings = await self._standings.of_all(found)
        data = [self._shape(team, told[team.name], standings[team.name]) for team in found]
        answer: TeamsShape = {"data": data, "next": None}
        return json_response(answer)

    async def create(self, request: Request) -> Response:
        actor = operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        body = await _read_object(request)
        name = managed.read_name(body.pop("name", None))
        document = managed.new_document(body, self._settings())
        await self._teams.create(name, document, actor=actor)
        return await self._answer(name)

    async def read(self, request: Request) -> Response:
        operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        return await self._answer(request.path_params["team"])

    async def change(self, request: Request) -> Response:
        actor = operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        name, patch = request.path_params["team"], await _read_object(request)
        settings = self._settings()
        await self._teams.change(
            name, lambda old: managed.changed_document(old, patch, settings), actor=actor
        )
        return await self._answer(name)

    async def delete(self, request: Request) -> Response:
        actor = operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        name = request.path_params["team"]
        await self._teams.delete(name, actor=actor)
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


async def _read_object(request: Request) -> dict[str, Any]:
    body = await read_json(request, BODY_BYTES)
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body
