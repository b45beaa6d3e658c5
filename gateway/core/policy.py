"""The settings as the service and the worker see them: one value, swapped whole on reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from gateway.core.catalog import Catalog, Team
from gateway.core.money.accounts import AccountKey
from gateway.core.money.alerts import Alerting
from gateway.core.money.budgets import account_keys
from gateway.core.runs.lifecycle import Rules


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key opens: a team's door, until a time (Unix seconds; infinity: no end is set)."""

    team: str
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything an operator may change while the gateway runs.

    `teams` and `keys` hold those of the settings and those made at run time; `provisioned` names
    the teams of the settings. `keys` goes by the SHA-256 (hex) of a team key, `rules` maps the
    name of an upstream to its pace, back-off and what a credit is worth.
    """

    catalog: Catalog
    teams: Mapping[str, Team]
    keys: Mapping[str, Grant]
    provisioned: frozenset[str] = frozenset()
    admin_keys: frozenset[str] = frozenset()
    metrics_keys: frozenset[str] = frozenset()
    zone: tzinfo = UTC
    public_url: str = ""
    cache_ttl_seconds: float = 30 * 86_400.0
    remember_lost_seconds: float = 900.0
    free_space_floor_bytes: int = 0
    picture_limit_bytes: int = 64 * 1024 * 1024
    body_limit_bytes: int = 1024 * 1024
    upload_limit_bytes: int = 100_000_000
    openai_wait_seconds: float = 290.0
    openai_sdk_on_v1: bool = False
    cors_origins: frozenset[str] = frozenset()
    max_waiters: int = 10_000
    private_callbacks: bool = False
    callback_retries: tuple[float, ...] = (1.0, 2.0, 4.0)
    alerting: Alerting | None = None
    jobs_retention_seconds: float = 400 * 86_400.0
    claims_retention_seconds: float = 7 * 86_400.0
    refusals_retention_seconds: float = 30 * 86_400.0
    log_prompts: bool = False
    rules: Mapping[str, Rules] = field(default_factory=dict)

    def account_keys(self, team: str, at: float) -> tuple[AccountKey, ...]:
        """The team's accounts of that time, in the windows that are in force."""
        return account_keys(team, at, self.zone)


class Current:
    """The policy in force, and the clock (Unix seconds) by which its keys end.

    Readers take `.policy` once per decision and keep that value.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self.policy = policy
        self.clock = clock

    def granted(self, digest: str) -> Team | None:
        """The team whose key has this digest; None for a key that is unknown or has ended."""
        grant = self.policy.keys.get(digest)
        if grant is None or grant.until <= self.clock():
            return None
        return self.policy.teams.get(grant.team)
