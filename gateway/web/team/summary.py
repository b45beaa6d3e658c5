"""`/team/v1/summary` and `/team/v1/usage`: what a team may know of itself, by its own key."""

from __future__ import annotations

from typing import Final, cast

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.catalog import ImageModel, Team
from gateway.core.orders.estimate import models_of
from gateway.core.policy import Current, Policy
from gateway.ports.clock import Clock
from gateway.ports.ledger import Reports, UsagePart
from gateway.services.usage import Summary, period, report, summary
from gateway.web import usage_reports
from gateway.web.auth import team_of
from gateway.web.evolink.account import cheapest_rules
from gateway.web.query import NoParameters, read_query
from gateway.web.responses import json_response
from gateway.web.shapes import OfferShape, PriceShape, TeamSummaryShape
from gateway.web.shown import standing, usd
from gateway.web.usage_reports import UsageAsked, read_by

OWN_PARTS: Final = (UsagePart.DAY, UsagePart.MODEL)


class OwnUsageAsked(UsageAsked):
    by: str = Field(
        ",".join(OWN_PARTS), description="What the rows are told apart by: day, model or both."
    )


class TeamPages:
    def __init__(self, ledger: Reports, current: Current, clock: Clock) -> None:
        self._ledger = ledger
        self._current = current
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/team/v1/summary", self.summary, methods=["GET"]),
            Route("/team/v1/usage", self.usage, methods=["GET"]),
        ]

    async def summary(self, request: Request) -> Response:
        policy = self._current.policy
        team = team_of(request, self._current)
        read_query(request, NoParameters)
        found = await summary(self._ledger, team, now=self._clock(), zone=policy.zone)
        return json_response(summary_shape(team, found, policy))

    async def usage(self, request: Request) -> Response:
        policy = self._current.policy
        team = team_of(request, self._current)
        asked = read_query(request, OwnUsageAsked)
        by = read_by(asked.by, OWN_PARTS)
        days = period(asked.since, asked.until, now=self._clock(), zone=policy.zone)
        found = await report(self._ledger, days, by, team=team.name, model=asked.model)
        return await usage_reports.answer(request, asked, found)


def summary_shape(team: Team, found: Summary, policy: Policy) -> TeamSummaryShape:
    return {
        "team": team.name,
        "mode": team.mode.value,
        "standing": [standing(one) for one in found.standings],
        "spent_usd": usd(found.spent),
        "spent_month_usd": usd(found.spent_month),
        "saved_usd": usd(found.saved),
        "models": [offer(model, team) for model in models_of(team, policy)],
        "timezone": str(policy.zone),
        "public_url": policy.public_url,
    }


def offer(model: ImageModel, team: Team) -> OfferShape:
    """What of the model the team may use; prices are those of its cheapest route."""
    limits, allow = model.limits, team.allow
    return {
        "id": model.name,
        "sizes": _both(limits.sizes, allow.sizes),
        "qualities": _both(limits.qualities, allow.qualities),
        "max_n": limits.max_n if allow.max_n is None else min(limits.max_n, allow.max_n),
        "max_image_urls": limits.max_image_urls,
        "prompt_tokens": limits.prompt_tokens,
        "prices": [
            cast(PriceShape, {"usd": usd(rule.usd_micros), **dict(rule.match)})
            for rule in cheapest_rules(model)
        ],
    }


def _both(offered: frozenset[str] | None, allowed: frozenset[str] | None) -> list[str] | None:
    """What is in both lists; None is a list of everything."""
    if offered is None or allowed is None:
        either = allowed if offered is None else offered
        return None if either is None else sorted(either)
    return sorted(offered & allowed)
