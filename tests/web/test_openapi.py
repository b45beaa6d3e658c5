"""The described surface: it is all there, it is a valid document, and it describes what comes."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from openapi_spec_validator import validate
from served import DESCRIBED, SERVED

import gateway.web
from gateway.errors import GatewayError
from gateway.web.openapi.document import document
from gateway.web.openapi.links import LEADS
from gateway.web.operation import Caller, Operation
from gateway.web.remedies import REMEDIES
from gateway.web.schema import Component


@pytest.fixture(scope="module")
def doc() -> Mapping[str, Any]:
    return json.loads(json.dumps(document(SERVED)))


def test_it_is_openapi(doc: Mapping[str, Any]) -> None:
    validate(doc)


def test_it_explains_every_error_code(doc: Mapping[str, Any]) -> None:
    assert doc["x-error-codes"].keys() == REMEDIES.keys()
    assert doc["x-error-codes"]["insufficient_quota"]["statuses"] == [402, 429]


def test_every_operation_has_a_name_of_its_own() -> None:
    assert len({(one.method, one.path) for one in SERVED}) == len(SERVED)


def test_what_is_written_is_served() -> None:
    written = [
        method.operation.where
        for found in pkgutil.walk_packages(gateway.web.__path__, "gateway.web.")
        for kind in vars(importlib.import_module(found.name)).values()
        if isinstance(kind, type) and kind.__module__ == found.name
        for method in vars(kind).values()
        if isinstance(getattr(method, "operation", None), Operation)
    ]
    assert sorted(written) == sorted(one.where for one in SERVED)


def test_the_words_of_a_path_are_explained() -> None:
    for one in DESCRIBED:
        assert set(re.findall(r"\{(\w+)\}", one.path)) == set(one.path_words), one.path


def test_every_query_parameter_says_what_it_is() -> None:
    silent = [
        f"{one.path} {name}"
        for one in DESCRIBED
        if isinstance(one.parameters, type)
        for name, field in one.parameters.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_references_lead_somewhere(doc: Mapping[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(doc)))
    assert named <= set(doc["components"]["schemas"])


def components(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
        yield from components(value.schema)
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from components(one)


def test_a_name_stands_for_one_schema() -> None:
    named: dict[str, Component] = {}
    for one in DESCRIBED:
        for found in components([*one.answers.values(), *one.bodies.values()]):
            assert named.setdefault(found.name, found) == found
    assert {"Order", "Task", "NewTeam"} <= set(named)


def test_no_schema_is_unused(doc: Mapping[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(doc)))
    assert set(doc["components"]["schemas"]) <= named


def test_what_leads_on_leads_somewhere(doc: Mapping[str, Any]) -> None:
    """Each source and aim is served, and each word is one that the aim takes."""
    served = {one.where: one for one in DESCRIBED}
    for source, aims in LEADS.items():
        for where, asked in aims.items():
            aim, carried = served[where], served[source].path_words.keys()
            assert asked.keys() <= {*aim.path_words, *_asked(aim)}, where
            assert aim.path_words.keys() <= asked.keys() | carried, where
    links = [link for one in answers(doc) for link in one.get("links", {}).values()]
    assert len(links) > sum(map(len, LEADS.values()))  # pages lead to each other


def _asked(one: Operation) -> Iterator[str]:
    if isinstance(one.parameters, type):
        yield from one.parameters.model_fields
    else:
        yield from one.parameters


@pytest.mark.parametrize("source", LEADS)
def test_an_answer_has_what_leads_on(doc: Mapping[str, Any], source: str) -> None:
    method, _, path = source.partition(" ")
    answer = doc["paths"][path][method.lower()]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    for asked in LEADS[source].values():
        for pointer in asked.values():
            assert reached(doc, schema, pointer.strip("/").split("/")), pointer


def reached(doc: Mapping[str, Any], schema: Mapping[str, Any], steps: Sequence[str]) -> bool:
    """Whether the schema has something there; what it leaves open may have."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return reached(doc, doc["components"]["schemas"][name], steps)
    if not steps:
        return schema.get("type") == "string"
    if steps[0] == "0":
        return reached(doc, schema["items"], steps[1:])
    if "properties" not in schema:
        return True
    return steps[0] in schema["properties"] and reached(
        doc, schema["properties"][steps[0]], steps[1:]
    )


def answers(doc: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for operations in doc["paths"].values():
        for one in operations.values():
            yield from one["responses"].values()


def test_errors_name_codes_that_exist() -> None:
    for one in DESCRIBED:
        for error in one.every_error():
            assert issubclass(error, GatewayError)
            assert error.status >= 400


def test_keys_are_asked_for_where_the_contract_says(doc: Mapping[str, Any]) -> None:
    for one in DESCRIBED:
        if one.path.startswith("/admin/"):
            assert one.caller is Caller.OPERATOR, one.path
        elif re.match(r"/(v1|openai/v1|api/v1|team/v1)/", one.path):
            assert one.caller is Caller.TEAM, one.path
