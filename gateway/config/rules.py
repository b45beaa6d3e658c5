"""What no single setting can know: the checks across settings.

Each check yields (path, message) and looks at typed settings only. Entries that are broken in
themselves are absent from those, so `Names` says which names the file has all the same: one
mistake must not be reported as two. It must not know of files, lines or pydantic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.config.default_rules import model_defaults, team_defaults
from gateway.config.document import Path
from gateway.config.kind_rules import model_problems, route_problems
from gateway.config.schema import (
    LISTS,
    Alerts,
    CallbackSettings,
    ModelEntry,
    RouteEntry,
    Settings,
    Storage,
    TeamEntry,
)
from gateway.config.size_rules import size_aliases
from gateway.config.store_words import Serve
from gateway.config.upstream_rules import upstream_problems
from gateway.config.words import WEB, nearest, suggestion
from gateway.core.addresses import check_url
from gateway.core.delivery import signing_key

Found = Iterator[tuple[Path, str]]
MAX_RETRIES = 20
MAX_THRESHOLDS = 10
USUAL = {
    "quality": ("low", "medium", "high", "auto", "standard", "hd"),
    "resolution": ("1K", "2K", "4K"),
}
"""What models usually offer: enough to tell a slip in a model's list from one in its prices."""


@dataclass(frozen=True, slots=True)
class Names:
    """Every upstream and model that the file names; `broken`: some models could not be read.

    `vague` are the upstreams of which it could not be read of which kind they are.
    """

    upstreams: frozenset[str]
    models: frozenset[str]
    broken: bool = False
    vague: frozenset[str] = frozenset()


def check(settings: Settings, names: Names) -> Found:
    yield from server_problems(settings)
    yield from _pictures(settings.storage)
    yield from _hints(settings)
    plain = {name: one for name, one in settings.upstreams.items() if name not in names.vague}
    for name, upstream in plain.items():
        yield from upstream_problems(("upstreams", name), upstream)
    yield from _aliases(settings, names)
    for name, model in settings.models.items():
        yield from _model(("models", name), model, names)
        yield from model_problems(("models", name), model, plain)
        for index, route in enumerate(model.routes):
            yield from route_problems(("models", name, "routes", index), route, name, model, plain)
    for name, team in settings.teams.items():
        yield from team_problems(("teams", name), team, settings, names)
    yield from _keys(settings)
    yield from _operators(settings)
    yield from _callbacks(settings)
    yield from _alerts(settings)
    if settings.worker.retry.first_seconds > settings.worker.retry.max_seconds:
        yield ("worker", "retry", "first"), "must not be longer than max"
    if not names.upstreams:
        yield ("upstreams",), "at least one upstream is required"
    if not names.models:
        yield ("models",), "at least one model is required"


def server_problems(settings: Settings) -> Found:
    """Permanent links need a base that clients can reach."""
    server = settings.server
    if server.public_url is None and not server.is_loopback:
        where = "the address under which clients reach the gateway"
        yield (
            ("server", "public_url"),
            f"required, because {server.host} is not loopback: {where}, for permanent links",
        )


def _pictures(storage: Storage) -> Found:
    """Pages on https refuse pictures that come without it."""
    cdn = storage.s3.cdn
    if cdn is None:
        return
    if storage.s3.serve is not Serve.REDIRECT:
        yield ("storage", "s3", "cdn"), "is led to with serve: redirect alone"
    if storage.bucket is None:
        yield ("storage", "s3", "cdn"), "needs pictures in a bucket: storage.pictures is folder"
    if not cdn.startswith("https://"):
        yield ("storage", "s3", "cdn"), "must start with https://"


def _hints(settings: Settings) -> Found:
    reachable = (settings.server.public_url or "").startswith("https://")
    for name, upstream in settings.upstreams.items():
        calls = upstream.callbacks and "callbacks" not in upstream.strange
        if calls and not reachable:
            rule = "needs an https server.public_url, which upstream then calls"
            yield ("upstreams", name, "callbacks"), rule


