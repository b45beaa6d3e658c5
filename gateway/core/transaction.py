"""What a decision asks of the ledger, sees of it, and writes to it.

The ledger loads what `Keys` name, calls a pure decision with the `View`, and commits its
`Writes`. A decision may be called again with a newer view; it must therefore have no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.core.model import (
    Account,
    AccountKey,
    Claim,
    Delivery,
    Job,
    Run,
    Upload,
    Usage,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """The records a decision needs. Everything loaded is locked until the commit.

    `claim` is a team and an idempotency key.
    """

    accounts: tuple[AccountKey, ...] = ()
    fingerprint: str | None = None
    run_id: str | None = None
    claim: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The records as they are. An account that does not exist yet is there with zeros.

    `live` is the one shared run of the fingerprint that is not final, `finished` its newest
    shared run that is done, `run` the run with the asked id, `owed` its jobs that want a
    callback; None or empty where there is none.
    """

    accounts: Mapping[AccountKey, Account] = field(default_factory=dict)
    live: Run | None = None
    finished: Run | None = None
    run: Run | None = None
    owed: tuple[Job, ...] = ()
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Writes:
    """Records to insert or replace as wholes; `usage` holds increments to add.

    A job or a claim is only ever inserted: one that is there already is a violation. The claims
    in `freed` are deleted before, each only if it still names the same job.
    """

    runs: tuple[Run, ...] = ()
    jobs: tuple[Job, ...] = ()
    accounts: tuple[Account, ...] = ()
    usage: tuple[Usage, ...] = ()
    claims: tuple[Claim, ...] = ()
    freed: tuple[Claim, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    uploads: tuple[Upload, ...] = ()


class ConstraintViolation(Exception):
    """A decision wrote what the ledger's constraints forbid; nothing of it was written.

    A defect of ours, a record from elsewhere (a cache that outlived its ledger), or a new id
    that chance has given before.
    """


Decide = Callable[[View], tuple[T, Writes]]
