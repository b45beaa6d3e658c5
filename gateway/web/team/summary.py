"""`/team/v1/summary` and `/team/v1/usage`: what a team may know of itself, by its own key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.catalog import ImageModel, Team
from gateway.core.money.usd import dollars
from gateway.core.orders.choices import FIELDS, beginning, is_automatic, offered
from gateway.core.orders.estimate import models_of
from gateway.core.policy import Policy
from gateway.ports.ledger import Reports, UsagePart
from gateway.services.standings import Standings, TeamStanding
from gateway.services.usage import report, saved_usd_micros
from gateway.web import usage_reports
from gateway.web.calls import TeamCall
from gateway.web.chapters import OWN
from gateway.web.evolink.account import MayOrderShape, may_order
from gateway.web.operation import Operation
from gateway.web.query import NoParameters
from gateway.web.responses import json_response
from gateway.web.shown import StandingShape, standing
from gateway.web.usage_reports import AS_CSV, UsageAsked, UsageShape, read_by

OWN_PARTS: Final = (UsagePart.DAY, UsagePart.MODEL)


class OfferShape(MayOrderShape):
    """A model as the team may use it, its lists in the order in which people look.

    `automatic` are fields that may be left to upstream, `beginning` what a form begins with.
    """

    id: str
    automatic: list[str]
    beginning: dict[str, str]
    max_image_urls: int
    prompt_tokens: int | None


class TeamSummaryShape(TypedDict):
    team: str
    mode: str
    standing: list[StandingShape]
    spent_usd: float
    spent_month_usd: float
    saved_usd: float
    models: list[OfferShape]
    timezone: str
    public_url: str


class OwnUsageAsked(UsageAsked):
    by: str = Field(
        ",".join(OWN_PARTS), description="What the rows are told apart by: day, model or both."
    )


class TeamPages:
    def __init__(self, ledger: Reports, standings: Standings) -> None:
        self._ledger = ledger
        self._standings = standings

    @Operation("GET /team/v1/summary", OWN, "How the team stands", answer=TeamSummaryShape)
    async def summary(self, call: TeamCall[NoParameters]) -> Response:
        saved = await saved_usd_micros(self._ledger, call.team.name)
        found = await self._standings.of(call.team)
        return json_response(summary_shape(call.team, found, saved, call.policy))

    @Operation(
        "GET /team/v1/usage",
        OWN,
        "The team's usage",
        query=OwnUsageAsked,
        answer=UsageShape,
        media=AS_CSV,
    )
    async def usage(self, call: TeamCall[OwnUsageAsked]) -> Response:
        asked = call.query
        by = read_by(asked.by, OWN_PARTS)
        days = asked.period(call.clock(), call.policy.zone)
        found = await report(self._ledger, days, by, team=call.team.name, model=asked.model)
        return await usage_reports.answer(call.request, asked, found)


def summary_shape(
    team: Team, found: TeamStanding, saved_usd_micros: int, policy: Policy
) -> TeamSummaryShape:
    return {
        "team": team.name,
        "mode": team.mode.value,
        "standing": [standing(one) for one in found.limits],
        "spent_usd": dollars(found.spent_usd_micros),
        "spent_month_usd": dollars(found.spent_month_usd_micros),
        "saved_usd": dollars(saved_usd_micros),
        "models": [offer(model, team) for model in models_of(team, policy)],
        "timezone": str(policy.zone),
        "public_url": policy.public_url,
    }


def offer(model: ImageModel, team: Team) -> OfferShape:
    """What of the model the team may use; prices are those of its cheapest route."""
    return {
        "id": model.name,
        **may_order(model, team),
        "sizes": _listed(offered(model, team, "size")),
        "qualities": _listed(offered(model, team, "quality")),
        "resolutions": _listed(offered(model, team, "resolution")),
        "automatic": [field for field in FIELDS if is_automatic(model, team, field)],
        "beginning": dict(beginning(model, team)),
        "max_image_urls": model.limits.max_image_urls,
        "prompt_tokens": model.limits.prompt_tokens,
    }


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
