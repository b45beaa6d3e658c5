"""The outbox: which callbacks are owed, and what an attempt at one means for it.

A delivery is a row of the ledger, written in the transaction that makes it owed: the one that
ends a run, or the one that answers an order from the cache. So it outlives the process, and is
delivered at least once, always under the same id.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.core.copies import replace
from gateway.core.model import Delivery, DeliveryState, Job, Run
from gateway.core.runs.answered import Reply, reply

ERROR_CHARACTERS: Final = 220
"""What is kept of a failed attempt's reason: enough to mend a receiver by, with 200 characters of
what it said itself."""

STANDARD_PREFIX: Final = "whsec_"

OPERATOR: Final = ""
"""The party of alerts; no team has this name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    `status` is the receiver's answer, None when there was none; `error` says why it is no good,
    where there is more to say than the status.
    """

    status: int | None = None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def owed(before: Run, after: Run, jobs: Iterable[Job], *, now: float) -> tuple[Delivery, ...]:
    """One delivery for each of the run's jobs that wants one, when the run has just ended.

    Jobs whose POST was answered with the error itself, and so never had a task id, are not
    called back. When a run that failed was tried again, each is called once more.
    """
    if before.is_final or not after.is_final or reply(after) is not Reply.TASK:
        return ()
    anew = bool(before.spent)
    return tuple(one for job in jobs for one in owes(job, now, anew=anew))


def owes(job: Job, now: float, *, anew: bool = False) -> tuple[Delivery, ...]:
    """The delivery of a job whose run has ended; nothing when it asked for none.

    Its id follows from the job's: a job is called back once, whoever works that out how often.
    `anew`: it was called back about a failure, under an id that its receiver has seen.
    """
    if job.callback_url is None:
        return ()
    name = f"msg_{job.id}-again" if anew else f"msg_{job.id}"
    return (Delivery(name, job.id, job.team, job.callback_url, created_at=now, due_at=now),)


# --- attempts ----------------------------------------------------------------------------------


def after_attempt(
    delivery: Delivery, outcome: Outcome, *, now: float, retries: tuple[float, ...]
) -> Delivery:
    """The delivery after an attempt; `retries` are the waits before each further one, seconds.

    Only an answer of 2xx delivers it. It gives its lease back.
    """
    attempts = delivery.attempts + 1
    after = replace(
        delivery,
        attempts=attempts,
        status=outcome.status,
        error=None if outcome.delivered else _reason(outcome),
        lease_owner=None,
        lease_until=0.0,
    )
    if outcome.delivered:
        return replace(after, state=DeliveryState.DELIVERED, ended_at=now)
    if attempts > len(retries):
        return replace(after, state=DeliveryState.FAILED, ended_at=now)
    return replace(after, due_at=now + retries[attempts - 1])


def put_off(delivery: Delivery, *, until: float) -> Delivery:
    """Given back untried: its receiver has a long line already, or its lease is nearly over."""
    return replace(delivery, due_at=until, lease_owner=None, lease_until=0.0)


def again(delivery: Delivery, *, now: float) -> Delivery:
    """A new series of attempts under the same id; one that is still going on goes on."""
    if delivery.state is DeliveryState.PENDING:
        return delivery
    return replace(
        delivery,
        state=DeliveryState.PENDING,
        attempts=0,
        due_at=now,
        ended_at=None,
        lease_owner=None,
        lease_until=0.0,
    )


def party(delivery: Delivery) -> str:
    """Whose share a delivery takes: its team's, or for an alert the operator's own."""
    return delivery.team if delivery.job_id is not None else OPERATOR


def receiver(url: str) -> str:
    """The host that a callback goes to: all that may be said of its URL, and what is bounded."""
    return urlsplit(url).hostname or ""


def signing_key(secret: str) -> bytes:
    """The key that callbacks are signed with.

    `whsec_` and base64, as Standard Webhooks writes it, or any other text, whose bytes are the
    key then. Raises `ValueError` when what follows `whsec_` is not base64, or nothing.
    """
    if not secret.startswith(STANDARD_PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(STANDARD_PREFIX).rstrip("=")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if not key:
        raise ValueError("nothing follows whsec_")
    return key


def _reason(outcome: Outcome) -> str:
    return (outcome.error or f"answered {outcome.status}")[:ERROR_CHARACTERS]
