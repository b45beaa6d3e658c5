"""`POST /v1/images/estimate`, `GET /v1/credits`, `GET /v1/models`: asking costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NotRequired, cast

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.catalog import ImageModel, Team
from gateway.core.instants import rfc3339_if_ever
from gateway.core.money.accounts import USD_MICROS
from gateway.core.money.budgets import Standing
from gateway.core.money.usd import dollars
from gateway.core.orders.choices import quality_prices
from gateway.core.orders.defaults import allowed, defaults, most, must_say
from gateway.core.orders.estimate import Estimate, models_of
from gateway.core.policy import Current
from gateway.errors import InvalidRequest, Unavailable
from gateway.services.orders import Orders
from gateway.services.standings import Standings, TeamStanding
from gateway.web.body import Bodies
from gateway.web.chapters import ENQUIRIES
from gateway.web.evolink import wire
from gateway.web.evolink.images import FRESHNESS, ORDER
from gateway.web.operation import Operation
from gateway.web.responses import json_response
from gateway.web.schema import (
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    USD,
    Component,
    listed,
    null_or,
    open_object,
    text,
)
from gateway.web.shown import offer, standing

CREDITS_PER_USD: Final = 68
"""Upstream's own clients reckon with this; credits are only shown here, never reckoned with."""

_LIMIT: Final = {
    "rule": text("Such as `usd_per_day`."),
    "unit": text("usd, images, runs or live."),
    "window": STRING,
    "limit": NUMBER,
    "spent": NUMBER,
    "held": NUMBER,
    "left": NUMBER,
}
_RESETS_AT: Final = {"resets_at": null_or(STRING)}
LIMIT: Final = Component(
    "Limit",
    open_object(
        {**_LIMIT, **_RESETS_AT},
        list(_LIMIT),
        text="How the team stands with one limit: dollars for `usd`, else counts.",
    ),
)
_PRICE: Final = null_or(USD)
ESTIMATE: Final = Component(
    "Estimate",
    open_object(
        {
            "object": {"const": "image.generation.estimate"},
            "model": STRING,
            "n": INTEGER,
            "order": {
                **OBJECT,
                "description": "The order as it would be made, with defaults.",
            },
            "verdict": {
                **STRING,
                "enum": ["hit", "join", "start", "deny", "unknown"],
                "description": "What would become of the order now.",
            },
            "price_usd": {**_PRICE, "description": "A new run's price at most."},
            "cost_usd": {**_PRICE, "description": "What this order would cost."},
            "budgets": listed(LIMIT),
            "routes": listed(
                open_object(
                    {
                        "name": STRING,
                        "kind": STRING,
                        "price_usd": {**_PRICE, "description": "At most, for the whole order."},
                        "skipped": {
                            **null_or(STRING),
                            "description": "Why the order would not go there.",
                        },
                    },
                    ["name", "kind"],
                ),
                description="Where the pictures could be made, in the order in which it is asked.",
            ),
            "denial": open_object(
                {
                    "rule": STRING,
                    "reason": STRING,
                    "message": STRING,
                    **_RESETS_AT,
                    "enforced": {"type": "boolean"},
                }
            ),
        },
        ["verdict", "price_usd", "cost_usd", "budgets", "routes"],
    ),
)
CREDITS: Final = Component(
    "Credits",
    open_object(
        {
            "data": open_object({"token": OBJECT, "user": OBJECT}),
            "message": STRING,
            "success": {"type": "boolean"},
        },
        ["data"],
    ),
)
_NAMES: Final = null_or(listed(STRING))
MODEL: Final = Component(
    "Model",
    open_object(
        {
            "id": STRING,
            "object": {"const": "model"},
            "owned_by": STRING,
            "max_n": INTEGER,
            "sizes": _NAMES,
            "size_aliases": {
                **OBJECT,
                "additionalProperties": STRING,
                "description": "Further names of sizes, each with the size that is ordered by it; "
                "absent without any.",
            },
            "qualities": _NAMES,
            "resolutions": _NAMES,
            "defaults": {**OBJECT, "description": "What is filled in where an order says nothing."},
            "required": listed(STRING, description="What an order has to say besides its prompt."),
            "prices": listed(open_object({"usd": USD}, ["usd"])),
            "usd_by_quality": {
                **OBJECT,
                "additionalProperties": USD,
                "description": "What a picture of each quality costs at most, with all else left "
                "out; a quality without a price is not there.",
            },
        },
        ["id", "object"],
        text="What this team may order of it: null is a list that upstream judges.",
    ),
)
_MODELS: Final = open_object({"data": listed(MODEL), "object": {"const": "list"}}, ["data"])


class PriceShape(TypedDict):
    """US dollars per picture for these values; the first that fits counts."""

    usd: float
    size: NotRequired[str]
    quality: NotRequired[str]
    resolution: NotRequired[str]


