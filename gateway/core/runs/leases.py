"""The lease of a run: for how long it is one worker's, and what that worker may still do without.

A worker may stand still for any time, at any instruction, and go on as if nothing had been. Another
one has its runs by then. So whoever works under a lease may record what came of it only while the
run is still his, and sends nothing that cannot be taken back before he has made sure of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.core.model import Run
from gateway.core.runs.events import Accepted, Delivered, Event

RUN_LEASE_SECONDS: Final = 15.0
"""How long a worker has a run to itself without saying so again: when it dies, another takes the
run up within that time."""

RENEW_SECONDS: Final = 4.0
"""How often it says so while a step is under way. Two may be lost."""

SURE_SECONDS: Final = 3.0
"""What has to be left of a lease for it to be believed without a look at the ledger: more than the
clocks of two gateways may differ by."""

LEFT_SECONDS: Final = 20.0
"""How long a due run whose upstream a gateway's settings do not name is left to those of the others
whose settings do. Then it is taken all the same: it has a deadline, and nobody may know it."""


class Stand(NamedTuple):
    """Where a run stands: what tells one submit of it from all others."""

    run_id: str
    state: str
    attempts: int
    tries: int


def stand(run: Run) -> Stand:
    return Stand(run.id, run.state.value, run.attempts, run.tries)


def may_record(run: Run, event: Event, now_is: Run) -> bool:
    """Whether what happened to the run as it was taken may be recorded in it as it is now.

    Only by whoever has it still; another one looks for himself. That upstream took the submit, or
    did the work, is told by all means: it is paid, and nobody else may know of it.
    """
    if now_is.attempts != run.attempts:
        return False
    return isinstance(event, Accepted | Delivered) or now_is.lease_owner == run.lease_owner
