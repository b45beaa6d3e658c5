"""`GET /team/v1/prices/{model}`: what each choice of a model would cost, for people's forms."""

from __future__ import annotations

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.catalog import ImageModel, Team
from gateway.core.money.usd import dollars
from gateway.core.orders.choices import Choice, choices, price
from gateway.core.orders.estimate import models_of
from gateway.core.policy import Policy
from gateway.errors import NotFound
from gateway.web.calls import TeamCall
from gateway.web.chapters import OWN
from gateway.web.operation import Operation
from gateway.web.query import Query
from gateway.web.responses import json_response


class PricesAsked(Query):
    size: str | None = Field(None, max_length=100, description="As an order would say it.")
    quality: str | None = Field(None, max_length=100, description="As an order would say it.")
    resolution: str | None = Field(None, max_length=100, description="As an order would say it.")

    @property
    def said(self) -> dict[str, str]:
        fields = {"size": self.size, "quality": self.quality, "resolution": self.resolution}
        return {name: value for name, value in fields.items() if value is not None}


class ChoiceShape(TypedDict):
    """A value of a field; None: the order does not say it. `usd`: one picture at most, with the
    other fields as asked; None: no price fits, and such an order is refused."""

    value: str | None
    usd: float | None


class ChoicesShape(TypedDict):
    size: list[ChoiceShape]
    quality: list[ChoiceShape]
    resolution: list[ChoiceShape]


class PricesShape(TypedDict):
    model: str
    usd: float | None
    choices: ChoicesShape


class OwnPrices:
    @Operation(
        "GET /team/v1/prices/{model}",
        OWN,
        "What each choice of a model costs",
        "Of one picture at most, before the cache is asked. What the team may not choose is not "
        "there.",
        path_words={"model": "One of the team's models, or an alias of it."},
        query=PricesAsked,
        answer=PricesShape,
        errors=(NotFound,),
    )
    async def prices(self, call: TeamCall[PricesAsked]) -> Response:
        model = own_model(call.request.path_params["model"], call.team, call.policy)
        said = call.query.said
        found = {
            field: [_shape(one) for one in values]
            for field, values in choices(model, call.team, said).items()
        }
        usd = _usd(price(model, call.team, said))
        return json_response({"model": model.name, "usd": usd, "choices": found})


def own_model(name: str, team: Team, policy: Policy) -> ImageModel:
    """The team's model of this name. Raises `NotFound`."""
    own, found = models_of(team, policy), policy.catalog.find(name)
    if found is None or found not in own:
        known = ", ".join(one.name for one in own) or "none"
        message = f"The model '{name[:200]}' is not among yours; there are: {known}."
        raise NotFound(message, param="model")
    return found


def _shape(choice: Choice) -> ChoiceShape:
    return {"value": choice.value, "usd": _usd(choice.usd_micros)}


def _usd(micros: int | None) -> float | None:
    return None if micros is None else dollars(micros)
