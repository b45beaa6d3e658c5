"""The records of who and what: teams and what they may, models, their routes and prices.

The settings as the core sees them, frozen; a change of the settings makes new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.core.kinds import ANY, Kind, Rates
from gateway.core.model import Order
from gateway.core.money.accounts import Cap


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"


class CacheScope(StrEnum):
    TEAM = "team"
    ORGANIZATION = "organization"


class ClientControl(StrEnum):
    """Whether a client's `Cache-Control` may pass the cache by, which costs money."""

    HONOUR = "honour"
    IGNORE = "ignore"


class ReferenceMode(StrEnum):
    """Whether a link to a reference picture is trusted to name one picture, or looked behind."""

    TRUST = "trust"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Allow:
    """What a team may ask for. None means anything the model offers."""

    models: frozenset[str] | None = None
    sizes: frozenset[str] | None = None
    qualities: frozenset[str] | None = None
    max_n: int | None = None
    sizes_by_model: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """`sizes` as those models call them that have other names for some."""

    @property
    def lists(self) -> Mapping[str, frozenset[str] | None]:
        """The fields of an order that a team can have a list of values for."""
        return {"size": self.sizes, "quality": self.qualities}

    def sizes_of(self, model: str) -> frozenset[str] | None:
        return self.sizes_by_model.get(model, self.sizes)

    def values(self, name: str, model: str) -> frozenset[str] | None:
        """The list for a field of an order for this model."""
        if name == "size":
            return self.sizes_of(model)
        return self.qualities if name == "quality" else None


DIGEST_DIGITS: Final = 12
"""Enough of a key's digest to tell keys apart, far too little to find one by."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """What a team's key is known by: never the key. `id` is its public part, or of one that the
    settings name the start of its digest."""

    id: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Team:
    """`key` names the key that a request came with, where it came from a request."""

    name: str
    caps: tuple[Cap, ...] = ()
    allow: Allow = Allow()
    cache_scope: CacheScope = CacheScope.TEAM
    client_control: ClientControl = ClientControl.HONOUR
    mode: Mode = Mode.ENFORCE
    references: ReferenceMode = ReferenceMode.TRUST
    defaults: tuple[tuple[str, object], ...] = ()
    key: KeyName | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price per picture for orders whose fields equal `match`; an empty match fits all."""

    usd_micros: int
    match: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One way to have a public model's pictures made: upstream, its model's name, its price.

    `rates` are those of an upstream that counts tokens. `is_another_model`: it serves a model that
    is not the one it is called by, which the operator has written down.
    """

    upstream: str
    model: str
    prices: tuple[PriceRule, ...]
    kind: Kind = ANY
    rates: Rates | None = None
    is_another_model: bool = False

    @property
    def name(self) -> str:
        return f"{self.upstream}/{self.model}"

    def misfit(self, order: Order) -> str | None:
        """Why it cannot make this order; None: it can."""
        return self.kind.misfit(order, self.model)

    def unfit(self, name: str, value: object) -> str | None:
        """Why it can make no order with this value in this field; None: it can."""
        return self.kind.unfit(name, value, self.model)

    def besides_usd_micros(self, order: Order) -> int:
        """What the order costs here at most, beside the price of its pictures."""
        return self.kind.besides(order, self.rates)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model accepts. None means that upstream judges.

    `size_aliases`: further names of sizes, case folded, and the size that each of them means.
    """

    prompt_tokens: int | None = None
    prompt_characters: int | None = None
    max_n: int = 10
    max_image_urls: int = 16
    sizes: frozenset[str] | None = None
    qualities: frozenset[str] | None = None
    resolutions: frozenset[str] | None = None
    size_aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def lists(self) -> Mapping[str, frozenset[str] | None]:
        """The fields that have a closed list of values, or could have one."""
        return {"size": self.sizes, "quality": self.qualities, "resolution": self.resolutions}


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A public model: the name clients send, and what the gateway makes of it."""

    name: str
    routes: tuple[Route, ...]
    limits: Limits = Limits()
    defaults: tuple[tuple[str, object], ...] = ()
    deadline_seconds: float = field(kw_only=True)

    def unmade(self, name: str, value: object) -> str | None:
        """Why none of its routes can make an order with this value in this field; None: one can."""
        reasons = [(route.name, route.unfit(name, value)) for route in self.routes]
        if not reasons or any(reason is None for _, reason in reasons):
            return None
        first, reason = reasons[0]
        return f"{first} does not take {reason}"

    @property
    def others(self) -> tuple[str, ...]:
        """All models that may make its pictures, where some are other ones; none where it is the
        only one."""
        if not any(route.is_another_model for route in self.routes):
            return ()
        made = {one.model if one.is_another_model else self.name for one in self.routes}
        return tuple(sorted(made))


@dataclass(frozen=True, slots=True)
class Catalog:
    """All public models, findable by name and by alias."""

    models: Mapping[str, ImageModel]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> ImageModel | None:
        return self.models.get(self.aliases.get(name, name))

    def leads_to_another(self, model: str, route: str) -> bool:
        """Whether this route of a public model makes its pictures by another one."""
        found = self.models.get(model)
        routes = found.routes if found else ()
        return any(one.is_another_model for one in routes if one.name == route)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a running task is asked after, in seconds."""

    first_seconds: float
    every_seconds: float
    max_seconds: float
