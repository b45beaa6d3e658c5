"""The driver of runs: leases due ones, does the next step of each, feeds the event back.

One loop serves a first submit and a recovery after a crash alike. It decides nothing: the core
says what to do next and what an event means, the ledger commits it together with the money. What
it does owns three promises: an event is never lost while the process lives, every task it starts
is awaited, and everything it does at once is bounded.

    loop.py        leasing, and the way of one run from step to step
    asking.py      the steps submit, recover and watch: calls to upstream
    slots.py       how many submits are under way at once, and who is next
    keeping.py     the step keep: pictures into our store, and the run's own
    spooled.py     answers that lie here and that no drive has in hand
    recording.py   an event into the ledger, and to those who wait for it
    leases.py      what of it is in this process' hands
    ending.py      the end of what is under way, at a stop
    deps.py        what all of these work with
"""

from __future__ import annotations

from gateway.background.runs.deps import CallBounds, RunBounds, RunsDeps
from gateway.background.runs.loop import Worker
from gateway.background.runs.spooled import SWEEP_SECONDS

__all__ = ["SWEEP_SECONDS", "CallBounds", "RunBounds", "RunsDeps", "Worker"]
