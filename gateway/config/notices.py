"""What is allowed in the settings and yet worth a sentence to whoever runs the gateway.

Pure: the environment and the day are given. It must not know where the settings came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from pydantic import SecretStr

from gateway.config.convert import NO_KINDS, Kinds, catalog, proxies, team
from gateway.config.kind_notices import kind_notices, left_to_kinds
from gateway.config.making_rules import making_notices, unmade_alone
from gateway.config.rules import USUAL
from gateway.config.schema import LISTS, ModelEntry, Settings
from gateway.config.upstream_entry import UpstreamEntry
from gateway.config.upstream_rules import host_of
from gateway.config.words import MAKE_KEY, nearest
from gateway.core.catalog import ImageModel, Team
from gateway.core.kinds import SHORTEST_SECRET
from gateway.core.orders.defaults import must_say
from gateway.core.proxies import masked, of_environment

CALLED_BACK: Final = ("https://any.invalid",)
FETCHED: Final = (*CALLED_BACK, "http://any.invalid")


def notices(settings: Settings, today: date, kinds: Kinds = NO_KINDS) -> list[str]:
    """Sentences, each opening with the path that it speaks of. `kinds` say what can be made."""
    models = catalog(settings, kinds).models
    return [
        *_server(settings),
        *_models(settings, models),
        *kind_notices(settings, models, today),
        *_teams(settings, models),
    ]


def _server(settings: Settings) -> Iterator[str]:
    if not settings.server.admin_keys:
        how = "To make one, and the digest that belongs there"
        yield f"{_no_admin_key(settings)}. {how}: {MAKE_KEY}"
    if not (settings.server.metrics_keys or settings.server.is_private):
        yield "server.metrics_keys: none, and public_url is not loopback: only admin keys scrape"
    for name, upstream in settings.upstreams.items():
        if upstream.allow_private_addresses:
            yield f"upstreams.{name}: may reach private addresses; meant for tests only"
        yield from _short_keys(f"upstreams.{name}", upstream)
    yield from _shared_keys(settings)
    if settings.references.allow_private_addresses:
        yield "references: teams' links may lead the gateway to private addresses"


def _short_keys(place: str, entry: UpstreamEntry) -> Iterator[str]:
    for name, key in (("api_key", entry.api_key), ("usage_key", entry.usage_key)):
        if key is not None and len(key.get_secret_value()) < SHORTEST_SECRET:
            short = f"fewer than {SHORTEST_SECRET} characters are no secret"
            yield f"{place}.{name}: {short}; where upstream repeats it, it is shown"


def _shared_keys(settings: Settings) -> Iterator[str]:
    """A key that was copied from one vendor's entry into another's is shown to both."""
    first: dict[SecretStr, str] = {}
    for name, entry in settings.upstreams.items():
        known = first.setdefault(entry.api_key, name)
        if host_of(settings.upstreams[known]) != host_of(entry):
            yield f"upstreams.{name}.api_key: is that of upstreams.{known}, which is another host"


def _no_admin_key(settings: Settings) -> str:
    """What nobody can do then; where no team has a key either, hardly anything is left."""
    said = "server.admin_keys: no admin key, so nobody can use the admin API"
    if any(team.keys for team in settings.teams.values()):
        return said
    return f"{said}, and no team of this file has a key to order with"


def _models(settings: Settings, models: Mapping[str, ImageModel]) -> Iterator[str]:
    for name, model in settings.models.items():
        if model.limits.sizes is None:
            yield f"models.{name}.limits.sizes: no list, so upstream judges every size"
        yield from _unusual(name, model)
        yield from _unlisted(name, model)
        yield from making_notices(name, model, models[name])


def _unusual(name: str, model: ModelEntry) -> Iterator[str]:
    """Values that look like slips, and may be right: only the vendor knows."""
    for field, usual in USUAL.items():
        offered = model.limits.lists[field] or ()
        for value in offered:
            meant = nearest(value, usual)
            if value not in usual and meant and meant not in offered:
                place = f"models.{name}.limits.{LISTS[field]}"
                yield f"{place}: {value!r} is not usual; did you mean {meant!r}?"


def _unlisted(name: str, model: ModelEntry) -> Iterator[str]:
    """The fields that prices look at and that may have any value."""
    matches = {match for route in model.routes for rule in route.price for match in rule.match}
    for field, values in model.limits.lists.items():
        named = {value for one, value in matches if one == field}
        if named and values is None:
            yield (
                f"models.{name}.limits.{LISTS[field]}: no list, and prices look at {field}: what "
                "they do not name is forwarded at the dearest price that it may mean"
            )


def _teams(settings: Settings, models: Mapping[str, ImageModel]) -> Iterator[str]:
    if not (settings.teams or settings.server.admin_keys):
        yield "teams: none here, so only keys made through the admin API open anything"
    for name, entry in settings.teams.items():
        if not entry.keys:
            yield f"teams.{name}.keys: no keys, so nobody can order for this team"
        if not (entry.budgets or entry.limits.images):
            yield f"teams.{name}.budgets: no budget and no picture count, so spend has no bound"
        one = team(name, entry, settings)
        yield from must_choose(one, models)
        yield from left_to_kinds(one, models, settings)
        yield from unmade_alone(one, models)


def must_choose(one: Team, models: Mapping[str, ImageModel]) -> Iterator[str]:
    """What the orders of a team have to say, where no default says it for them."""
    lists = one.allow.lists.values()
    allowed = models if one.allow.models is None else sorted(one.allow.models)
    for model in allowed if any(lists) else ():
        for field in must_say(models[model], one):
            yield (
                f"teams.{one.name}.defaults: none for {field}, so orders for {model} that leave "
                "it out are refused"
            )


def proxy_notices(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """A sentence for each section that uses a proxy, and for each variable that is no good."""
    return [
        *of_environment(environ).problems,
        *_upstream_proxies(settings, environ),
        *_other_proxies(settings, environ),
    ]


def _upstream_proxies(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for name, entry in settings.upstreams.items():
        proxy = proxies(entry.proxy, environ).for_url(entry.base_url)
        if proxy is not None:
            yield f"upstreams.{name}: goes through the proxy {masked(proxy)}{_by(entry.proxy)}"


def _other_proxies(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    sections = {
        "callbacks": (settings.callbacks.proxy, CALLED_BACK),
        "references": (settings.references.proxy, FETCHED),
    }
    for name, (named, samples) in sections.items():
        ways = proxies(named, environ)
        found = dict.fromkeys(one for one in map(ways.for_url, samples) if one is not None)
        if found:
            shown = " and ".join(masked(one) for one in found)
            rule = "which itself has to refuse internal addresses"
            yield f"{name}: go through the proxy {shown}{_by(named)}, {rule}"
    webhook = settings.alerts.webhook
    url = webhook.get_secret_value() if webhook else ""
    proxy = proxies(settings.alerts.proxy, environ).for_url(url)
    if proxy is not None:
        yield f"alerts: go through the proxy {masked(proxy)}{_by(settings.alerts.proxy)}"


def _by(named: SecretStr | None) -> str:
    return " of the environment" if named is None else ""
