"""`GET /admin/v1/refusals`: the orders that were refused, or would have been."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.runs.history import Refusal
from gateway.ports.ledger import RefusalFilter
from gateway.services.runs import Runs
from gateway.web.calls import OperatorCall
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.query import Timed
from gateway.web.responses import page_response
from gateway.web.shown import instant


class AskedShape(TypedDict, total=False):
    """What was ordered, as far as it could be read: a field is there where it was said.

    `model`, `size`, `quality`, `n` and `prompt` are as they were sent, whatever that is, and
    `price_usd` is the most that it could cost. `prompt` is kept where prompts are logged.
    """

    model: Any
    size: Any
    quality: Any
    n: Any
    price_usd: float
    prompt: Any
    key: str
    key_label: str


class RefusalShape(TypedDict):
    """A refused order, by the id of its request; what went on all the same did so as `task`."""

    id: str
    request_id: str
    at: str
    team: str
    model: str
    verdict: str
    mode: str
    reason: str
    rule: str
    message: str
    param: str | None
    task: str | None
    asked: AskedShape


class RefusalsShape(TypedDict):
    data: list[RefusalShape]
    next: str | None


class RefusalsAsked(Timed):
    team: str | None = Field(None, description="Of this team.")
    verdict: Literal["denied", "invalid", "failed"] | None = Field(
        None, description="Denied by a rule, not a valid order at all, or failed at upstream."
    )
    reason: str | None = Field(None, description="Such as `budget` or `size_not_allowed`.")


class RefusedOrders:
    def __init__(self, records: Runs) -> None:
        self._records = records

    @Operation(
        "GET /admin/v1/refusals",
        USAGE,
        "Refused orders, newest first",
        query=RefusalsAsked,
        answer=RefusalsShape,
    )
    async def page(self, call: OperatorCall[RefusalsAsked]) -> Response:
        asked = call.query
        since, until = asked.between(call.clock(), call.policy.zone)
        found, last = await self._records.refusals(
            RefusalFilter(asked.team, asked.verdict, asked.reason, since, until),
            after=asked.after,
            limit=asked.limit,
        )
        return page_response([refusal_shape(one) for one in found], last)


def refusal_shape(one: Refusal) -> RefusalShape:
    return {
        "id": one.id,
        "request_id": one.request_id,
        "at": instant(one.at),
        "team": one.team,
        "model": one.model,
        "verdict": one.verdict,
        "mode": one.mode,
        "reason": one.reason,
        "rule": one.rule,
        "message": one.message,
        "param": one.param,
        "task": one.job_id,
        "asked": orjson.loads(one.asked),
    }
