"""`GET /team/v1/orders`: what the team ordered, what became of it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.model import Job, Run, RunState, Task, Verdict
from gateway.core.money.usd import dollars
from gateway.errors import InvalidRequest
from gateway.ports.ledger import Lists
from gateway.services.runs import light_page
from gateway.web.calls import TeamCall
from gateway.web.chapters import OWN
from gateway.web.evolink import wire
from gateway.web.operation import Operation
from gateway.web.query import Page
from gateway.web.responses import page_response
from gateway.web.shown import instant, moment


class OrdersAsked(Page):
    task: str | None = Field(
        None, max_length=200, description="The order with this task id alone, or none."
    )


class OrderFailureShape(TypedDict):
    code: str
    message: str


class OrderPictureShape(TypedDict):
    digest: str
    url: str
    width: int
    height: int
    size_bytes: int


class OrderShape(TypedDict):
    """An order that was taken. `prompt` is empty where it was erased; `settings` are its other
    fields, defaults filled in. `price_usd` is what it cost, or may cost at most while it is under
    way; `saved_usd` is None while that is not known. `user` is whom the order named.
    """

    id: str
    created_at: str
    finished_at: str | None
    model: str
    prompt: str
    settings: dict[str, Any]
    verdict: str
    state: str
    progress: int
    price_usd: float
    saved_usd: float | None
    failure: OrderFailureShape | None
    pictures: list[OrderPictureShape]
    user: str | None


class OrdersShape(TypedDict):
    data: list[OrderShape]
    next: str | None


class OwnOrders:
    def __init__(self, ledger: Lists) -> None:
        self._ledger = ledger

    @Operation(
        "GET /team/v1/orders",
        OWN,
        "The team's orders, newest first",
        "Those that were taken, with what they said and what became of them. Refused ones have no "
        "task and are not among them.",
        query=OrdersAsked,
        answer=OrdersShape,
    )
    async def listed(self, call: TeamCall[OrdersAsked]) -> Response:
        asked, team, base = call.query, call.team.name, call.policy.public_url
        if asked.task is not None:
            if asked.cursor is not None:
                raise InvalidRequest("With a 'task' there is no 'cursor'.", param="cursor")
            own = await self._ledger.jobs(team, [asked.task])
            return page_response([order_shape(one, base, call.clock()) for one in own], None)
        found, last = await light_page(
            lambda mark, count: self._ledger.orders(team, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda one: (one.job.created_at, one.job.id),
            weigh=lambda one: len(one.run.request) + len(one.run.task),
        )
        return page_response([order_shape(one, base, call.clock()) for one in found], last)


def order_shape(task: Task, public_url: str, now: float) -> OrderShape:
    job, run = task
    row, request = wire.task_row(job, run, now), _request(run)
    return {
        "id": job.id,
        "created_at": instant(job.created_at),
        "finished_at": moment(max(job.created_at, run.finished_at)) if run.finished_at else None,
        "model": run.model,
        "prompt": _text(request.get("prompt")) or "",
        "settings": {name: value for name, value in request.items() if name != "prompt"},
        "verdict": job.verdict.value,
        "state": str(row["status"]),
        "progress": cast("int", row["progress"]),
        "price_usd": dollars(_price_usd_micros(job, run)),
        "saved_usd": _saved_usd(job, run),
        "failure": _failure(run),
        "pictures": _pictures(run, public_url),
        "user": _text(orjson.loads(job.labels).get("user")),
    }


def _request(run: Run) -> Mapping[str, Any]:
    found = orjson.loads(run.request)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _price_usd_micros(job: Job, run: Run) -> int:
    """Whoever was answered with another's run, or waits for it, pays nothing."""
    if job.verdict is not Verdict.STARTED:
        return 0
    return run.spent.usd_micros + run.hold.usd_micros


def _saved_usd(job: Job, run: Run) -> float | None:
    if job.verdict is Verdict.STARTED or run.state is RunState.FAILED:
        return 0.0
    return dollars(run.spent.usd_micros) if run.state is RunState.DONE else None


def _failure(run: Run) -> OrderFailureShape | None:
    if run.state is not RunState.FAILED or run.failure is None:
        return None
    return {"code": run.failure.code, "message": run.failure.message}


def _pictures(run: Run, public_url: str) -> list[OrderPictureShape]:
    """Those of a run that is done: until then the order has none."""
    if run.state is not RunState.DONE:
        return []
    return [
        {
            "digest": one.digest,
            "url": f"{public_url}/pictures/{one.name}",
            "width": one.width,
            "height": one.height,
            "size_bytes": one.size_bytes,
        }
        for one in run.pictures
    ]
