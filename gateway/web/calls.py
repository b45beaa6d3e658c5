"""Letting requests in: the key and the query that an operation asks for, checked in one place.

What serves an endpoint behind a key is called with whose it was: a handler cannot forget to look.
The key comes first, then the query; what is in the body is for the handler to read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from gateway import ids
from gateway.core.catalog import Team
from gateway.core.policy import Current, Policy
from gateway.core.teams.changes import Act
from gateway.errors import Unauthorized
from gateway.ports.clock import Clock
from gateway.web.auth import operator_of, team_of
from gateway.web.operation import Caller, Endpoint, Handler
from gateway.web.query import NoParameters, Query, read_query

Q_co = TypeVar("Q_co", bound=Query, covariant=True)


@dataclass(frozen=True, slots=True)
class OperatorCall(Generic[Q_co]):
    """What an operator asks for: the `actor`, by the key's name or the start of its digest."""

    request: Request
    policy: Policy
    actor: str
    clock: Clock
    query: Q_co

    def word(self, name: str) -> str:
        """What stands in the path in this place."""
        return str(self.request.path_params[name])

    def act(self) -> Act:
        """What the operator does now, by whose record it is known."""
        return Act(ids.new_change_id(), self.clock(), self.actor)


@dataclass(frozen=True, slots=True)
class TeamCall(Generic[Q_co]):
    """What a team asks of itself."""

    request: Request
    policy: Policy
    team: Team
    clock: Clock
    query: Q_co


class Confirmed(Protocol):
    """Whether the teams and keys in force are those of the ledger, which others may write too."""

    def is_fresh(self) -> bool: ...

    async def confirm(self) -> None:
        """Returns when they are. Raises `Unavailable`."""

    async def try_to_confirm(self) -> None:
        """Returns soon, when they are or cannot be had."""


class Always:
    """Where nobody else writes the ledger."""

    def is_fresh(self) -> bool:
        return True

    async def confirm(self) -> None:
        return

    async def try_to_confirm(self) -> None:
        return


ALWAYS: Final = Always()
READS: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Door:
    """Lets teams in; while nobody knows whether teams and keys are still the same, only who had a
    key before, and only to look."""

    current: Current
    confirmed: Confirmed

    async def team_of(self, request: Request) -> Team:
        """Raises `Unauthorized`, `Unavailable`."""
        if not self.confirmed.is_fresh():
            if request.method in READS:
                await self.confirmed.try_to_confirm()
                with suppress(Unauthorized):
                    return team_of(request, self.current)
            await self.confirmed.confirm()
        return team_of(request, self.current)


def let_in(endpoint: Endpoint, current: Current, confirmed: Confirmed = ALWAYS) -> Handler:
    """What serves the endpoint, behind the checks that its operation names.

    It is called with an `OperatorCall`, or with a `TeamCall` where a model tells what the query may
    say and with the request and its `Team` where none does. Where no team or operator is asked for,
    with the request alone: a scraper may need no key.
    """
    serve, asked = endpoint.handler, endpoint.operation.parameters
    match endpoint.operation.caller:
        case Caller.OPERATOR:
            return _for_operator(serve, asked if isinstance(asked, type) else NoParameters, current)
        case Caller.TEAM if isinstance(asked, type):
            return _for_team(serve, asked, Door(current, confirmed))
        case Caller.TEAM:
            return _for_client(serve, Door(current, confirmed))
        case Caller.SCRAPER | Caller.ANYONE:
            return serve


def _for_operator(serve: Handler, model: type[Query], current: Current) -> Handler:
    async def let_in_operator(request: Request) -> Response:
        policy = current.policy
        actor = operator_of(request, policy)
        query = read_query(request, model)
        return await serve(OperatorCall(request, policy, actor, current.clock, query))

    return let_in_operator


def _for_team(serve: Handler, model: type[Query], door: Door) -> Handler:
    current = door.current

    async def let_in_team(request: Request) -> Response:
        team = await door.team_of(request)
        query = read_query(request, model)
        return await serve(TeamCall(request, current.policy, team, current.clock, query))

    return let_in_team


def _for_client(serve: Handler, door: Door) -> Handler:
    async def let_in_client(request: Request) -> Response:
        return await serve(request, await door.team_of(request))

    return let_in_client
