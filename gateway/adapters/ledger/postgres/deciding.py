"""Which decisions of a batch go together, and what each comes to among them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.ledger import rows
from gateway.adapters.ledger.lane import Ticket, WorkOutcome
from gateway.adapters.ledger.planned import Before
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.adapters.ledger.postgres.loading import RUNS
from gateway.adapters.ledger.postgres.merging import Merged
from gateway.adapters.ledger.postgres.overlay import Overlay
from gateway.adapters.ledger.replica_store import Turning
from gateway.adapters.ledger.writes import Decision
from gateway.core.model import RunState
from gateway.core.transaction import Writes


def kind_of(ticket: Ticket) -> type | None:
    """Of the work that is done together with more of its kind."""
    return next((kind for kind in (Decision, Turning) if isinstance(ticket.work, kind)), None)


def decide(ticket: Ticket, overlay: Overlay, merged: Merged) -> WorkOutcome | None:
    """What it comes to, with its writes among the others; None: not in this batch."""
    decision = ticket.work
    assert isinstance(decision, Decision)  # noqa: S101 - as `serve` sorts them
    view = overlay.view(decision.keys)
    if view is None:
        return None
    try:
        answer, writes = decision.decide(view)
    except BaseException as error:
        return WorkOutcome(error=error)
    if not merged.take(writes):
        return None
    overlay.add(writes)
    return WorkOutcome(answer)


def until_gone(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Up to the first whose caller is gone, and only one where pictures are asked for: what its
    decision takes back is not seen by those behind it."""
    living: list[Ticket] = []
    for ticket in tickets:
        asks_pictures = ticket.work.keys.picture is not None  # type: ignore[attr-defined]
        if ticket.is_gone or (asks_pictures and living):
            break
        living.append(ticket)
        if asks_pictures:
            break
    return living


def all_known(db: PostgresDatabase, writes: Writes, known: Before) -> Before:
    """Of a run that is done it must be known whether it was so before."""
    unread = [
        run.id for run in writes.runs if run.state is RunState.DONE and run.id not in known.runs
    ]
    if not unread:
        return known
    found = db.connection.execute(RUNS, (unread,)).fetchall()
    return Before(
        {**known.runs, **{run.id: run for run in map(rows.run_from, found)}}, known.accounts
    )
