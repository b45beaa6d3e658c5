"""What leads where: of the answers to one operation, what the next one is asked with.

A value is where it stands in the answer, or of the first of a list. Words of a path that both have
are carried on, and the pages of a list lead to each other; neither is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.web.operation import Operation
from gateway.web.query import Page

Asked = Mapping[str, str]
"""Words of a path or a query by their names → JSON pointers into the answer."""

_TASK: Final = {"GET /v1/tasks/{task_id}": {"task_id": "/id"}}
_FIRST_TASK: Final = {"GET /v1/tasks/{task_id}": {"task_id": "/data/0/id"}}
_FILE: Final = {"DELETE /api/v1/files/{file_id}": {"file_id": "/data/file_id"}}
_OF_A_TEAM: Final = (
    "GET /admin/v1/teams/{team}",
    "PATCH /admin/v1/teams/{team}",
    "DELETE /admin/v1/teams/{team}",
    "GET /admin/v1/teams/{team}/keys",
    "POST /admin/v1/teams/{team}/keys",
)
_OF_A_KEY: Final = (
    "POST /admin/v1/teams/{team}/keys/{id}/rotate",
    "DELETE /admin/v1/teams/{team}/keys/{id}",
)
_OF_A_RUN: Final = (
    "GET /admin/v1/runs/{id}",
    "POST /admin/v1/runs/{id}/retry",
    "DELETE /admin/v1/runs/{id}",
)


def _each(operations: Iterable[str], **asked: str) -> Mapping[str, Asked]:
    return dict.fromkeys(operations, asked)


LEADS: Final[Mapping[str, Mapping[str, Asked]]] = {
    "POST /v1/images/generations": _TASK,
    "GET /v1/tasks": _FIRST_TASK,
    "POST /v1/tasks/batch": _FIRST_TASK,
    "GET /team/v1/orders": _FIRST_TASK,
    "GET /v1/models": _each(["GET /team/v1/prices/{model}"], model="/data/0/id"),
    "GET /openai/v1/models": _each(["GET /openai/v1/models/{model}"], model="/data/0/id"),
    "POST /api/v1/files/upload/base64": _FILE,
    "POST /api/v1/files/upload/stream": _FILE,
    "POST /api/v1/files/upload/url": _FILE,
    "GET /api/v1/files/list": _each(_FILE, file_id="/data/files/0/file_id"),
    "GET /admin/v1/teams": _each(_OF_A_TEAM, team="/data/0/name"),
    "POST /admin/v1/teams": _each(_OF_A_TEAM, team="/name"),
    "GET /admin/v1/teams/{team}/keys": _each(_OF_A_KEY, id="/data/0/id"),
    "POST /admin/v1/teams/{team}/keys": _each(_OF_A_KEY, id="/id"),
    "POST /admin/v1/teams/{team}/keys/{id}/rotate": _each(_OF_A_KEY, id="/id"),
    "GET /admin/v1/runs": _each(_OF_A_RUN, id="/data/0/id"),
    "GET /admin/v1/pictures": {
        **_each(["DELETE /admin/v1/pictures/{digest}"], digest="/data/0/digest"),
        **_each(_OF_A_RUN, id="/data/0/run"),
    },
    "GET /admin/v1/pictures/unproven": _each(
        ["GET /admin/v1/pictures/unproven/{name}"], name="/data/0/name"
    ),
    "GET /admin/v1/callbacks": _each(["POST /admin/v1/callbacks/{id}/redeliver"], id="/data/0/id"),
}


def links_of(one: Operation, named: Mapping[str, Operation]) -> Mapping[str, Any]:
    """The links from an operation's answer, by the names (of `named`) of where they lead."""
    leads = dict(LEADS.get(one.where, {}))
    if isinstance(one.parameters, type) and issubclass(one.parameters, Page):
        leads[one.where] = {"cursor": "/next"}
    return {
        name: {"operationId": name, "parameters": _parameters(one, aim, leads[aim.where])}
        for name, aim in named.items()
        if aim.where in leads
    }


def _parameters(one: Operation, aim: Operation, asked: Asked) -> Mapping[str, str]:
    carried = {word: f"$request.path.{word}" for word in aim.path_words if word in one.path_words}
    return carried | {word: f"$response.body#{pointer}" for word, pointer in asked.items()}
