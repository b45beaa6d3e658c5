"""Whether what is offered and given by default can be made: by one route of the model at least.

What a kind of upstream takes is told by the kinds that are handed in, and of a kind that is not
among them everything is thought to be taken. A default that nobody makes refuses every order that
leaves the field out, which is a mistake; a value that is offered in vain is worth a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from gateway.config.convert import Kinds, catalog, team
from gateway.config.document import Path
from gateway.config.schema import LISTS, ModelEntry, Settings
from gateway.config.words import shown
from gateway.core.catalog import ImageModel, Route, Team
from gateway.core.model import Order
from gateway.core.orders.defaults import ONE_CHOICE, defaults, unmade
from gateway.core.orders.spellings import AUTO

Found = Iterator[tuple[Path, str]]
Models = Mapping[str, ImageModel]

TOLD: Final = 20
"""Values of a list: enough to see what is wrong with it."""

ANY_TEAM: Final = Team("")


def making_problems(settings: Settings, kinds: Kinds) -> Found:
    models = catalog(settings, kinds).models
    for name, model in models.items():
        yield from _unmade(("models", name, "defaults"), model.defaults, [model])
    for name, entry in settings.teams.items():
        yield from team_making(("teams", name), team(name, entry, settings), models)


def team_making(path: Path, one: Team, models: Models) -> Found:
    """Of a team's defaults, those that no route of any of its models makes; it stands at `path`."""
    yield from _unmade((*path, "defaults"), one.defaults, _allowed(one, models))


def _unmade(path: Path, given: Sequence[tuple[str, object]], models: Sequence[ImageModel]) -> Found:
    for field, value in given:
        reasons = [unmade(field, value, one) for one in models]
        if reasons and None not in reasons:
            yield (*path, field), f"{shown(value)} is made by no route: {reasons[0]}"


def unmade_alone(one: Team, models: Models) -> Iterator[str]:
    """The models of which a team cannot have a picture without saying how, since what it gets by
    default goes together nowhere."""
    for model in _allowed(one, models):
        reason = _misfit_alone(model, one)
        if reason is not None and _misfit_alone(model, ANY_TEAM) is None:
            yield (
                f"teams.{one.name}: its orders for {model.name} that say nothing else are made by "
                f"no route: {reason}"
            )


def making_notices(name: str, entry: ModelEntry, model: ImageModel) -> Iterator[str]:
    """What the model offers in vain: values, and else the first that do not go together."""
    made: dict[str, Sequence[str | None]] = {}
    for field, values in entry.limits.lists.items():
        lost = [one for one in values or () if _is_said(field, one) and model.unmade(field, one)]
        made[field] = [one for one in values or () if one not in lost] or [None]
        if lost:
            place = f"models.{name}.limits.{LISTS[field]}"
            more = f" and {len(lost) - TOLD} more" if len(lost) > TOLD else ""
            named = ", ".join(lost[:TOLD]) + more
            yield f"{place}: no route makes {named}; such orders are refused"
    apart, unpriced = _first_refused(model, made)
    if apart:
        yield f"models.{name}.routes: none makes {apart}; such orders are refused"
    if unpriced:
        yield f"models.{name}.routes: no price for {unpriced}; such orders are refused"
    reason = _misfit_alone(model, ANY_TEAM)
    if reason is not None:
        yield (
            f"models.{name}.defaults: an order that says nothing else is made by no route: {reason}"
        )


def _first_refused(model: ImageModel, made: Mapping[str, Sequence[str | None]]) -> tuple[str, str]:
    """The first combination that no route makes, and the first that no price fits; else empty."""
    apart = unpriced = ""
    for values in product(*(_sorts(model, field, one) for field, one in made.items())):
        said = {field: value for field, value in zip(made, values, strict=True) if value}
        makers = [route for route in model.routes if _misfit(route, said) is None]
        named = ", ".join(f"{field} {value}" for field, value in said.items()) or "any order"
        if not makers:
            apart = apart or named
        elif not any(_may_be_priced(route, said) for route in makers):
            unpriced = unpriced or named
        if apart and unpriced:
            break
    return apart, unpriced


def _sorts(model: ImageModel, field: str, values: Sequence[str | None]) -> Sequence[str | None]:
    """The first of each sort of values: those are alike that the same routes make, and that no
    price names."""
    named = {match for route in model.routes for rule in route.prices for match in rule.match}
    found: dict[object, str | None] = {}
    for value in values:
        makers = tuple(value and route.unfit(field, value) is None for route in model.routes)
        found.setdefault((makers, value if (field, value) in named else None), value)
    return list(found.values())


def _may_be_priced(route: Route, said: Mapping[str, str]) -> bool:
    """Whether a rule may fit an order with these values; fields without a list are unknown."""
    return any(
        all(said.get(field) in (None, value) for field, value in rule.match)
        for rule in route.prices
    )


def _misfit_alone(model: ImageModel, one: Team) -> str | None:
    """Why no route makes an order that gets all that it does not have to say by default."""
    given = defaults(model, one)
    reasons = [(route.name, _misfit(route, given)) for route in model.routes]
    if not reasons or any(reason is None for _, reason in reasons):
        return None
    return "{} does not take {}".format(*reasons[0])


def _misfit(route: Route, said: Mapping[str, object]) -> str | None:
    body = {name: value for name, value in said.items() if _is_said(name, value)}
    size, quality = (one if isinstance(one := body.get(n), str) else None for n in ONE_CHOICE)
    return route.misfit(Order("", "", 1, size, quality, body={"prompt": "", **body}))


def _is_said(field: str, value: object) -> bool:
    """A size or a quality that upstream may choose is left out."""
    return value != AUTO or field not in ONE_CHOICE


def _allowed(one: Team, models: Models) -> Sequence[ImageModel]:
    allowed = one.allow.models
    return [model for name, model in models.items() if allowed is None or name in allowed]