def _callbacks(settings: Settings) -> Found:
    yield from _signing("callbacks", settings.callbacks)
    if len(settings.callbacks.retries) > MAX_RETRIES:
        yield ("callbacks", "retries"), f"at most {MAX_RETRIES} further tries"


def _alerts(settings: Settings) -> Found:
    alerts = settings.alerts
    yield from _signing("alerts", alerts)
    url = alerts.webhook.get_secret_value() if alerts.webhook else None
    inside = not alerts.allow_private_addresses
    if url and inside and check_url(url, schemes=WEB, allow_private=False) is not None:
        rule = "an internal address needs alerts.allow_private_addresses: true"
        yield ("alerts", "webhook"), rule
    if not 1 <= len(alerts.thresholds) <= MAX_THRESHOLDS:
        yield ("alerts", "thresholds"), f"must be 1 to {MAX_THRESHOLDS} percentages"
    for index, threshold in enumerate(alerts.thresholds):
        if threshold in alerts.thresholds[:index]:
            yield ("alerts", "thresholds", index), f"{threshold}% is there already"


def _signing(section: str, entry: CallbackSettings | Alerts) -> Found:
    secret = entry.signing_secret
    try:
        signing_key(secret.get_secret_value() if secret else "")
    except ValueError:
        rule = "what follows whsec_ must be base64; any other text is taken as it stands"
        yield (section, "signing_secret"), rule


def _aliases(settings: Settings, names: Names) -> Found:
    owners: dict[str, str] = {}
    for name, model in settings.models.items():
        for index, alias in enumerate(model.aliases):
            path: Path = ("models", name, "aliases", index)
            if alias in names.models:
                yield path, f"{alias!r} is the name of a model already"
            elif alias in owners:
                yield path, f"{alias!r} is an alias of {owners[alias]} already"
            owners.setdefault(alias, name)


def _model(path: Path, model: ModelEntry, names: Names) -> Found:
    if not model.routes:
        yield (*path, "routes"), "at least one route is required"
    for field in ("sizes", "qualities", "resolutions"):
        yield from _list((*path, "limits", field), getattr(model.limits, field))
    yield from size_aliases((*path, "size_aliases"), model)
    yield from model_defaults((*path, "defaults"), model)
    seen: set[tuple[str, str]] = set()
    for index, route in enumerate(model.routes):
        inner: Path = (*path, "routes", index)
        if (route.upstream, route.model) in seen:
            yield inner, f"the same route twice: {route.upstream}/{route.model}"
        seen.add((route.upstream, route.model))
        yield from _route(inner, route, model, names)
    yield from _slips((*path, "limits"), model)


def _list(path: Path, values: tuple[str, ...] | None) -> Found:
    if values == ():
        yield path, "an empty list allows nothing; leave it out to allow everything"
    for value, count in Counter(values or ()).items():
        if count > 1:
            yield path, f"{value!r} is listed {count} times"


def slip_of(field: str, value: str, offered: Iterable[str]) -> str | None:
    """What of `offered` is a slip of `value`, which is a usual one; None where nothing is."""
    usual = USUAL.get(field, ())
    found = nearest(value, offered) if value in usual else None
    return None if found in usual else found


def _slips(path: Path, model: ModelEntry) -> Found:
    """Told where the model's list has them, and not at the prices that are right."""
    priced = {match for route in model.routes for rule in route.price for match in rule.match}
    for field, value in sorted(priced):
        offered = model.limits.lists.get(field) or ()
        if value not in offered and (slip := slip_of(field, value, offered)):
            at: Path = (*path, LISTS[field], offered.index(slip))
            yield at, f"{slip!r} has no price; did you mean {value!r}?"


