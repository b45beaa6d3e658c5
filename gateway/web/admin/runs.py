"""`/admin/v1/runs` and `/admin/v1/runs/{id}`: what was done, why it went as it did, and taking its
words away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import orjson
from pydantic import Field
from starlette.responses import Response

from gateway.core.model import Failure, Job, Run, RunState, Verdict
from gateway.core.money.usd import dollars
from gateway.core.policy import Policy
from gateway.core.runs.explanation import Story, summary, timings
from gateway.core.runs.history import Step
from gateway.core.runs.routing import offers_for
from gateway.core.runs.showing import shown_state
from gateway.errors import InvalidRequest, NotFound
from gateway.ports.ledger import RunFilter
from gateway.services.erasure import Erasure, RunNotFound, RunUnderWay
from gateway.services.retries import Retrying, RunNotRetriable
from gateway.services.runs import Runs
from gateway.web.admin.refusals import refusal_shape
from gateway.web.admin.run_shapes import (
    ExplanationShape,
    FailureShape,
    RunShape,
    RunsShape,
    RunTaskShape,
    StepShape,
    TimingsShape,
    WholeRunShape,
)
from gateway.web.admin.unproven import set_aside_shape
from gateway.web.calls import OperatorCall
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Timed
from gateway.web.responses import json_response, page_response
from gateway.web.shown import instant, moment, offer, picture

PROMPT_CHARACTERS: Final = 200
"""As much of a prompt as a row of a list shows."""


class RunsAsked(Timed):
    team: str | None = Field(None, description="Runs that this team started.")
    model: str | None = Field(None, description="Of this model, by its public name.")
    state: str | None = Field(
        None, description=f"In this state, or in one of several: {', '.join(RunState)}."
    )
    verdict: Literal["hit", "joined", "started"] | None = Field(
        None, description="Runs that have a task with this verdict."
    )
    route: str | None = Field(None, description="On this route, such as `evolink/gpt-image-1.5`.")

    def filter(self, now: float, policy: Policy) -> RunFilter:
        """Raises `InvalidRequest`."""
        since, until = self.between(now, policy.zone)
        return RunFilter(
            team=self.team,
            model=self.model,
            states=_states(self.state),
            route=_route(self.route),
            verdict=None if self.verdict is None else Verdict(self.verdict),
            since=since,
            until=until,
        )


class RunPages:
    """`flush` writes down what refused orders are still waiting to be."""

    def __init__(
        self,
        records: Runs,
        retrying: Retrying,
        erasure: Erasure,
        *,
        flush: Callable[[], Awaitable[object]],
    ) -> None:
        self._records = records
        self._retrying = retrying
        self._erasure = erasure
        self._flush = flush

    @Operation("GET /admin/v1/runs", USAGE, "Runs, newest first", query=RunsAsked, answer=RunsShape)
    async def page(self, call: OperatorCall[RunsAsked]) -> Response:
        asked = call.query
        found, last = await self._records.runs(
            asked.filter(call.clock(), call.policy), after=asked.after, limit=asked.limit
        )
        return page_response([run_shape(run) for run in found], last)

    @Operation(
        "GET /admin/v1/runs/{id}",
        USAGE,
        "The way a decision went",
        path_words={"id": "Of a run, of a task, or the `X-Request-Id` of a refused order."},
        answer=ExplanationShape,
        errors=(NotFound,),
    )
    async def explain(self, call: OperatorCall[NoParameters]) -> Response:
        story = await self._records.story(call.word("id"))
        return json_response(explanation(story, call.policy))

    @Operation(
        "POST /admin/v1/runs/{id}/retry",
        USAGE,
        "Try a run again",
        "A run that was paid and whose pictures were lost: upstream is asked for fresh "
        "links, and what comes is kept. Nothing is ordered, held or paid again. A run that "
        "waits for a route is tried at once.",
        path_words={"id": "Of a run, or of a task."},
        answer=RunShape,
        errors=(NotFound, RunNotRetriable),
    )
    async def retry(self, call: OperatorCall[NoParameters]) -> Response:
        run = await self._retrying.retry(call.word("id"), call.act())
        return json_response(run_shape(run))

    @Operation(
        "DELETE /admin/v1/runs/{id}",
        USAGE,
        "Erase what was said of a run",
        "Of one that has ended, also of one that failed: its prompt, upstream's "
        "answers and every picture it made are gone for good; what was paid stays in the "
        "books.",
        path_words={"id": "Of a run or of one of its tasks."},
        answer=RunShape,
        errors=(RunNotFound, RunUnderWay),
    )
    async def erase(self, call: OperatorCall[NoParameters]) -> Response:
        await self._flush()
        erased = await self._erasure.erase_run(call.word("id"), call.act())
        return json_response(run_shape(erased))


def _states(text: str | None) -> tuple[RunState, ...]:
    try:
        return tuple(RunState(name.strip()) for name in text.split(",")) if text else ()
    except ValueError:
        message = f"'state' must be one or several of {', '.join(RunState)}."
        raise InvalidRequest(message, param="state") from None


def _route(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    upstream, slash, model = text.partition("/")
    if not slash:
        raise InvalidRequest("'route' must be an upstream and its model: a/b.", param="route")
    return upstream, model


def run_shape(run: Run) -> RunShape:
    """A run as a row of the list."""
    return {
        "id": run.id,
        "team": run.team,
        "model": run.model,
        "quality": run.quality,
        "n": run.n,
        "state": shown_state(run).value,
        "route": run.route,
        "prompt": _prompt(_request(run))[:PROMPT_CHARACTERS],
        "created_at": instant(run.created_at),
        "finished_at": moment(run.finished_at),
        "seconds": _seconds(timings(run).total),
        "price_usd": dollars(run.price_usd_micros),
        "held_usd": dollars(run.hold.usd_micros),
        "spent_usd": dollars(run.spent.usd_micros),
        "joins": sum(count for _, count in run.joins),
        "attempts": run.attempts,
        "failure": run.failure.code if run.failure else None,
    }


def explanation(story: Story, policy: Policy) -> ExplanationShape:
    if story.run is not None:
        story = replace(story, offers=offers_for(story.run, policy.catalog))
    return {
        "kind": "run" if story.refusal is None else "refusal",
        "summary": summary(story, policy.zone),
        "run": None if story.run is None else whole_run(story.run),
        "timings": None if story.run is None else _timings(story.run),
        "steps": [_step(one) for one in story.steps],
        "routes": [offer(one) for one in story.offers],
        "tasks": [_task(job) for job in story.jobs],
        "tasks_total": story.jobs_total,
        "pictures": [picture(one, policy.public_url) for one in story.pictures],
        "set_aside": [set_aside_shape(one) for one in story.set_aside],
        "refusal": None if story.refusal is None else refusal_shape(story.refusal),
        "others": [refusal_shape(one) for one in story.others],
    }


def whole_run(run: Run) -> WholeRunShape:
    request = _request(run)
    size = request.get("size")
    return {
        "id": run.id,
        "team": run.team,
        "model": run.model,
        "quality": run.quality,
        "size": size if isinstance(size, str) else None,
        "n": run.n,
        "state": shown_state(run).value,
        "route": run.route,
        "prompt": _prompt(request),
        "request": {"model": run.model, **request} if request else {},
        "created_at": instant(run.created_at),
        "accepted_at": moment(run.accepted_at),
        "upstream_finished_at": moment(run.upstream_finished_at),
        "finished_at": moment(run.finished_at),
        "deadline_at": instant(run.deadline_at),
        "seconds": _seconds(timings(run).total),
        "price_usd": dollars(run.price_usd_micros),
        "held_usd": dollars(run.hold.usd_micros),
        "spent_usd": dollars(run.spent.usd_micros),
        "joins": sum(count for _, count in run.joins),
        "attempts": run.attempts,
        "tried": list(run.tried),
        "upstream_task_id": run.upstream_task_id,
        "credits_used": run.credits_used,
        "shared": run.shared,
        "failure": None if run.failure is None else _failure(run.failure),
    }


def _failure(failure: Failure) -> FailureShape:
    return {
        "kind": failure.kind.value,
        "code": failure.code,
        "message": failure.message,
        "status": failure.status,
    }


def _timings(run: Run) -> TimingsShape:
    took = timings(run)
    return {
        "waiting_seconds": _seconds(took.waiting),
        "upstream_seconds": _seconds(took.upstream),
        "keeping_seconds": _seconds(took.keeping),
        "total_seconds": _seconds(took.total),
    }


def _step(step: Step) -> StepShape:
    return {
        "at": instant(step.at),
        "event": step.event,
        "before": step.before,
        "after": step.after,
        "route": step.route,
        "detail": step.detail,
    }


def _task(job: Job) -> RunTaskShape:
    return {
        "id": job.id,
        "team": job.team,
        "verdict": job.verdict.value,
        "created_at": instant(job.created_at),
        "labels": orjson.loads(job.labels),
    }


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _request(run: Run) -> Mapping[str, Any]:
    found = orjson.loads(run.request)
    return found if isinstance(found, dict) else {}


def _prompt(request: Mapping[str, Any]) -> str:
    """Empty where it was erased."""
    prompt = request.get("prompt")
    return prompt if isinstance(prompt, str) else ""
