"""An order at the gateway's door: all that the decision on it may look at.

Pure data, made by the service before anything is asked of the ledger. It knows which records its
decision needs, and which runs could answer it; what is decided is admission's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from gateway.core.catalog import ClientControl, ImageModel, Team
from gateway.core.model import Claim, Freshness, Order, Run, RunState
from gateway.core.money.accounts import Account, AccountKey, Window, Windows
from gateway.core.money.alerts import Alerting
from gateway.core.money.budgets import TOLD_OF, account_keys, resets_at
from gateway.core.transaction import Keys


def honoured(asked: Freshness, control: ClientControl) -> Freshness:
    """What counts of a client's `Cache-Control`: whoever pays may say that no client may pass the
    cache by. `only-if-cached` always counts, since it never costs."""
    if control is ClientControl.HONOUR:
        return asked
    return Freshness(only_if_cached=asked.only_if_cached)


@dataclass(frozen=True, slots=True)
class Ask:
    """An order at the gateway's door, with everything the decision may look at.

    `freshness` is what is honoured of the client's wishes, `ignored` says that this is not all
    of them. `cached` is what the response cache had for the fingerprint, in its epoch
    `cache_epoch`; `vetted` tells of finished runs whether their pictures are readable; `room`
    whether the disk has space for more, which is
    looked at where `cached` has no answer. `claim` is the idempotency key as it is claimed for the
    job, `free` a former claim of that key which holds no longer. `alerting` says where to tell that
    a team comes near a limit, `told` which of those alerts are written already. Ids and lease are
    made before, so that the decision is pure.
    """

    order: Order
    team: Team
    model: ImageModel
    fingerprint: str
    freshness: Freshness
    ttl_seconds: float
    windows: Windows
    zone: tzinfo
    now: float
    job_id: str
    run_id: str
    lease_owner: str
    lease_until: float
    ignored: bool = False
    room: bool = True
    cached: Run | None = None
    vetted: Mapping[str, bool] = field(default_factory=dict)
    claim: Claim | None = None
    free: Claim | None = None
    remember_lost_seconds: float = 0.0
    alerting: Alerting | None = None
    told: frozenset[str] = frozenset()
    cache_epoch: int = 0

    def renews_at(self, window: Window) -> float:
        return resets_at(window, self.now, self.zone)

    def in_force(self, accounts: Mapping[AccountKey, Account]) -> Mapping[AccountKey, Account]:
        """Those of the accounts that the team's limits are held against."""
        return {key: accounts[key] for key in self._accounts() if key in accounts}

    def told_of(self, accounts: Mapping[AccountKey, Account]) -> Mapping[AccountKey, Account]:
        """Those of the accounts that show what the team has left."""
        return {key: accounts[key] for key in self._told_of() if key in accounts}

    def keys(self) -> Keys:
        """What `admit` needs to see: the team's accounts, the runs of the fingerprint, the claim.

        When the response cache has the answer, only the claim and what the caller is told of: that
        saves the ledger's reads.
        """
        claim = (self.claim.team, self.claim.key) if self.claim else None
        cached = self.cached
        if cached and self.vetted.get(cached.id) and self.seconds_left(cached) > 0:
            return Keys(self._told_of(), claim=claim)
        return Keys(
            self._accounts(),
            counted=(self.team.name, self.now),
            fingerprint=None if self.freshness.no_store else self.fingerprint,
            claim=claim,
        )

    def _accounts(self) -> tuple[AccountKey, ...]:
        """The team's accounts of now. Those of a whole second are remembered: windows begin and end
        with one."""
        return account_keys(self.team.name, int(self.now), self.zone)

    def _told_of(self) -> tuple[AccountKey, ...]:
        """The accounts that show what the team has left (`budgets.left`)."""
        windows = {cap.window for cap in self.team.caps if cap.measure in TOLD_OF}
        return tuple(key for key in self._accounts() if key.window in windows) if windows else ()

    def seconds_left(self, run: Run) -> float:
        """For how long this finished run may still answer such orders; 0 when it may not.

        It may be too old, for us or for the caller, or no route leads any more to where its
        pictures were made.
        """
        wish, age = self.freshness, self.now - (run.finished_at or 0.0)
        oldest = self.ttl_seconds if wish.max_age_seconds is None else wish.max_age_seconds
        if wish.no_cache or wish.no_store or age >= oldest or not self.is_served(run):
            return 0.0
        return max(0.0, self.ttl_seconds - age)

    def is_served(self, run: Run) -> bool:
        """Whether the model's routes still lead to the upstream model that the run is on, or was.

        Another upstream model makes other pictures, under whatever public name; prices, the order
        of routes and another way to the same model change none. What waits for a route will be sent
        on one of today's, and a doubt is a doubt wherever it came from.
        """
        if run.state in (RunState.QUEUED, RunState.UNSURE):
            return True
        for route in self.model.routes:  # noqa: SIM110 - asked three times of a hit
            if route.model == run.upstream_model:
                return True
        return False
