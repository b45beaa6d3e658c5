"""The settings as the service and the worker see them: one value, swapped whole on reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from math import floor

from gateway.core.catalog import Catalog, KeyName, Team
from gateway.core.money.accounts import AccountKey
from gateway.core.money.alerts import Alerting
from gateway.core.money.budgets import account_keys
from gateway.core.runs.lifecycle import Rules


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key opens: a team's door, until a time (Unix seconds; infinity: no end is set).

    `key` is what operators know the key by.
    """

    team: str
    until: float = float("inf")
    key: KeyName | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything an operator may change while the gateway runs.

    `teams` and `keys` hold those of the settings and those made at run time; `provisioned` names
    the teams of the settings. `keys` goes by the SHA-256 (hex) of a team key, `admin_keys` by that
    of an operator's, to the operator's name, which may be empty. `rules` maps the
    name of an upstream to its pace, back-off and what a credit is worth, `former_rules` those that
    the settings named while this process ran, and `other_rules` are those of any other upstream.
    """

    catalog: Catalog
    teams: Mapping[str, Team]
    keys: Mapping[str, Grant]
    provisioned: frozenset[str]
    admin_keys: Mapping[str, str]
    metrics_keys: frozenset[str]
    zone: tzinfo
    public_url: str
    cache_ttl_seconds: float
    remember_lost_seconds: float
    free_space_floor_bytes: int
    picture_limit_bytes: int
    body_limit_bytes: int
    upload_limit_bytes: int
    uploads_per_team_bytes: int
    openai_wait_seconds: float
    openai_sdk_on_v1: bool
    cors_origins: frozenset[str]
    max_waiters: int
    private_callbacks: bool
    callback_retries: tuple[float, ...]
    alerting: Alerting | None
    jobs_retention_seconds: float
    claims_retention_seconds: float
    refusals_retention_seconds: float
    log_prompts: bool
    rules: Mapping[str, Rules]
    other_rules: Rules
    former_rules: Mapping[str, Rules] = field(default_factory=dict)

    @property
    def room_floor_bytes(self) -> int:
        """With less room no new run starts: what the settings reserve, and never less than a
        picture may take, which would be paid and find no room."""
        return max(self.free_space_floor_bytes, self.picture_limit_bytes)

    @property
    def spare_floor_bytes(self) -> int:
        """With less room there is none for what no order waits for, such as uploads: well above the
        floor of orders, which that would else stop for everyone, for days."""
        return 2 * self.room_floor_bytes

    def account_keys(self, team: str, at: float) -> tuple[AccountKey, ...]:
        """The team's accounts of that time, in the windows that are in force; as windows begin and
        end with a second, all runs of a second share them."""
        return account_keys(team, floor(at), self.zone)

    @property
    def has_whole_upstreams(self) -> bool:
        """Whether there is an upstream where a submit is the whole work."""
        return any(rules.kind.is_whole for rules in self.rules.values())

    def rules_of(self, upstream: str) -> Rules:
        """What the lifecycle goes by for runs that are with this upstream."""
        return self.rules.get(upstream) or self.former_rules.get(upstream, self.other_rules)

    def following(self, former: Policy) -> Policy:
        """This one in the place of a former one: what runs are with, they go by to their end."""
        return replace(self, former_rules={**former.former_rules, **former.rules})


class Current:
    """The policy in force, and the clock (Unix seconds) by which its keys end.

    Readers take `.policy` once per decision and keep that value.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self.policy = policy
        self.clock = clock
        self._let_in: dict[str, tuple[Team, Grant, Team]] = {}

    def granted(self, digest: str) -> Team | None:
        """The team whose key has this digest, with that key's name; None for a key that is unknown
        or has ended."""
        grant = self.policy.keys.get(digest)
        if grant is None or grant.until <= self.clock():
            return None
        team = self.policy.teams.get(grant.team)
        if team is None or grant.key is None:
            return team
        known = self._let_in.get(digest)
        if known is None or known[0] is not team or known[1] is not grant:
            if len(self._let_in) > len(self.policy.keys):  # some that are no more
                self._let_in.clear()
            known = self._let_in[digest] = (team, grant, replace(team, key=grant.key))
        return known[2]

    def still_opens(self, team: Team) -> bool:
        """Whether the key by which this team was let in would let it in now."""
        now, named = self.clock(), team.key
        return named is None or any(
            one.team == team.name
            and one.key is not None
            and one.key.id == named.id
            and one.until > now
            for one in self.policy.keys.values()
        )
