"""What a decision asks of the ledger, sees of it, and writes to it.

The ledger loads what `Keys` name, calls a pure decision with the `View`, and commits its
`Writes`. A decision may be called again with a newer view; it must therefore have no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.core.model import Claim, Delivery, Job, KeptPicture, Run, Upload, Usage
from gateway.core.money.accounts import Account, AccountKey
from gateway.core.replicas import Epoch, Epochs
from gateway.core.runs.history import Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """The records a decision needs. Everything loaded is locked until the commit, but `epochs`.

    `accounts` are made from the runs where they are not there yet. `counted` is a team and a time:
    all accounts that there are of it, of this zone or another; whoever books needs them.
    `claim` is a team and an idempotency key; `team` names one of the teams made at run time,
    `picture` is a digest. `epochs` are read once all else is locked: whoever raised one together
    with a change of what is locked was before, or comes after. `uploads` is whose uploads are
    summed, and the time at which they are still there.

    `alone`: of the fingerprint and the jobs, which are locked as ever, only the run is loaded.
    """

    accounts: tuple[AccountKey, ...] = ()
    counted: tuple[str, float] | None = None
    fingerprint: str | None = None
    run_id: str | None = None
    claim: tuple[str, str] | None = None
    team: str | None = None
    picture: str | None = None
    epochs: bool = False
    alone: bool = False
    uploads: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The records as they are. An account has what its runs have, also where it is new.

    `live` is the one shared run of the fingerprint that is not final, `finished` its newest
    shared run that is done, `lost` its newest shared run that ended without a picture and counts
    as spent, `superseded` its newest live run that a newer one took the place of. `run` is the run
    with the asked id, `owed` its jobs that want a callback; None or empty where there is none.
    `managed` is the asked team, deleted or not, with all keys it ever had; `pictures` the records
    of the asked picture, one for each run that made it, erased ones too, the oldest first. `epochs`
    is None where nobody asked. `uploaded_bytes` is what the asked uploads come to that have not
    expired at the asked time.
    """

    accounts: Mapping[AccountKey, Account] = field(default_factory=dict)
    live: Run | None = None
    finished: Run | None = None
    run: Run | None = None
    owed: tuple[Job, ...] = ()
    claim: Claim | None = None
    managed: ManagedTeam | None = None
    team_keys: tuple[TeamKey, ...] = ()
    pictures: tuple[KeptPicture, ...] = ()
    lost: Run | None = None
    superseded: Run | None = None
    epochs: Epochs | None = None
    uploaded_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Writes:
    """Records to insert or replace as wholes; `usage` holds increments to add.

    A job, a claim, a change, a step or a key's digest is only ever inserted: one that is there
    already is a violation. The claims in `freed` are deleted before, each only if it still names
    the same job. An alert that is there already stays as it is, and so does a refusal. Of
    `pictures` only the times of erasure and the prompt are taken over. A run with an erased picture
    answers nobody any more; with its last one, and when it is in `wordless`, its words go from
    wherever they lie (`gateway.core.runs.redaction`). Each epoch in `raised` is one higher.
    """

    runs: tuple[Run, ...] = ()
    jobs: tuple[Job, ...] = ()
    accounts: tuple[Account, ...] = ()
    usage: tuple[Usage, ...] = ()
    claims: tuple[Claim, ...] = ()
    freed: tuple[Claim, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    uploads: tuple[Upload, ...] = ()
    alerts: tuple[Delivery, ...] = ()
    teams: tuple[ManagedTeam, ...] = ()
    team_keys: tuple[TeamKey, ...] = ()
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    pictures: tuple[KeptPicture, ...] = ()
    wordless: tuple[str, ...] = ()
    raised: frozenset[Epoch] = frozenset()


STALE_SECONDS: Final = 30.0
"""A decision that waited longer for its turn, or whose clock was set meanwhile, is made anew."""


class Stale(Exception):
    """The time by which a decision was to be made is long past, or not yet."""

    @staticmethod
    def check(at: float, now: float) -> None:
        """Raises it where `now` is far from the time `at` which was meant."""
        if abs(now - at) > STALE_SECONDS:
            raise Stale


class ConstraintViolation(Exception):
    """A decision wrote what the ledger's constraints forbid; nothing of it was written.

    A defect of ours, a record from elsewhere (a cache that outlived its ledger), or a new id
    that chance has given before.
    """


Decide = Callable[[View], tuple[T, Writes]]
