"""No handler has to look at keys: what its operation asks for is checked before it is called."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_type_hints

import httpx2 as httpx
import pytest
from core_samples import a_policy
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import gateway.web
from gateway.core.catalog import Team
from gateway.core.policy import Current, Grant
from gateway.errors import GatewayError
from gateway.web.app import routes
from gateway.web.calls import OperatorCall, TeamCall, let_in
from gateway.web.chapters import ORDERS, OWN, USAGE
from gateway.web.operation import Caller, Endpoint, Operation, endpoints_of
from gateway.web.query import NoParameters, Page

TEAM, OPERATOR = ({"Authorization": f"Bearer {who}"} for who in ("team", "operator"))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Forgetful:
    """Handlers that look at nothing."""

    @Operation("GET /orders", ORDERS, "Orders")
    async def orders(self, _: Request, team: Team) -> Response:
        return PlainTextResponse(team.name)

    @Operation("GET /own", OWN, "A team's own", query=Page)
    async def own(self, call: TeamCall[Page]) -> Response:
        return PlainTextResponse(f"{call.team.name} {call.query.limit} {call.clock()}")

    @Operation("POST /usage/{id}", USAGE, "Everybody's", path_words={"id": "Of what."})
    async def usage(self, call: OperatorCall[NoParameters]) -> Response:
        assert call.act().at == call.clock()
        return PlainTextResponse(f"{call.actor} {call.word('id')}")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    policy = a_policy(
        teams={"green": Team("green")},
        keys={digest("team"): Grant("green")},
        admin_keys={digest("operator"): ""},
    )
    current = Current(policy, lambda: 5.0)
    served = [Endpoint(one.operation, let_in(one, current)) for one in endpoints_of(Forgetful())]

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, GatewayError)
        return PlainTextResponse(error.message, status_code=error.status)

    app = Starlette(routes=routes(served), exception_handlers={GatewayError: refused})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as one:
        yield one


async def test_a_handler_is_told_who_calls(client: httpx.AsyncClient) -> None:
    assert (await client.get("/orders", headers=TEAM)).text == "green"
    assert (await client.get("/own?limit=7", headers=TEAM)).text == "green 7 5.0"
    actor = digest("operator")[:12]
    assert (await client.post("/usage/it", headers=OPERATOR)).text == f"{actor} it"


@pytest.mark.parametrize("path", ["/orders", "/own"])
async def test_a_teams_pages_open_to_teams_alone(client: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, OPERATOR, {"Authorization": "Bearer none"}):
        assert (await client.get(path, headers=headers)).status_code == 401


async def test_an_operators_pages_open_to_operators_alone(client: httpx.AsyncClient) -> None:
    for headers in ({}, TEAM, {"Authorization": "Bearer none"}):
        assert (await client.post("/usage/it", headers=headers)).status_code == 401


async def test_the_key_is_looked_at_before_the_query(client: httpx.AsyncClient) -> None:
    assert (await client.get("/own?no=1")).status_code == 401
    assert (await client.post("/usage/it?no=1")).status_code == 401
    assert (await client.get("/own?no=1", headers=TEAM)).status_code == 400
    assert (await client.post("/usage/it?no=1", headers=OPERATOR)).status_code == 400
    assert (await client.get("/orders?no=1", headers=TEAM)).status_code == 200


def test_every_handler_takes_what_its_operation_asks_for() -> None:
    wrong = []
    for method in written():
        first, *rest = [kind for name, kind in get_type_hints(method).items() if name != "return"]
        operation: Operation = method.operation
        asked = operation.parameters
        match operation.caller:
            case Caller.OPERATOR:
                right = (first, rest) == (OperatorCall[asked], [])
            case Caller.TEAM if isinstance(asked, type):
                right = (first, rest) == (TeamCall[asked], [])
            case Caller.TEAM:
                right = (first, rest) == (Request, [Team])
            case _:
                right = (first, rest) == (Request, [])
        wrong += [] if right else [operation.where]
    assert not wrong


def written() -> Iterator[Any]:
    """Every method of the web that serves an operation."""
    for found in pkgutil.walk_packages(gateway.web.__path__, "gateway.web."):
        for kind in vars(importlib.import_module(found.name)).values():
            if isinstance(kind, type) and kind.__module__ == found.name:
                yield from (one for one in vars(kind).values() if hasattr(one, "operation"))
