"""A team's own tasks, many at a time: `GET /v1/tasks` and `POST /v1/tasks/batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.catalog import Catalog, Team
from gateway.core.model import RunState
from gateway.core.policy import Current
from gateway.errors import InvalidRequest
from gateway.services.tasks import TaskFilter, Tasks
from gateway.web.body import Bodies
from gateway.web.chapters import ORDERS
from gateway.web.evolink import wire
from gateway.web.operation import Operation
from gateway.web.responses import json_response
from gateway.web.schema import INTEGER, NUMBER, OBJECT, STRING, Component, listed, open_object, text

MAX_AT_ONCE: Final = 50
"""Rows of a page, ids of a batch: upstream's own limits."""

PAGE_SIZE: Final = 20
MAX_PAGE: Final = 1_000_000

_STATUS: Final = {**STRING, "enum": sorted(wire.STATES_OF_STATUS)}

TASK: Final = Component(
    "Task",
    open_object(
        {
            "id": text("The task's id."),
            "object": {"const": "image.generation.task"},
            "type": {"const": "image"},
            "model": text("The public name of the model."),
            "status": _STATUS,
            "progress": {**INTEGER, "minimum": 0, "maximum": 100},
            "created": {**INTEGER, "description": "Unix seconds."},
            "results": listed(STRING, description="Permanent links."),
            "result_data": listed(OBJECT),
            "task_info": OBJECT,
            "usage": OBJECT,
            "error": open_object({"code": STRING, "message": STRING}),
        },
        ["id", "model", "status", "progress", "created"],
    ),
)
_ROW: Final = {
    "id": STRING,
    "status": _STATUS,
    "model": STRING,
    "type": STRING,
    "progress": INTEGER,
    "created_at": INTEGER,
    "has_results": {"type": "boolean"},
    "has_error": {"type": "boolean"},
    "credits_used": NUMBER,
}
_PAGE: Final = {
    "data": listed(Component("TaskRow", open_object(_ROW, ["id", "status"]))),
    "total": INTEGER,
    "page": INTEGER,
    "page_size": INTEGER,
}
_PAGE_ASKED: Final = {
    "status": _STATUS,
    "type": {**STRING, "enum": [wire.TASK_TYPE]},
    "model": STRING,
    "page": {**INTEGER, "minimum": 1, "default": 1},
    "page_size": {**INTEGER, "minimum": 1, "maximum": MAX_AT_ONCE, "default": PAGE_SIZE},
}
_IDS: Final = {"task_ids": listed(STRING, minItems=1, maxItems=MAX_AT_ONCE)}


class TaskLists:
    def __init__(self, tasks: Tasks, current: Current, bodies: Bodies) -> None:
        self._tasks = tasks
        self._bodies = bodies
        self._current = current

    @Operation(
        "GET /v1/tasks",
        ORDERS,
        "The team's tasks, newest first",
        query=_PAGE_ASKED,
        answer=open_object(_PAGE, list(_PAGE)),
    )
    async def page(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        query = request.query_params
        read_type(query)
        asked = TaskFilter(
            states=read_status(query),
            model=read_model(query, policy.catalog),
            page=read_whole(query, "page", usual=1, most=MAX_PAGE),
            page_size=read_whole(query, "page_size", usual=PAGE_SIZE, most=MAX_AT_ONCE),
        )
        found, total = await self._tasks.page(team, asked)
        now = self._current.clock()
        rows = [wire.task_row(one.job, one.run, now) for one in found]
        shown = {"data": rows, "page": asked.page, "page_size": asked.page_size, "total": total}
        return json_response(shown)

    @Operation(
        "POST /v1/tasks/batch",
        ORDERS,
        "Several tasks at once",
        body=open_object(_IDS, list(_IDS)),
        answer=open_object({"data": listed(TASK)}, ["data"]),
    )
    async def batch(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        body = await self._bodies.read_json(request, policy.body_limit_bytes, team.name)
        ids = read_ids(body)
        found = await self._tasks.batch(team, ids)
        now, base = self._current.clock(), policy.public_url
        tasks = [wire.task_object(one.job, one.run, base, now) for one in found]
        return json_response({"data": tasks})


def read_status(query: QueryParams) -> Sequence[RunState]:
    """The states of the runs that are asked for; without `status` all."""
    status = query.get("status")
    if not status:
        return tuple(RunState)
    if status not in wire.STATES_OF_STATUS:
        known = ", ".join(wire.STATES_OF_STATUS)
        raise InvalidRequest(f"'status' must be one of {known}.", param="status")
    return wire.STATES_OF_STATUS[status]


def read_type(query: QueryParams) -> None:
    """There is one type of task; to ask for another is a mistake worth telling."""
    if query.get("type") not in (None, "", wire.TASK_TYPE):
        raise InvalidRequest(f"'type' must be {wire.TASK_TYPE}: there are no others.", param="type")


def read_model(query: QueryParams, catalog: Catalog) -> str | None:
    """The public name of the model that is asked for, by that or by an alias."""
    name = query.get("model")
    if not name:
        return None
    if (model := catalog.find(name)) is None:
        known = ", ".join(sorted(catalog.models))
        raise InvalidRequest(f"'model' must be one of {known}.", param="model")
    return model.name


def read_whole(query: QueryParams, name: str, *, usual: int, most: int) -> int:
    """A whole number from 1 to `most`; `usual` where there is none."""
    text = query.get(name)
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise InvalidRequest(f"'{name}' must be a whole number from 1 to {most}.", param=name)
    return int(text)


def read_ids(body: object) -> Sequence[str]:
    """The task ids of a batch, without doubles."""
    ids = body.get("task_ids") if isinstance(body, dict) else None
    if (
        not isinstance(ids, list)
        or not 1 <= len(ids) <= MAX_AT_ONCE
        or not all(isinstance(one, str) for one in ids)
    ):
        raise InvalidRequest(
            f"'task_ids' must be a list of 1 to {MAX_AT_ONCE} task ids.", param="task_ids"
        )
    return list(dict.fromkeys(ids))
