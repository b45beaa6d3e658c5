"""Settings to the core's own types. The core and the services never see the settings' shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from gateway.config.rules import aliases, allowed_names
from gateway.config.schema import (
    Alerts,
    ModelEntry,
    RatesEntry,
    RetrySettings,
    RouteEntry,
    Settings,
    TeamEntry,
)
from gateway.config.upstream_entry import UpstreamEntry
from gateway.core.catalog import (
    DIGEST_DIGITS,
    Allow,
    Catalog,
    ImageModel,
    KeyName,
    Limits,
    Pace,
    PriceRule,
    Route,
    Team,
)
from gateway.core.kinds import ANY, Kind, Rates
from gateway.core.money.accounts import Cap, Measure, Window
from gateway.core.money.alerts import Alerting
from gateway.core.policy import Grant, Policy
from gateway.core.proxies import Proxies, always, of_environment
from gateway.core.runs.lifecycle import Rules

Kinds = Mapping[str, Kind]
"""What the core has to know of each kind of upstream, by the kind's name."""

NO_KINDS: Final[Kinds] = {}
"""For what looks at models and never at what makes their pictures: everything can be made."""

CALLED_BACK_PACE = 4
"""How much slower an upstream is polled that calls when a task has ended."""


def catalog(settings: Settings, kinds: Kinds) -> Catalog:
    """All public models. Routes keep the file's order: which is cheapest depends on the order."""
    of_upstreams = {name: _kind(one, kinds) for name, one in settings.upstreams.items()}
    models = {name: _model(name, entry, of_upstreams) for name, entry in settings.models.items()}
    return Catalog(models, aliases(settings))


def teams(settings: Settings) -> dict[str, Team]:
    """The provisioned teams by name; cache scopes resolved, allowed aliases turned into models."""
    return {name: team(name, entry, settings) for name, entry in settings.teams.items()}


def keys(settings: Settings) -> dict[str, Grant]:
    """SHA-256 of each team key (64 hex characters) to what it opens."""
    return {
        digest: Grant(name, key=KeyName(digest[:DIGEST_DIGITS]))
        for name, team in settings.teams.items()
        for digest in team.keys
    }


def proxies(named: SecretStr | None, environ: Mapping[str, str]) -> Proxies:
    """The ways out of a section whose `proxy` is `named`; without one the environment's."""
    return of_environment(environ) if named is None else always(named.get_secret_value())


def policy(settings: Settings, *, port: int, kinds: Kinds) -> Policy:
    """All that a reload can change, as one value; `port` is the one that is really served."""
    server, storage, retry = settings.server, settings.storage, settings.worker.retry
    return Policy(
        catalog=catalog(settings, kinds),
        teams=teams(settings),
        keys=keys(settings),
        provisioned=frozenset(settings.teams),
        admin_keys={key.sha256: key.name or "" for key in server.admin_keys},
        metrics_keys=frozenset(server.metrics_keys),
        zone=ZoneInfo(server.timezone),
        public_url=server.links_base(port),
        cache_ttl_seconds=settings.cache.ttl_seconds,
        remember_lost_seconds=settings.cache.remember_lost_seconds,
        free_space_floor_bytes=storage.free_space_floor_bytes,
        picture_limit_bytes=storage.picture_limit_bytes,
        body_limit_bytes=server.body_limit_bytes,
        upload_limit_bytes=server.upload_limit_bytes,
        uploads_per_team_bytes=server.uploads_per_team_bytes,
        openai_wait_seconds=server.openai_wait_seconds,
        openai_sdk_on_v1=server.openai_sdk_on_v1,
        cors_origins=frozenset(server.cors_origins),
        max_waiters=server.max_waiters,
        private_callbacks=settings.callbacks.allow_private_addresses,
        callback_retries=settings.callbacks.retries,
        alerting=_alerting(settings.alerts),
        jobs_retention_seconds=storage.retention.jobs_seconds,
        claims_retention_seconds=storage.retention.idempotency_keys_seconds,
        refusals_retention_seconds=storage.retention.refusals_seconds,
        log_prompts=server.log.prompts,
        rules={name: _rules(one, retry, kinds) for name, one in settings.upstreams.items()},
        other_rules=_rules(UpstreamEntry.model_construct(), retry, kinds),
    )


