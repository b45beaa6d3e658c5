"""`/admin/v1/reconcile`: the ledger held against what upstream has on record, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.config import units
from gateway.core.instants import NEVER
from gateway.core.money.usd import dollars
from gateway.core.policy import Policy
from gateway.core.reconciling.findings import Different, Doubt, Extra, Missing, ModelSums
from gateway.core.stretches import TIMES, read_begin
from gateway.errors import InvalidRequest
from gateway.services.reconciling import Became, Question, Reconciled, Reconciling
from gateway.web.admin import BODY_BYTES
from gateway.web.calls import OperatorCall
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.query import MOMENT_WORDS, NoParameters, Query, read_json
from gateway.web.responses import json_response
from gateway.web.shown import instant

Age = Annotated[
    float,
    BeforeValidator(units.bounded(units.seconds, "0s", "30d"), json_schema_input_type=str),
]

A_DAY: Final = "24h"


class ReconcileAsked(Query):
    """What is compared."""

    upstream: str | None = Field(
        None, max_length=128, description="Only this one, by its name in the settings."
    )
    since: str = Field(
        A_DAY, description=f"From when on, at most 31 days ago; by default 24 hours. {MOMENT_WORDS}"
    )
    older_than: Age = Field(
        3600.0,
        description="How old a loss has to be for upstream's silence about it to be believed, as "
        "`30m` or `2h`; by default an hour. Its report may be late.",
        json_schema_extra={"default": "1h"},
    )

    def question(self, now: float, policy: Policy) -> Question:
        """Raises `InvalidRequest`."""
        try:
            since = read_begin(self.since, now=now, zone=policy.zone)
        except ValueError:
            raise InvalidRequest(f"'since' must be {TIMES}.", param="since") from None
        if since >= now:
            raise InvalidRequest("'since' has not come yet.", param="since")
        return Question(self.upstream, since, self.older_than)


class MissingShape(TypedDict):
    """What the ledger has and upstream has not: a run with its task, or how many requests."""

    model: str
    requests: int
    run: str | None
    team: str | None
    task: str | None
    at: str | None


class ExtraShape(TypedDict):
    """What upstream has and the ledger has not: a task, or so many requests of a minute.

    `may_be` are the doubtful runs that it could be.
    """

    at: str
    model: str
    requests: int
    task: str | None
    credits: float | None
    may_be: list[str]


class DifferentShape(TypedDict):
    """A task for which upstream counts other credits than the ledger."""

    run: str
    team: str
    task: str
    ours: float
    theirs: float


class SumsShape(TypedDict):
    """What both sides have of one model in all, where upstream only counts."""

    model: str
    their_requests: int
    our_requests: int
    their_images: int
    our_images: int


class DoubtShape(TypedDict):
    """A run whose outcome is unknown. `conclusion` is taken, not_taken or unknown; `became` what
    was done about it: freed, confirmed, fetching (confirmed, and its pictures are asked for),
    changed (it was in doubt no more), or null."""

    run: str
    team: str
    model: str
    sent_at: str
    lost_at: str | None
    spent_usd: float
    conclusion: str
    reason: str
    task: str | None
    became: str | None


class ReconciledShape(TypedDict):
    """One upstream. `problem` says why nothing was compared; else `since` is how far back its
    record goes, and `compared` how many runs of the ledger were looked for in it."""

    upstream: str
    problem: str | None
    since: str | None
    compared: int
    missing: list[MissingShape]
    extra: list[ExtraShape]
    different: list[DifferentShape]
    doubts: list[DoubtShape]
    sums: list[SumsShape]


class ReconcileShape(TypedDict):
    """`applied`: what could be concluded of doubts was done. `differs`: something is left."""

    applied: bool
    differs: bool
    upstreams: list[ReconciledShape]


class ReconcilePages:
    def __init__(self, reconciling: Reconciling) -> None:
        self._reconciling = reconciling

    @Operation(
        "GET /admin/v1/reconcile",
        USAGE,
        "Hold the ledger against upstream's record",
        "What is missing there, extra or different, and what it says of runs whose outcome is "
        "unknown. Changes nothing.",
        query=ReconcileAsked,
        answer=ReconcileShape,
    )
    async def compare(self, call: OperatorCall[ReconcileAsked]) -> Response:
        asked = call.query.question(call.clock(), call.policy)
        return json_response(_shape(await self._reconciling.look(asked), applied=False))

    @Operation(
        "POST /admin/v1/reconcile",
        USAGE,
        "Free or confirm doubtful money",
        "The same comparison. A run whose outcome is unknown and that upstream certainly did not "
        "take costs nothing any more; one that it has on record is confirmed, and its pictures are "
        "asked for where its task is known. Whatever is not certain stays spent. Safe to repeat.",
        body=ReconcileAsked,
        answer=ReconcileShape,
    )
    async def apply(self, call: OperatorCall[NoParameters]) -> Response:
        body = await read_json(call.request, ReconcileAsked, BODY_BYTES)
        asked = body.question(call.clock(), call.policy)
        return json_response(
            _shape(await self._reconciling.settle(asked, call.act()), applied=True)
        )


def _shape(found: Sequence[Reconciled], *, applied: bool) -> ReconcileShape:
    return {
        "applied": applied,
        "differs": any(one.differs for one in found),
        "upstreams": [_upstream(one) for one in found],
    }


def _upstream(one: Reconciled) -> ReconciledShape:
    found = one.found
    return {
        "upstream": one.upstream,
        "problem": one.problem,
        "since": instant(found.since) if found else None,
        "compared": found.compared if found else 0,
        "missing": [_missing(each) for each in found.missing] if found else [],
        "extra": [_extra(each) for each in one.extra],
        "different": [_different(each) for each in found.different] if found else [],
        "doubts": [_doubt(each, one.became.get(each.work.run_id)) for each in found.doubts]
        if found
        else [],
        "sums": [_sums(each) for each in found.sums] if found else [],
    }


def _sums(one: ModelSums) -> SumsShape:
    return {
        "model": one.model,
        "their_requests": one.their_requests,
        "our_requests": one.our_requests,
        "their_images": one.their_images,
        "our_images": one.our_images,
    }


def _missing(one: Missing) -> MissingShape:
    work = one.work
    return {
        "model": one.model,
        "requests": one.requests,
        "run": work.run_id if work else None,
        "team": work.team if work else None,
        "task": work.task_id if work else None,
        "at": instant(work.began) if work else None,
    }


def _extra(one: Extra) -> ExtraShape:
    return {
        "at": instant(one.at),
        "model": one.model,
        "requests": one.requests,
        "task": one.task.id if one.task else None,
        "credits": one.task.credits if one.task else None,
        "may_be": list(one.may_be),
    }


def _different(one: Different) -> DifferentShape:
    return {
        "run": one.work.run_id,
        "team": one.work.team,
        "task": one.task.id,
        "ours": one.work.credits or 0.0,
        "theirs": one.task.credits or 0.0,
    }


def _doubt(one: Doubt, became: Became | None) -> DoubtShape:
    work = one.work
    return {
        "run": work.run_id,
        "team": work.team,
        "model": work.model,
        "sent_at": instant(work.began),
        "lost_at": None if work.ended == NEVER else instant(work.ended),
        "spent_usd": dollars(work.spent_usd_micros),
        "conclusion": one.conclusion.value,
        "reason": one.reason,
        "task": one.task.id if one.task else None,
        "became": None if became is None else became.value,
    }
