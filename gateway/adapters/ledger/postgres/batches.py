"""The writing lane: decisions that wait together are made together.

    one round trip      BEGIN, which transaction it is, all locks, all that must be seen
    no round trip       each decides on what is there and on what those before it write
    one round trip      everything that they write, merged, and COMMIT

What a decision raises concerns it alone. Where the writes of one do not merge with those before,
or what it would see cannot be known, the batch ends before it and the next begins. Where a
constraint is broken each is done for itself, so that only the guilty one hears of it. Where a lock
is not to be had soon, each team's are made for themselves: one team's lock stops no other.

Turns that are taken and given back together share two round trips as well: there are two of them
for each paid picture, and one by one they would not be done in time where the server is far.

Measured with `benchmarks/admissions.py` on two shared cores: see its page of decisions.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from threading import Event
from typing import Any, Final, TypeVar

import psycopg

from gateway.adapters.ledger import planned, store
from gateway.adapters.ledger.deciding import Deciding, deciding, decision_of, kind_of
from gateway.adapters.ledger.lane import Ticket, WorkOutcome
from gateway.adapters.ledger.planned import Before
from gateway.adapters.ledger.postgres import announcing, failures
from gateway.adapters.ledger.postgres.connections import WRITING, Address, PostgresConnected
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.adapters.ledger.postgres.held_up import HeldUp, whose
from gateway.adapters.ledger.postgres.loading import all_known, load
from gateway.adapters.ledger.postgres.settling import Settling
from gateway.adapters.ledger.replica_store import NotFree, Turning
from gateway.adapters.ledger.writes import Decision
from gateway.core.transaction import ConstraintViolation, Writes
from gateway.errors import Unavailable

T = TypeVar("T")

MOST_TRIES: Final = 5
"""Of what another process was in the way of."""

PAUSE_SECONDS: Final = 0.02


class _Undone(Exception):
    """Nothing was committed: to be done again without those whose callers are gone."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The decisions of a batch that are committed together."""

    tickets: Sequence[Ticket]
    outcomes: Sequence[WorkOutcome]
    writes: Writes
    known: Before


