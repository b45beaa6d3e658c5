"""An endpoint is said in one place: a section brings one, and it is everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2 as httpx
import pytest
from core_samples import a_policy
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.metrics import Metrics
from gateway.core.policy import Current
from gateway.errors import NotFound
from gateway.serving import InProcessServer
from gateway.web.app import build_app, labels
from gateway.web.chapters import WATCHING
from gateway.web.console_files import Console
from gateway.web.openapi.pages import with_description
from gateway.web.operation import Endpoint, Operation
from gateway.web.responses import json_response
from gateway.web.schema import OBJECT


class Weather:
    """A section of one endpoint."""

    @Operation(
        "GET /weather/{town}",
        WATCHING,
        "How the sky is",
        path_words={"town": "Where."},
        answer=OBJECT,
        errors=(NotFound,),
    )
    async def weather(self, request: Request) -> Response:
        town = request.path_params["town"]
        if town == "nowhere":
            raise NotFound("There is no such town.")
        return json_response({"town": town, "sky": "blue"})


class Nothing:
    """Stands for the stores, which this endpoint does not touch."""


@pytest.fixture
def current() -> Current:
    return Current(a_policy(), lambda: 0.0)


@pytest.fixture
def endpoints(current: Current) -> Sequence[Endpoint]:
    return with_description([Weather()], Console(), current)


@pytest.fixture
def metrics(current: Current, endpoints: Sequence[Endpoint]) -> Metrics:
    nothing: Any = Nothing()
    made = Metrics(ledger=nothing, pictures=nothing, cache=nothing, current=current)
    made.declare_routes(labels(endpoints))
    return made


@pytest.fixture
async def client(
    current: Current, endpoints: Sequence[Endpoint], metrics: Metrics
) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(endpoints, current=current, http_request=metrics.http_request)
    server = InProcessServer(app)
    await server.start()
    async with httpx.AsyncClient(base_url=server.base_url) as one:
        yield one
    await server.stop(1)


async def test_it_is_served(client: httpx.AsyncClient) -> None:
    assert (await client.get("/weather/paris")).json() == {"town": "paris", "sky": "blue"}
    assert (await client.head("/weather/paris/")).status_code == 200
    assert (await client.get("/weather/nowhere")).json()["error"]["code"] == "not_found"
    assert (await client.post("/weather/paris")).headers["allow"] == "GET, HEAD"


async def test_it_is_described(client: httpx.AsyncClient) -> None:
    doc = (await client.get("/openapi.json")).json()
    assert list(doc["paths"]) == ["/weather/{town}", "/openapi.json", "/docs"]
    told = doc["paths"]["/weather/{town}"]["get"]
    assert told["operationId"] == "get_weather_by_town"
    assert told["responses"]["404"]["description"] == "`not_found`"
    assert list(doc["components"]["schemas"]) == ["Error"]


async def test_it_is_counted(client: httpx.AsyncClient, metrics: Metrics) -> None:
    assert await counted(metrics) == 0
    await client.get("/weather/paris")
    assert await counted(metrics) == 1


async def counted(metrics: Metrics) -> float:
    """The requests that were answered 200. The series is there from the start."""
    labels = {"route": "/weather/{town}", "method": "GET", "status": "200"}
    text = (await metrics.render())[0].decode()
    [found] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "gateway_http_requests_total" and sample.labels == labels
    ]
    return found
