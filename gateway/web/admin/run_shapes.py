"""The JSON of runs, as types: a row of the list, one run in full, and why it went as it did."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from gateway.web.admin.refusals import RefusalShape
from gateway.web.admin.unproven import SetAsideShape
from gateway.web.shown import PictureShape, RouteOfferShape


class RunShape(TypedDict):
    id: str
    team: str
    model: str
    quality: str
    n: int
    state: str
    route: str
    prompt: str
    created_at: str
    finished_at: str | None
    seconds: float | None
    price_usd: float
    held_usd: float
    spent_usd: float
    joins: int
    attempts: int
    failure: str | None


class RunsShape(TypedDict):
    data: list[RunShape]
    next: str | None


class FailureShape(TypedDict):
    kind: str
    code: str
    message: str
    status: int | None


class WholeRunShape(TypedDict):
    """Everything about a run; `failure` in full. `request` can be sent as it is, and is empty once
    it was erased."""

    id: str
    team: str
    model: str
    quality: str
    size: str | None
    n: int
    state: str
    route: str
    prompt: str
    request: dict[str, Any]
    created_at: str
    accepted_at: str | None
    upstream_finished_at: str | None
    finished_at: str | None
    deadline_at: str
    seconds: float | None
    price_usd: float
    held_usd: float
    spent_usd: float
    joins: int
    attempts: int
    tried: list[str]
    upstream_task_id: str | None
    credits_used: float | None
    shared: bool
    failure: FailureShape | None


class TimingsShape(TypedDict):
    """Seconds; None where the run has not come so far."""

    waiting_seconds: float | None
    upstream_seconds: float | None
    keeping_seconds: float | None
    total_seconds: float | None


class StepShape(TypedDict):
    at: str
    event: str
    before: str
    after: str
    route: str
    detail: str


class RunTaskShape(TypedDict):
    """`labels` are the order's `user`, `safety_identifier` and `metadata`, where it had them."""

    id: str
    team: str
    verdict: str
    created_at: str
    labels: dict[str, object]


class ExplanationShape(TypedDict):
    """Why an order went the way it did. `kind`: run or refusal; `summary` says it in words.

    `routes` are those that the run's model has now, in the order in which they are asked. `others`
    are further refusals whose requests are called alike.
    """

    kind: str
    summary: str
    run: WholeRunShape | None
    timings: TimingsShape | None
    steps: list[StepShape]
    routes: list[RouteOfferShape]
    tasks: list[RunTaskShape]
    tasks_total: int
    pictures: list[PictureShape]
    set_aside: list[SetAsideShape]
    refusal: RefusalShape | None
    others: list[RefusalShape]