class PostgresWriter(PostgresConnected):
    """`stopping` ends the wait for a server that is away."""

    def __init__(self, address: Address, stopping: Event) -> None:
        super().__init__(address, WRITING, writes=True)
        self._held_up = HeldUp()
        self._settling = Settling(address, stopping)
        self._schema = ""

    def serve(self, batch: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        self._held_up.begin()
        outcomes: dict[Ticket, WorkOutcome] = {}
        first = [ticket for ticket in batch if not self._held_up.has(ticket)]
        for kind, some in groupby(first, key=kind_of):
            outcomes |= self._served(kind, list(some))
        last = [ticket for ticket in batch if ticket not in outcomes]
        if chosen := self._held_up.next_of(last):
            [(_, outcome)] = self._served(kind_of(chosen), [chosen], alone=True).items()
            self._held_up.tried(chosen, outcome)
            outcomes[chosen] = outcome
        return [outcomes.get(ticket) or self._held_up.later(ticket) for ticket in batch]

    def _served(
        self, kind: type | None, tickets: Sequence[Ticket], *, alone: bool = False
    ) -> Mapping[Ticket, WorkOutcome]:
        """All of one kind; without those that are held up, unless one is tried `alone`."""
        if kind is Decision:
            return self._decided(tickets, alone=alone)
        if kind is Turning:
            return self._turned(tickets)
        return {ticket: self._worked(ticket) for ticket in tickets if not self._held_up.enough}

    def database(self) -> PostgresDatabase:
        is_new = self._database is None
        db = super().database()
        if is_new:
            self._settling.connected()
        if not self._schema:
            [[schema]] = db.execute("SELECT current_schema()").fetchall()
            self._schema = str(schema)
        return db

    # --- decisions -----------------------------------------------------------------------------

    def _decided(
        self, tickets: Sequence[Ticket], *, alone: bool = False
    ) -> dict[Ticket, WorkOutcome]:
        outcomes: dict[Ticket, WorkOutcome] = {}
        while left := [one for one in tickets if one not in outcomes and self._may(one, alone)]:
            outcomes |= zip(left, self._some(left), strict=False)
        return outcomes

    def _may(self, ticket: Ticket, alone: bool) -> bool:
        return alone or not (self._held_up.enough or self._held_up.has(ticket))

    def _each(self, groups: Iterable[Sequence[Ticket]]) -> list[WorkOutcome]:
        """One group after the other; for all of them, in their order."""
        outcomes: list[WorkOutcome] = []
        for some in groups:
            found = self._decided(some)
            outcomes += [found.get(ticket) or self._held_up.later(ticket) for ticket in some]
        return outcomes

    def _some(self, tickets: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        """At least the first."""
        if tickets[0].is_gone:
            return [WorkOutcome(error=Unavailable("Nobody waits for it."))]
        living = deciding(tickets)
        try:
            return self._again_and_again(lambda: self._together(living), alone=len(living) == 1)
        except _Undone:
            return []
        except psycopg.errors.LockNotAvailable as error:
            return self._apart(living, _face(error))
        except (psycopg.Error, UnicodeEncodeError) as error:
            if failures.is_defect(error) and len(living) > 1:
                return self._each([one] for one in living)
            return [WorkOutcome(error=_face(error))] * len(living)
        except ConstraintViolation as error:
            if len(living) > 1:
                return self._each([one] for one in living)
            return [WorkOutcome(error=error)]
        except BaseException as error:
            return [WorkOutcome(error=error)] * len(living)

    def _apart(self, tickets: Sequence[Ticket], error: Exception) -> Sequence[WorkOutcome]:
        """A lock was not to be had: each team by itself."""
        teams: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            ticket.held_up = error
            teams.setdefault(whose(ticket), []).append(ticket)
        if len(teams) == 1:
            return self._held_up.waited(tickets, error)
        sorted_ = [ticket for some in teams.values() for ticket in some]
        found = dict(zip(sorted_, self._each(teams.values()), strict=True))
        return [found[ticket] for ticket in tickets]

    def _together(self, tickets: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        db = self.database()
        asked = [decision_of(ticket).keys for ticket in tickets]
        loaded = load(db, asked, schema=self._schema, begin=partial(self._settling.begin, db))
        decided = Deciding(loaded)
        outcomes = decided.outcomes(tickets)
        part = _Part(tickets[: len(outcomes)], outcomes, decided.writes(), decided.known)
        self._write(db, part)
        return outcomes

    def _write(self, db: PostgresDatabase, part: _Part) -> None:
        if part.writes == Writes():
            db.execute("COMMIT")
            return
        writes, known = part.writes, all_known(db, part.writes, part.known)
        changes = [*planned.planned(writes, known)]
        checked = any(change.or_else for change in changes)
        if checked or writes.pictures or writes.wordless:
            planned.apply_all(db, iter(changes))
            store.take_back(db, writes)
            changes = []
        else:
            changes += planned.raises(writes.raised)
        said = announcing.encoded(announcing.news_of(writes, known))
        alone = len(part.tickets) == 1
        self._take(part.tickets)

        def send() -> None:
            with db.connection.pipeline():
                for change in changes:
                    if alone or len(change.rows) == 1:
                        for row in change.rows:
                            db.execute(change.sql, row)
                    else:
                        db.executemany(change.sql, change.rows)
                self._announce(db, said)
                db.connection.execute("COMMIT")

        self._commit(part.tickets, send)

    # --- turns ---------------------------------------------------------------------------------

    def _turned(self, tickets: Sequence[Ticket]) -> Mapping[Ticket, WorkOutcome]:
        """In one transaction, without those that want what is another's: they are undone."""
        outcomes: dict[Ticket, WorkOutcome] = {}
        while left := [ticket for ticket in tickets if ticket not in outcomes]:
            outcomes |= self._turned_together(left)
        return outcomes

    def _turned_together(self, tickets: Sequence[Ticket]) -> Mapping[Ticket, WorkOutcome]:
        """What is known by now: of all, or of those that are in the way of the others."""
        living = [ticket for ticket in tickets if not ticket.is_gone]
        known = dict.fromkeys(
            (ticket for ticket in tickets if ticket not in living),
            WorkOutcome(error=Unavailable("Nobody waits for it.")),
        )
        if not living:
            return known
        try:
            refused = self._again_and_again(lambda: self._turn(living), alone=True)
        except _Undone:
            return known
        except psycopg.errors.LockNotAvailable as error:
            found = self._held_up.waited(living, _face(error))
            return {**known, **dict(zip(living, found, strict=True))}
        except psycopg.Error as error:
            return {**known, **dict.fromkeys(living, WorkOutcome(error=_face(error)))}
        except BaseException as error:
            return {**known, **dict.fromkeys(living, WorkOutcome(error=error))}
        return {**known, **(refused or dict.fromkeys(living, WorkOutcome()))}

    def _turn(self, tickets: Sequence[Ticket]) -> Mapping[Ticket, WorkOutcome]:
        """Commits all of them, or none and tells who wanted what is another's.

        Whoever writes several names does so in their order: two never wait for each other.
        """
        db = self.database()
        named = [
            (name, ticket, ticket.work, row)
            for ticket in tickets
            if isinstance(ticket.work, Turning)
            for name, row in ticket.work.rows.items()
        ]
        with db.connection.pipeline():
            self._settling.begin(db)
            done = [
                (ticket, name, work.strict, db.execute(work.sql, row))
                for name, ticket, work, row in sorted(named, key=itemgetter(0))
            ]
        refused = {
            ticket: WorkOutcome(error=NotFree(name))
            for ticket, name, strict, cursor in done
            if strict and cursor.rowcount != 1
        }
        if refused:
            db.connection.rollback()
            return refused
        self._take(tickets)
        self._commit(tickets, lambda: db.connection.execute("COMMIT"))
        return refused

    # --- all other work ------------------------------------------------------------------------

    def _worked(self, ticket: Ticket) -> WorkOutcome:
        """In a transaction of its own."""
        if ticket.is_gone:
            return WorkOutcome(error=Unavailable("Nobody waits for it."))
        try:
            answer = self._again_and_again(lambda: self._work(ticket), alone=True)
        except _Undone:
            return WorkOutcome(error=Unavailable("Nobody waits for it."))
        except psycopg.errors.LockNotAvailable as error:
            [outcome] = self._held_up.waited([ticket], _face(error))
            return outcome
        except psycopg.Error as error:
            return WorkOutcome(error=_face(error))
        except BaseException as error:
            return WorkOutcome(error=error)
        return WorkOutcome(answer)

    def _work(self, ticket: Ticket) -> Any:
        db = self.database()
        db.raised.clear()
        with db.connection.pipeline():
            self._settling.begin(db)
        answer = ticket(db)
        said = announcing.encoded(announcing.raised_news(db.raised))
        self._take([ticket])

        def send() -> None:
            with db.connection.pipeline():
                self._announce(db, said)
                db.connection.execute("COMMIT")

        self._commit([ticket], send)
        return answer

    # --- committing ----------------------------------------------------------------------------

    def _announce(self, db: PostgresDatabase, said: str | None) -> None:
        if said is not None:
            db.connection.execute(announcing.NOTIFY, (announcing.channel(self._schema), said))

    def _take(self, tickets: Sequence[Ticket]) -> None:
        """From here on their callers cannot be told that nothing was written."""
        taken = [ticket for ticket in tickets if ticket.take()]
        if len(taken) < len(tickets):
            _release(taken)
            raise _Undone

    def _commit(self, tickets: Sequence[Ticket], send: Callable[[], object]) -> None:
        try:
            send()
        except (psycopg.Error, UnicodeEncodeError):
            if not self.is_broken() and self._rolled_back():
                _release(tickets)
                raise
            self.drop()
            if self._settling.is_committed():
                return
            _release(tickets)
            raise

    def _rolled_back(self) -> bool:
        """False: the connection broke meanwhile, and nobody knows."""
        try:
            self.database().connection.rollback()
        except psycopg.Error:
            return False
        return True

    def _again_and_again(self, attempt: Callable[[], T], *, alone: bool) -> T:
        """Once more where the connection broke, some times where another process was in the way."""
        conflicts, broke = 0, False
        while True:
            try:
                return attempt()
            except psycopg.Error as error:
                broken = self.is_broken()
                self._undo()
                if broken and not broke and not failures.is_defect(error):
                    broke = True
                    continue
                in_the_way = failures.is_conflict(error) or (alone and failures.is_overtaken(error))
                conflicts += 1
                if not in_the_way or conflicts > MOST_TRIES:
                    raise
                time.sleep(PAUSE_SECONDS * conflicts * random.uniform(0.5, 1.5))
            except BaseException:
                self._undo()
                raise

    def _undo(self) -> None:
        if self._database is None:
            return
        if self._database.is_broken or (not self._database.is_idle and not self._rolled_back()):
            self.drop()


def _release(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.release()


def _face(error: Exception) -> Exception:
    if failures.is_defect(error):
        return ConstraintViolation(failures.said(error))
    assert isinstance(error, psycopg.Error)  # noqa: S101 - nothing else is caught
    return failures.unavailable(error)
