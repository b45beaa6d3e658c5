"""What a decision asks of the ledger, sees of it, and writes to it.

The ledger loads what `Keys` name, calls a pure decision with the `View`, and commits its
`Writes`. A decision may be called again with a newer view; it must therefore have no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.core.model import Account, AccountKey, Job, Run, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """The records a decision needs. Everything loaded is locked until the commit."""

    accounts: tuple[AccountKey, ...] = ()
    fingerprint: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The records as they are. An account that does not exist yet is there with zeros.

    `live` is the one shared run of the fingerprint that is not final, `finished` its newest
    shared run that is done, `run` the run with the asked id; None where there is none.
    """

    accounts: Mapping[AccountKey, Account] = field(default_factory=dict)
    live: Run | None = None
    finished: Run | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Writes:
    """Runs and accounts to insert or replace as wholes, new jobs, and increments of usage.

    A job is never replaced: one whose id is taken breaks a constraint.
    """

    runs: tuple[Run, ...] = ()
    jobs: tuple[Job, ...] = ()
    accounts: tuple[Account, ...] = ()
    usage: tuple[Usage, ...] = ()


class ConstraintViolation(Exception):
    """A decision wrote what the ledger's constraints forbid; nothing of it was written.

    A defect of ours, a record from elsewhere (a cache that outlived its ledger), or a new id
    that chance has given before.
    """


Decide = Callable[[View], tuple[T, Writes]]
