"""What is allowed of upstreams of kind openai and yet worth a sentence: keys and links that serve
nothing, models that go, and orders that leave to upstream what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from gateway.config.kind_rules import SAID, default_of, is_said, model_made, ways
from gateway.config.known_costs import too_low
from gateway.config.known_models import ends_of, rates_of
from gateway.config.schema import ModelEntry, RouteEntry, ServerSettings, Settings
from gateway.config.units import show_seconds
from gateway.config.upstream_entry import ReferenceWay, UpstreamEntry, UpstreamKind, UsageTold
from gateway.config.upstream_rules import has_vendors_models, is_openais_own
from gateway.config.words import WEB
from gateway.core.addresses import check_url
from gateway.core.catalog import ImageModel, Team
from gateway.core.orders.defaults import defaults, must_say

SOON: Final = timedelta(days=60)

FAR: Final = 10
"""No discount makes so much of a difference."""

LONG_SECONDS: Final = 300.0
"""For so long calls have been seen to take that brought their pictures."""


def kind_notices(
    settings: Settings, models: Mapping[str, ImageModel], today: date
) -> Iterator[str]:
    """`models` are those of the settings, as the core has them."""
    for name, entry in settings.upstreams.items():
        if entry.kind is UpstreamKind.OPENAI:
            yield from _keys_and_calls(f"upstreams.{name}", entry)
            yield from _linked(f"upstreams.{name}.references", entry, settings.server)
    for name, model in settings.models.items():
        entries = [settings.upstreams[route.upstream] for route in model.routes]
        for index, (route, entry) in enumerate(zip(model.routes, entries, strict=True)):
            place = f"models.{name}.routes[{index}]"
            yield from _ends(place, route, name, entry, today)
            yield from _rates(f"{place}.rates", route, name, entry)
            yield from too_low(f"{place}.price", route, models[name].routes[index], models[name])
        if any(entry.kind is UpstreamKind.OPENAI for entry in entries):
            yield from _open(name, model)


def _keys_and_calls(place: str, entry: UpstreamEntry) -> Iterator[str]:
    if entry.usage_key is not None and entry.usage_key == entry.api_key:
        yield f"{place}.usage_key: is the api_key as well; the usage report wants an admin key"
    if has_vendors_models(entry) and entry.usage is UsageTold.ABSENT:
        rule = "the vendor counts tokens, and all runs are settled at their ceiling all the same"
        yield f"{place}.usage: absent; {rule}"
    if entry.timeout.submit_seconds < LONG_SECONDS:
        told = show_seconds(entry.timeout.submit_seconds)
        rule = f"calls may take {show_seconds(LONG_SECONDS)}, and one that is cut counts as spent"
        yield f"{place}.timeout.submit: {told}; {rule}"


def _linked(place: str, entry: UpstreamEntry, server: ServerSettings) -> Iterator[str]:
    if entry.references is not ReferenceWay.LINK:
        return
    if not is_openais_own(entry):
        yield f"{place}: link; most servers beside OpenAI itself take no links, and need upload"
    problem = check_url(server.links_base(server.port), schemes=WEB)
    if problem is not None and not entry.allow_private_addresses:
        yield (
            f"{place}: link, and server.public_url leads nowhere from outside: pictures that lie "
            "here, what teams upload among them, cannot be fetched from there; upload sends them"
        )


def _ends(
    place: str, route: RouteEntry, name: str, entry: UpstreamEntry, today: date
) -> Iterator[str]:
    if entry.kind is not UpstreamKind.OPENAI:
        return
    made = model_made(route, name)
    known = ends_of(made)
    if entry.style.is_azure:
        vendor, end = "Azure", known.azure
    else:
        vendor, end = "OpenAI", known.openai if is_openais_own(entry) else None
    if end is not None and end <= today:
        yield f"{place}: {made} is gone at {vendor} since {end}: the route makes nothing"
    elif end is not None and end - today <= SOON:
        yield f"{place}: {made} goes at {vendor} on {end}; see to another route"


def _rates(place: str, route: RouteEntry, name: str, entry: UpstreamEntry) -> Iterator[str]:
    """A rate for one token, or for a thousand, is written where one for a million belongs."""
    known = rates_of(model_made(route, name)) if has_vendors_models(entry) else None
    if route.rates is None or known is None:
        return
    for field in ("text_in", "image_in", "image_out"):
        usual = getattr(known, field)
        if getattr(route.rates, field) * FAR < usual:
            rule = f"US dollars for a million tokens, of which the vendor's price was {usual:g}"
            yield f"{place}.{field}: far too little; {rule}"


def left_to_kinds(one: Team, models: Mapping[str, ImageModel], settings: Settings) -> Iterator[str]:
    """What a team's own settings leave open of models that several kinds of upstream serve."""
    for name, model in models.items():
        if one.allow.models is not None and name not in one.allow.models:
            continue
        if len(ways(settings.models[name], settings.upstreams)) < 2:
            continue
        known, required = defaults(model, one), must_say(model, one)
        for field in SAID:
            if field not in known and field not in required:
                yield (
                    f"teams.{one.name}: its orders for {name} may leave the {field} to upstream, "
                    "and the upstreams of that model make different pictures then"
                )


def _open(name: str, model: ModelEntry) -> Iterator[str]:
    """What an order may leave to upstream, which then chooses between cheap and dear."""
    dearest = "upstream chooses then, and the order is priced at the dearest that it may mean"
    for field in SAID:
        if default_of(field, model) is None:
            yield f"models.{name}.defaults.{field}: none; {dearest}"
        elif not is_said(field, model):
            yield f"models.{name}.defaults.{field}: auto; {dearest}"
