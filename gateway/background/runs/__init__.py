"""The driver of runs: leases due ones, does the next step of each, feeds the event back.

One loop serves a first submit and a recovery after a crash alike. It decides nothing: the core
says what to do next and what an event means, the ledger commits it together with the money. What
it does owns three promises: an event is never lost while the process lives, every task it starts
is awaited, and everything it does at once is bounded.

    loop.py        leasing, and the way of one run from step to step
    asking.py      the steps submit and watch: calls to upstream
    keeping.py     the step keep: pictures into our store, and the run's own
    recording.py   an event into the ledger, and to those who wait for it
    deps.py        what all of these work with
"""

from __future__ import annotations

from gateway.background.runs.deps import RunBounds, RunsDeps
from gateway.background.runs.loop import Worker

__all__ = ["RunBounds", "RunsDeps", "Worker"]
