"""What routes of different kinds of upstream owe each other, so that an order is one order on all.

One picture, whichever route: the same model, or the operator's written word that it is another; the
same size and quality, which the kinds guess differently where an order leaves them out; and a price
for it. It must not know of files, lines or pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.config.document import Path
from gateway.config.known_models import rates_of, undated
from gateway.config.schema import ModelEntry, RouteEntry, Settings
from gateway.config.upstream_entry import Style, UpstreamEntry, UpstreamKind, UsageTold
from gateway.config.upstream_rules import is_openais_own
from gateway.core.orders.spellings import AUTO, spelled

Found = Iterator[tuple[Path, str]]
Upstreams = Mapping[str, UpstreamEntry]

SAID: Final = ("size", "quality")
"""What an order on upstreams of two kinds has to say, by itself or by a default."""


def is_same_model(route: RouteEntry, name: str, model: ModelEntry) -> bool:
    """Whether the route names the model that is called `name` in public, or a dated state of it."""
    return undated(route.model) in {undated(one) for one in (name, *model.aliases)}


def model_made(route: RouteEntry, name: str) -> str:
    """The vendor's name of the model that the route leads to, as far as it is known.

    The name of a deployment says nothing of it; that it is no other model than the public one does.
    """
    return name if route.another_model is False else route.model


def route_problems(
    path: Path, route: RouteEntry, name: str, model: ModelEntry, upstreams: Upstreams
) -> Found:
    """`upstreams` are those whose kind is known: of a route to another one nothing is said."""
    entry = upstreams.get(route.upstream)
    if entry is None:
        return
    if entry.kind is not UpstreamKind.OPENAI:
        rule = f"only of upstreams of kind openai; {route.upstream} is of kind {entry.kind}"
        for field in ("rates", "another_model"):
            if getattr(route, field) is not None:
                yield (*path, field), rule
        return
    is_same = is_same_model(route, name, model)
    yield from _rates(path, route, name, entry, is_same=is_same)
    yield from _another_model(path, route, name, entry, is_same=is_same)


def _rates(
    path: Path, route: RouteEntry, name: str, entry: UpstreamEntry, *, is_same: bool
) -> Found:
    """Whose model is not known does not have to say its rates before."""
    if route.rates is not None or entry.usage is UsageTold.ABSENT:
        return
    made = model_made(route, name)
    if rates_of(made) is None and (is_same or route.another_model is not None):
        yield (
            (*path, "rates"),
            f"missing; what the tokens of {made!r} cost is not known here: {{text_in, image_in, "
            "image_out}, in US dollars for a million",
        )


def _another_model(
    path: Path, route: RouteEntry, name: str, entry: UpstreamEntry, *, is_same: bool
) -> Found:
    """What is written has to be so, and what cannot be seen has to be written."""
    at, said = (*path, "another_model"), route.another_model
    if is_same:
        if said is not None and not entry.style.is_azure:
            yield at, f"must be left out: {route.model!r} is the model itself"
        return
    if is_openais_own(entry) and said is not True:
        yield (
            at,
            f"must be true: {route.model!r} is another model than {name!r}, and whoever orders "
            f"{name!r} gets its pictures from it; or leave the route out",
        )
    elif said is None:
        yield (
            at,
            f"missing; {route.model!r} is a name of your own: true where it is another model than "
            f"{name!r}, false where it is the same",
        )


def model_problems(path: Path, model: ModelEntry, upstreams: Upstreams) -> Found:
    yield from _same_deployment(path, model, upstreams)
    yield from _of_several_kinds(path, model, upstreams)


def _same_deployment(path: Path, model: ModelEntry, upstreams: Upstreams) -> Found:
    """An address that names it leads there, whatever the route calls its model."""
    seen: dict[str, RouteEntry] = {}
    for index, route in enumerate(model.routes):
        entry, first = upstreams.get(route.upstream), seen.setdefault(route.upstream, route)
        is_named = entry and entry.kind is UpstreamKind.OPENAI and entry.style is Style.AZURE
        if is_named and first.model != route.model:
            rule = "its base_url has the deployment, whatever model a route names"
            yield (*path, "routes", index), f"the same deployment of {route.upstream} twice: {rule}"


def _of_several_kinds(path: Path, model: ModelEntry, upstreams: Upstreams) -> Found:
    found = ways(model, upstreams)
    if len(found) < 2:
        return
    *most, last = found
    for field in SAID:
        if not is_said(field, model):
            yield (
                (*path, "defaults", field),
                f"missing; its routes lead to {', '.join(most)} and {last}, which make different "
                f"pictures of an order that does not say its {field}",
            )
    if not all(is_said(field, model) for field in SAID):
        return
    for index, route in enumerate(model.routes):
        entry = upstreams.get(route.upstream)
        if (
            entry
            and entry.kind is UpstreamKind.OPENAI
            and route.price
            and not _covers(route, model)
        ):
            said = ", ".join(f"{field} {default_of(field, model)}" for field in SAID)
            yield (*path, "routes", index, "price"), f"no price for the model's defaults: {said}"


def ways(model: ModelEntry, upstreams: Upstreams) -> Sequence[str]:
    """In how many ways a field that is left out is understood on the model's routes."""
    entries = (upstreams.get(route.upstream) for route in model.routes)
    return sorted({_way(entry) for entry in entries if entry is not None})


def _way(entry: UpstreamEntry) -> str:
    is_azure = entry.kind is UpstreamKind.OPENAI and entry.style.is_azure
    return "azure" if is_azure else entry.kind.value


def is_said(field: str, model: ModelEntry) -> bool:
    value = default_of(field, model)
    return isinstance(value, str) and value.casefold() != AUTO


def default_of(field: str, model: ModelEntry) -> object:
    """What an order gets that leaves the field out: the default, or the one choice there is."""
    listed = model.limits.lists[field] or ()
    only = listed[0] if len(listed) == 1 else None
    value = spelled(field, model.defaults.get(field, only), frozenset(listed))
    if field != "size" or not isinstance(value, str):
        return value
    [meant] = model.sizes_meant([value])
    return meant


def _covers(route: RouteEntry, model: ModelEntry) -> bool:
    said = {field: default_of(field, model) for field in SAID}
    said["resolution"] = model.defaults.get("resolution")
    return any(all(said[f] == value for f, value in rule.match) for rule in route.price)


def with_known_rates(settings: Settings) -> Settings:
    """The settings with the rates filled in that may be left out."""
    models = {name: _filled(name, one, settings.upstreams) for name, one in settings.models.items()}
    return settings if models == settings.models else settings.model_copy(update={"models": models})


def _filled(name: str, model: ModelEntry, upstreams: Upstreams) -> ModelEntry:
    def filled(route: RouteEntry) -> RouteEntry:
        entry = upstreams.get(route.upstream)
        if entry is None or entry.kind is not UpstreamKind.OPENAI or route.rates is not None:
            return route
        return route.model_copy(update={"rates": rates_of(model_made(route, name))})

    routes = tuple(filled(route) for route in model.routes)
    return model if routes == model.routes else model.model_copy(update={"routes": routes})
