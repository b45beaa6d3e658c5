"""Decisions that wait together, made together: each sees what those before it write.

What they write is merged, so that the store writes it as if it were of one. Where the writes of one
do not merge with those before, or what it would see cannot be known, it has to come again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.ledger.lane import Ticket, WorkOutcome
from gateway.adapters.ledger.loaded import Loaded
from gateway.adapters.ledger.merging import Merged
from gateway.adapters.ledger.overlay import Overlay
from gateway.adapters.ledger.planned import Before
from gateway.adapters.ledger.replica_store import Turning
from gateway.adapters.ledger.writes import Decision
from gateway.core.transaction import Writes


class Deciding:
    """Owns what was loaded for all of them."""

    def __init__(self, loaded: Loaded) -> None:
        self._overlay = Overlay(loaded)
        self._merged = Merged(loaded.made)

    @property
    def known(self) -> Before:
        """What was there before."""
        return self._overlay.known

    def writes(self) -> Writes:
        return self._merged.writes()

    def outcomes(self, tickets: Sequence[Ticket]) -> list[WorkOutcome]:
        """At least the first one's; what a decision raises concerns it alone."""
        outcomes: list[WorkOutcome] = []
        for ticket in tickets:
            outcome = self._decide(ticket)
            if outcome is None:
                break
            outcomes.append(outcome)
        return outcomes

    def _decide(self, ticket: Ticket) -> WorkOutcome | None:
        decision = decision_of(ticket)
        view = self._overlay.view(decision.keys)
        if view is None:
            return None
        try:
            answer, writes = decision.decide(view)
        except BaseException as error:
            return WorkOutcome(error=error)
        if not self._merged.take(writes):
            return None
        self._overlay.add(writes)
        return WorkOutcome(answer)


def kind_of(ticket: Ticket) -> type | None:
    """Of the work that is done together with more of its kind."""
    kind = type(ticket.work)
    return kind if kind is Decision or kind is Turning else None


def decision_of(ticket: Ticket) -> Decision:
    assert isinstance(ticket.work, Decision)  # noqa: S101 - as its server sorts them
    return ticket.work


def deciding(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Those of one batch: up to the first whose caller is gone, and only one where pictures are
    asked for: what its decision takes back is not seen by those behind it."""
    living: list[Ticket] = []
    for ticket in tickets:
        asks_pictures = decision_of(ticket).keys.picture is not None
        if ticket.is_gone or (asks_pictures and living):
            break
        living.append(ticket)
        if asks_pictures:
            break
    return living