def _rules(entry: UpstreamEntry, retry: RetrySettings, kinds: Kinds) -> Rules:
    """An upstream that calls when it is done is asked less often."""
    slower, poll = CALLED_BACK_PACE if entry.callbacks else 1, entry.poll
    return Rules(
        pace=Pace(
            first_seconds=poll.first_seconds * slower,
            every_seconds=poll.every_seconds * slower,
            max_seconds=poll.max_seconds * slower,
        ),
        retry_first_seconds=retry.first_seconds,
        retry_max_seconds=retry.max_seconds,
        dead_after_seconds=retry.dead_after_seconds,
        usd_micros_per_credit=entry.usd_micros_per_credit,
        resend=entry.resend_after_lost_answer,
        kind=_kind(entry, kinds),
    )


def _kind(entry: UpstreamEntry, kinds: Kinds) -> Kind:
    return kinds.get(entry.kind, ANY).of_style(entry.style)


def _alerting(entry: Alerts) -> Alerting | None:
    if entry.webhook is None:
        return None
    return Alerting(entry.webhook.get_secret_value(), tuple(sorted(entry.thresholds)))


def _model(name: str, entry: ModelEntry, kinds: Kinds) -> ImageModel:
    limits = entry.limits
    return ImageModel(
        name,
        routes=tuple(_route(one, kinds.get(one.upstream, ANY)) for one in entry.routes),
        limits=Limits(
            prompt_tokens=limits.prompt_tokens,
            prompt_characters=limits.prompt_characters,
            max_n=limits.max_n,
            max_image_urls=limits.max_image_urls,
            sizes=_set(limits.sizes),
            qualities=_set(limits.qualities),
            resolutions=_set(limits.resolutions),
            size_aliases=entry.sizes_by_alias,
        ),
        defaults=tuple(sorted(entry.defaults.items())),
        deadline_seconds=entry.deadline_seconds,
    )


def _route(entry: RouteEntry, kind: Kind) -> Route:
    return Route(
        entry.upstream,
        entry.model,
        tuple(PriceRule(rule.usd_micros, rule.match) for rule in entry.price),
        kind=kind,
        rates=None if entry.rates is None else _rates(entry.rates),
        is_another_model=entry.another_model is True,
    )


def _rates(entry: RatesEntry) -> Rates:
    return Rates(
        text_in=entry.text_in,
        image_in=entry.image_in,
        image_out=entry.image_out,
        text_out=entry.text_out,
        reference_tokens=entry.reference_tokens,
    )


def team(name: str, entry: TeamEntry, settings: Settings) -> Team:
    """A team as the core sees it; models that the settings do not have are not allowed."""
    allow = entry.allow
    return Team(
        name,
        caps=_caps(entry),
        allow=Allow(
            models=None if allow.models is None else frozenset(allowed_names(settings, entry)),
            sizes=_set(allow.sizes),
            qualities=_set(allow.qualities),
            max_n=allow.max_n,
            sizes_by_model=_sizes_by_model(allow.sizes, settings),
        ),
        cache_scope=entry.cache.scope or settings.cache.scope,
        client_control=entry.cache.client_control or settings.cache.client_control,
        mode=entry.mode,
        references=entry.references,
        defaults=tuple(sorted(entry.defaults.items())),
    )


def _sizes_by_model(
    sizes: tuple[str, ...] | None, settings: Settings
) -> Mapping[str, frozenset[str]]:
    aliased = {name: model for name, model in settings.models.items() if model.size_aliases}
    return {} if sizes is None else {n: model.sizes_meant(sizes) for n, model in aliased.items()}


def _caps(entry: TeamEntry) -> tuple[Cap, ...]:
    caps = [Cap(Measure.USD, Window(b.per.value), b.usd_micros) for b in entry.budgets]
    caps += [Cap(Measure.IMAGES, Window(c.per.value), c.count) for c in entry.limits.images]
    if entry.limits.runs_per_minute is not None:
        caps.append(Cap(Measure.RUNS, Window.MINUTE, entry.limits.runs_per_minute))
    if entry.limits.concurrent_runs is not None:
        caps.append(Cap(Measure.LIVE, Window.TOTAL, entry.limits.concurrent_runs))
    return tuple(caps)


def _set(values: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