def _route(path: Path, route: RouteEntry, model: ModelEntry, names: Names) -> Found:
    if route.upstream not in names.upstreams:
        near = suggestion(route.upstream, names.upstreams)
        yield (*path, "upstream"), f"no upstream is called {route.upstream!r}{near}"
    if not route.price:
        yield (*path, "price"), "unpriced: an empty list, so every order would be refused"
    for index, rule in enumerate(route.price):
        for field, value in rule.match:
            size = model.sizes_by_alias.get(value.casefold()) if field == "size" else None
            if size is not None:
                found = f"never matches: {value!r} means {size!r} by size_aliases; name that one"
                yield (*path, "price", index, field), found
                continue
            allowed = model.limits.lists.get(field)
            if allowed is not None and value not in allowed and not slip_of(field, value, allowed):
                near = suggestion(value, allowed)
                yield (
                    (*path, "price", index, field),
                    f"never matches: the model does not offer {field} {value!r}{near}",
                )
        for earlier in range(index):
            if set(route.price[earlier].match) <= set(rule.match):
                yield (*path, "price", index), f"never matches: price[{earlier}] comes first"
                break


def team_problems(path: Path, team: TeamEntry, settings: Settings, names: Names) -> Found:
    """What is wrong with a team's settings among the others; they stand at `path`."""
    yield from _twice((*path, "budgets"), [budget.per.value for budget in team.budgets])
    yield from _twice((*path, "limits", "images"), [c.per.value for c in team.limits.images])
    allow = team.allow
    for field in ("models", "sizes", "qualities"):
        yield from _list((*path, "allow", field), getattr(allow, field))
    yield from _allowed_models((*path, "allow", "models"), team, settings, names)
    models = [settings.models[name] for name in allowed_names(settings, team)]
    known = [] if names.broken else models
    yield from team_defaults((*path, "defaults"), team.defaults, allow, known)
    if names.broken:
        return
    for field, granted in (("size", allow.sizes), ("quality", allow.qualities)):
        lists = [model.names(field) for model in models]
        if not lists or None in lists:
            continue
        offered = {value for values in lists for value in values or ()}
        for index, value in enumerate(granted or ()):
            if value not in offered:
                near = suggestion(value, offered)
                yield (*path, "allow", LISTS[field], index), f"no model offers {value!r}{near}"


def _twice(path: Path, windows: list[str]) -> Found:
    for index, window in enumerate(windows):
        if window in windows[:index]:
            yield (*path, index), f"a second limit per {window}; keep the one that is meant"


def _allowed_models(path: Path, team: TeamEntry, settings: Settings, names: Names) -> Found:
    known = {*names.models, *aliases(settings)}
    for index, name in enumerate(team.allow.models or ()):
        if name not in known and not names.broken:
            yield (*path, index), f"no model is called {name!r}{suggestion(name, known)}"


def _keys(settings: Settings) -> Found:
    """No key opens two doors: not twice in a list, not for two teams, not team and admin."""
    admin = tuple(key.sha256 for key in settings.server.admin_keys)
    lists: list[tuple[Path, str, tuple[str, ...]]] = [
        (("server", "admin_keys"), "server.admin_keys", admin),
        (("server", "metrics_keys"), "server.metrics_keys", settings.server.metrics_keys),
        *(((("teams", n, "keys"), f"teams.{n}.keys", t.keys)) for n, t in settings.teams.items()),
    ]
    owners: dict[str, str] = {}
    for path, owner, digests in lists:
        for index, digest in enumerate(digests):
            if digest in owners:
                yield (*path, index), f"the same key is already in {owners[digest]}"
            owners.setdefault(digest, f"{owner}[{index}]")


def _operators(settings: Settings) -> Found:
    """No two admin keys are told by one name."""
    seen: dict[str, int] = {}
    for index, key in enumerate(settings.server.admin_keys):
        known = seen.setdefault((key.name or "").casefold(), index)
        if key.name is not None and known != index:
            path = ("server", "admin_keys", index, "name")
            yield path, f"server.admin_keys[{known}] has this name already"


def aliases(settings: Settings) -> dict[str, str]:
    """Alias to the public name of its model."""
    return {alias: name for name, model in settings.models.items() for alias in model.aliases}


def allowed_names(settings: Settings, team: TeamEntry) -> list[str]:
    """The public names of the models that a team may use, aliases resolved."""
    if team.allow.models is None:
        return list(settings.models)
    by_alias = aliases(settings)
    resolved = [by_alias.get(name, name) for name in team.allow.models]
    return [name for name in resolved if name in settings.models]
