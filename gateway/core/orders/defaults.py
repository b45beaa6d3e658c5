"""What an order gets where it says nothing: defaults of its team, of its model, or the one choice.

A default that the model does not offer, that no route of it makes, or that the team may not use,
is none for that order: nobody is refused for what they did not say. What is filled in goes
upstream and counts like any other word, so that an order that says it and one that leaves it out
are the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.catalog import ImageModel, Team
from gateway.core.orders.spellings import AUTO, meant

DEFAULTABLE: Final = (
    "background",
    "n",
    "nsfw_check",
    "output_format",
    "prompt_priority",
    "quality",
    "resolution",
    "seed",
    "size",
    "watermark",
)
"""The documented fields that say how a picture is made; a team may have a default for each."""

ONE_CHOICE: Final = ("size", "quality")
"""Fields that are filled in where only one value may be ordered. `resolution` is none of them: not
every order may carry one, so an operator has to say that it should."""


def filled(said: Mapping[str, object], model: ImageModel, team: Team) -> dict[str, object]:
    """The fields of an order of the team, with the defaults of those that it leaves out.

    `said` is in one spelling, in which `auto` is left out (`spellings.settled`).
    """
    return {**defaults(model, team), **said}


def defaults(model: ImageModel, team: Team) -> dict[str, object]:
    """What an order of the team for this model gets for each field that it leaves out."""
    given = {**_usable(model.defaults, model, team), **_usable(team.defaults, model, team)}
    for name in ONE_CHOICE:
        choices = allowed(name, model, team)
        if name not in given and choices and len(choices) == 1 and not _may_leave(name, team):
            given[name] = next(iter(choices))
    if not given:  # as for most orders
        return given
    return {
        name: value
        for name, value in given.items()
        if value != AUTO or name not in ONE_CHOICE  # said or not, upstream decides then
    }


def allowed(name: str, model: ImageModel, team: Team) -> frozenset[str] | None:
    """The values that an order of the team may have in this field; None: upstream judges."""
    offered = model.limits.lists.get(name)
    granted = team.allow.values(name, model.name)
    if offered is None or granted is None:
        return granted if offered is None else offered
    return offered & granted


def unmade(name: str, value: object, model: ImageModel) -> str | None:
    """Why no route of the model makes an order that gets this default; None: one may."""
    value = _meant(name, value, model)
    return None if value == AUTO and name in ONE_CHOICE else model.unmade(name, value)


def must_say(model: ImageModel, team: Team) -> list[str]:
    """The fields without which an order of the team is refused."""
    known = defaults(model, team)
    return [
        name
        for name, granted in team.allow.lists.items()
        if granted is not None and not _may_leave(name, team) and name not in known
    ]


def _may_leave(name: str, team: Team) -> bool:
    """Whether the team's list says that it may leave the field to upstream."""
    return AUTO in (team.allow.lists.get(name) or ())


def most(model: ImageModel, team: Team) -> int:
    """How many pictures one order of the team may ask for."""
    return min(model.limits.max_n, team.allow.max_n or model.limits.max_n)


def _usable(
    given: Sequence[tuple[str, object]], model: ImageModel, team: Team
) -> dict[str, object]:
    """Those of the defaults that such an order may have, in the model's spelling."""
    if not given:
        return {}
    named = {name: _meant(name, value, model) for name, value in given}
    return {
        name: value
        for name, value in named.items()
        if _may_say(name, value, model, team) and unmade(name, value, model) is None
    }


def _meant(name: str, value: object, model: ImageModel) -> object:
    return meant(name, value, model.limits) if name in model.limits.lists else value


def _may_say(name: str, value: object, model: ImageModel, team: Team) -> bool:
    if name == "n":
        return type(value) is int and 1 <= value <= most(model, team)
    if value == AUTO and name in ONE_CHOICE:
        return team.allow.lists.get(name) is None or _may_leave(name, team)
    choices = allowed(name, model, team)
    return choices is None or (isinstance(value, str) and value in choices)
