"""`/openapi.json` against the running gateway: every path is there, and answers as described."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx2 as httpx
import pytest
import pytest_asyncio
from house import ADMIN_KEY, FAST, OTHER_KEY, TEAM_KEY, House, house
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from served import DESCRIBED

from gateway.web.dialects import OURS, dialect_of
from gateway.web.operation import JSON, Caller, Operation

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOR_PEOPLE: Final = {"/console", "/console/{asset:path}", "/docs/"}
KEYS: Final = {
    Caller.TEAM: TEAM_KEY,
    Caller.OPERATOR: ADMIN_KEY,
    Caller.SCRAPER: ADMIN_KEY,
    Caller.ANYONE: "",
}
SLOW_TO_REACH: Final = {"/callbacks/{token}", "/pictures/{name}"}
READ: Final = [
    one
    for one in DESCRIBED
    if one.method == "GET" and JSON in one.answers and one.path not in SLOW_TO_REACH
]
CLOSED: Final = [one for one in DESCRIBED if one.caller in (Caller.TEAM, Caller.OPERATOR)]


def name(one: Operation) -> str:
    return f"{one.method} {one.path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived_in(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[House, Mapping[str, str]]]:
    """A gateway that has seen something of everything, and the ids of some of it."""
    async with house(tmp_path_factory.mktemp("described"), options=FAST) as one:
        task = await one.made("a lighthouse")
        await one.made("a lighthouse")
        await one.post("")
        admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
        await one.client.post("/admin/v1/teams", json={"name": "red"}, headers=admin)
        issued = await one.client.post(
            "/admin/v1/teams/red/keys", json={"label": "ci"}, headers=admin
        )
        runs = (await one.client.get("/admin/v1/runs", headers=admin)).json()["data"]
        pictures = (await one.client.get("/admin/v1/pictures", headers=admin)).json()["data"]
        yield (
            one,
            {
                "task_id": task["id"],
                "model": "gpt-image-1.5",
                "team": "red",
                "/admin/v1/teams": issued.json()["id"],
                "/admin/v1/runs": runs[0]["id"],
                "digest": pictures[0]["digest"],
            },
        )


async def ask(one: House, operation: Operation, path: str, key: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return await one.client.request(operation.method, path, headers=headers, **more)


def filled(path: str, ids: Mapping[str, str]) -> str:
    """The path with the ids in it; `{id}` is of what the path is about."""
    about = next((ids[start] for start in ids if path.startswith(start)), "none")
    return re.sub(r"\{(\w+)\}", lambda match: ids.get(match[1], about), path)


async def test_every_path_is_described(lived_in: tuple[House, Mapping[str, str]]) -> None:
    one, _ = lived_in
    doc = (await one.client.get("/openapi.json")).json()
    described = {
        (method.upper(), path) for path, methods in doc["paths"].items() for method in methods
    }
    served = {(each.operation.method, each.operation.path) for each in one.gateway.endpoints}
    assert {each for each in served if each[1] not in FOR_PEOPLE} == described


@pytest.mark.parametrize("operation", READ, ids=name)
async def test_answers_are_as_described(
    lived_in: tuple[House, Mapping[str, str]], operation: Operation
) -> None:
    one, ids = lived_in
    doc = (await one.client.get("/openapi.json")).json()
    answer = await ask(one, operation, filled(operation.path, ids), KEYS[operation.caller])
    assert answer.status_code == 200, answer.text
    path = operation.path.replace("~", "~0").replace("/", "~1")
    place = f"/paths/{path}/get/responses/200/content/application~1json/schema"
    resource = Resource(contents=doc, specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:doc", resource)
    checker = Draft202012Validator({"$ref": f"urn:doc#{quote(place)}"}, registry=registry)
    checker.validate(answer.json())


@pytest.mark.parametrize("operation", CLOSED, ids=name)
async def test_no_door_opens_to_another_key(
    lived_in: tuple[House, Mapping[str, str]], operation: Operation
) -> None:
    one, ids = lived_in
    wrong = {Caller.TEAM: ADMIN_KEY, Caller.OPERATOR: OTHER_KEY}[operation.caller]
    for key in ("", "nobody", wrong):
        answer = await ask(one, operation, filled(operation.path, ids), key, content=b"{}")
        assert answer.status_code == 401, f"{key}: {answer.text}"
        if dialect_of(operation.path) is OURS:
            assert answer.json()["error"]["code"] == "unauthorized"


STRICT: Final = [one for one in DESCRIBED if isinstance(one.parameters, type)]


@pytest.mark.parametrize("operation", STRICT, ids=name)
async def test_unknown_parameters_are_named(
    lived_in: tuple[House, Mapping[str, str]], operation: Operation
) -> None:
    one, ids = lived_in
    path = filled(operation.path, ids)
    answer = await ask(one, operation, path, KEYS[operation.caller], params={"colour": "red"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "colour"


@pytest.mark.parametrize("operation", STRICT, ids=name)
async def test_values_beyond_their_bounds_are_refused(
    lived_in: tuple[House, Mapping[str, str]], operation: Operation
) -> None:
    one, ids = lived_in
    assert isinstance(operation.parameters, type)
    bounded = [("limit", "0"), ("limit", "x"), ("cursor", "???"), ("from", "some-day")]
    known = {field.alias or label for label, field in operation.parameters.model_fields.items()}
    for parameter, value in bounded:
        if parameter in known:
            path = filled(operation.path, ids)
            given = {parameter: value}
            answer = await ask(one, operation, path, KEYS[operation.caller], params=given)
            assert answer.status_code == 400, f"{given}: {answer.text}"
            assert answer.json()["error"]["param"] == parameter
