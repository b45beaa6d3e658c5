"""What an order comes to in numbers, as its answer tells them: cost, savings, what is left.

They are those of the decision itself, made in the ledger's transaction: two orders at the same
time are told of one hold after the other. Only the order's own cost goes on with its run, and what
is left with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.model import Run, Verdict
from gateway.core.money.budgets import Left
from gateway.core.orders.admission import Denied, Doubtful, Replayed, Settled


@dataclass(frozen=True, slots=True)
class Receipt:
    """Micro-dollars. `left` is as the order left it when it was decided, its own cost taken off.

    `cost_usd_micros` of a run that goes on is what is held for it, so the most it can cost; of one
    that has ended what it did cost. An order that is answered by another's run costs nothing, and
    has saved what that run costs in the same sense.
    """

    cost_usd_micros: int
    saved_usd_micros: int
    left: Left


NOTHING: Final = Receipt(0, 0, Left())
"""Of an order that was refused before anything was looked up for it."""


def receipt(decision: Settled | Replayed, run: Run | None = None) -> Receipt:
    """The receipt with the decision's run as it is now (None: as it was then).

    An order that came again under its key is told what its first task was told: nothing is paid
    again, and a program that adds up costs by task is right.
    """
    if isinstance(decision, Denied | Doubtful):
        return Receipt(0, 0, decision.left)
    run = run or decision.run
    worth = _worth(run)
    if decision.job.verdict is not Verdict.STARTED:
        return Receipt(0, worth, decision.left)
    return Receipt(worth, 0, decision.left.freed(_worth(decision.run) - worth))


def _worth(run: Run) -> int:
    return run.hold.usd_micros + run.spent.usd_micros