class AccountPages:
    def __init__(
        self, service: Orders, standings: Standings, current: Current, bodies: Bodies
    ) -> None:
        self._service = service
        self._standings = standings
        self._bodies = bodies
        self._current = current

    @Operation(
        "POST /v1/images/estimate",
        ENQUIRIES,
        "What an order would come to",
        "Takes the body of an order. Spends nothing, reserves nothing.",
        headers=(FRESHNESS,),
        body=ORDER,
        answer=ESTIMATE,
        errors=(InvalidRequest, Unavailable),
    )
    async def estimate(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        body = await self._bodies.read_json(request, policy.body_limit_bytes, team.name)
        freshness = wire.read_freshness(request.headers)
        found = await self._service.estimate(team, body, freshness)
        return json_response(estimate_object(found, await self._standings.of(team)))

    @Operation(
        "GET /v1/credits",
        ENQUIRIES,
        "What is left, in upstream's shape",
        answer=CREDITS,
        errors=(Unavailable,),
    )
    async def credits(self, _: Request, team: Team) -> Response:
        return json_response(credits_object(await self._standings.of(team)))

    @Operation(
        "GET /v1/models",
        ENQUIRIES,
        "The models that the team may use",
        "With the values that it may order, what is filled in, and the prices.",
        answer=_MODELS,
    )
    async def models(self, _: Request, team: Team) -> Response:
        policy = self._current.policy
        listed = [model_object(model, team) for model in models_of(team, policy)]
        return json_response({"data": listed, "object": "list"})


def estimate_object(estimate: Estimate, team: TeamStanding) -> Mapping[str, object]:
    """The estimate as JSON; `cost_usd` is what this order would cost, `price_usd` a new run."""
    ceiling = estimate.ceiling_usd_micros
    price = None if ceiling is None else dollars(ceiling)
    shown: dict[str, object] = {
        "object": "image.generation.estimate",
        "model": estimate.order.model,
        "n": estimate.order.n,
        "order": {**estimate.order.body, "model": estimate.order.model, "n": estimate.order.n},
        "verdict": estimate.verdict,
        "price_usd": price,
        "cost_usd": price if estimate.verdict == "start" else 0,
        "budgets": [_budget(one) for one in team.limits],
        "routes": [offer(one) for one in estimate.offers],
    }
    if estimate.denial is not None:
        error = estimate.denial
        shown["denial"] = {
            "rule": error.rule,
            "reason": str(error.reason),
            "message": error.message,
            "resets_at": rfc3339_if_ever(error.frees_at),
            "enforced": estimate.verdict == "deny",
        }
    return shown


def _budget(one: Standing) -> Mapping[str, object]:
    """One limit as on other pages; what it counts is called `unit` here."""
    shown = standing(one)
    return {("unit" if name == "measure" else name): value for name, value in shown.items()}


def credits_object(team: TeamStanding) -> Mapping[str, object]:
    """Upstream's shape, answered for the team: what its tightest budget leaves, as credits."""
    left = _credits(team.left_usd_micros or 0)
    used = _credits(team.spent_usd_micros)
    token = {
        "remaining_credits": left,
        "unlimited_credits": team.left_usd_micros is None,
        "used_credits": used,
    }
    user = {"remaining_credits": left, "used_credits": used}
    return {"data": {"token": token, "user": user}, "message": "", "success": True}


def model_object(model: ImageModel, team: Team) -> Mapping[str, object]:
    """A model as in OpenAI's lists, with what the team may order of it and what a picture costs."""
    return {
        "id": model.name,
        "object": "model",
        "owned_by": wire.CACHE_NAME,
        **may_order(model, team),
    }


class MayOrderShape(TypedDict):
    """What a team may order of a model; None for a list that upstream judges.

    `defaults` is what is filled in where an order says nothing, `required` what it has to say
    besides its prompt. `usd_by_quality`: what a picture of each costs at most, all else left out.
    """

    max_n: int
    sizes: list[str] | None
    qualities: list[str] | None
    resolutions: list[str] | None
    defaults: dict[str, Any]
    required: list[str]
    prices: list[PriceShape]
    usd_by_quality: dict[str, float]
    size_aliases: NotRequired[dict[str, str]]


def may_order(model: ImageModel, team: Team) -> MayOrderShape:
    sizes, known = allowed("size", model, team), sorted(model.limits.size_aliases.items())
    told: MayOrderShape = {
        "max_n": most(model, team),
        "sizes": _sorted(sizes),
        "qualities": _sorted(allowed("quality", model, team)),
        "resolutions": _sorted(allowed("resolution", model, team)),
        "defaults": defaults(model, team),
        "required": must_say(model, team),
        "prices": prices(model),
        "usd_by_quality": {name: dollars(price) for name, price in quality_prices(model, team)},
    }
    if aliases := {name: size for name, size in known if sizes is None or size in sizes}:
        told["size_aliases"] = aliases
    return told


def prices(model: ImageModel) -> list[PriceShape]:
    """The rules of the route that is cheapest at its cheapest, in the order they are tried."""
    routes = [route.prices for route in model.routes if route.prices]
    cheapest = min(routes, key=lambda rules: min(rule.usd_micros for rule in rules), default=())
    return [
        cast("PriceShape", {"usd": dollars(rule.usd_micros), **dict(rule.match)})
        for rule in cheapest
    ]


def _sorted(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def _credits(micros: int) -> float:
    return round(micros * CREDITS_PER_USD / USD_MICROS, 4)
