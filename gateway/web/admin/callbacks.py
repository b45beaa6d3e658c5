"""`/admin/v1/callbacks`: what was called back and told, and calling once more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core import delivery
from gateway.core.model import Delivery, DeliveryState
from gateway.core.teams.changes import Act
from gateway.errors import NotFound
from gateway.ports.ledger import DeliveryFilter, Lists
from gateway.services.runs import page
from gateway.web.calls import OperatorCall
from gateway.web.chapters import STORES
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Page
from gateway.web.responses import json_response, page_response
from gateway.web.shown import instant, moment

Redeliver = Callable[[str, Act], Awaitable[Delivery | None]]
"""Begins a new series of attempts; None when there is no such delivery."""


class CallbackShape(TypedDict):
    """One call that is owed, or was made; of its URL only the host is told."""

    id: str
    kind: str
    task: str | None
    team: str
    host: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    created_at: str
    due_at: str
    ended_at: str | None


class CallbacksShape(TypedDict):
    data: list[CallbackShape]
    next: str | None


class CallbackNotFound(NotFound):
    code = "callback_not_found"


class FindCallbacks(Page):
    """Which callbacks and alerts."""

    team: str | None = Field(None, description="Of this team, or about it.")
    task: str | None = Field(None, description="Of this task.")
    state: DeliveryState | None = Field(
        None, description="Still pending, delivered, or failed for good."
    )


class CallbackHistory:
    def __init__(self, ledger: Lists, redeliver: Redeliver) -> None:
        self._ledger = ledger
        self._redeliver = redeliver

    @Operation(
        "GET /admin/v1/callbacks",
        STORES,
        "Callbacks and alerts, newest first",
        query=FindCallbacks,
        answer=CallbacksShape,
    )
    async def listed(self, call: OperatorCall[FindCallbacks]) -> Response:
        asked = call.query
        wanted = DeliveryFilter(asked.team, asked.task, asked.state)
        found, last = page(
            await self._ledger.deliveries(wanted, after=asked.after, limit=asked.limit + 1),
            asked.limit,
            lambda one: (one.created_at, one.id),
        )
        return page_response([callback_shape(one) for one in found], last)

    @Operation(
        "POST /admin/v1/callbacks/{id}/redeliver",
        STORES,
        "Deliver one again",
        path_words={"id": "Its `webhook-id`."},
        answer=CallbackShape,
        errors=(CallbackNotFound,),
    )
    async def redeliver(self, call: OperatorCall[NoParameters]) -> Response:
        found = await self._redeliver(call.word("id"), call.act())
        if found is None:
            message = "There is no callback and no alert with this id."
            raise CallbackNotFound(message, param="id")
        return json_response(callback_shape(found))


def callback_shape(one: Delivery) -> CallbackShape:
    """Of the URL only the host: receivers put secrets of theirs into path and query."""
    return {
        "id": one.id,
        "kind": "alert" if one.job_id is None else "callback",
        "task": one.job_id,
        "team": one.team,
        "host": delivery.receiver(one.url),
        "state": one.state.value,
        "attempts": one.attempts,
        "status": one.status,
        "error": one.error,
        "created_at": instant(one.created_at),
        "due_at": instant(one.due_at),
        "ended_at": moment(one.ended_at),
    }
