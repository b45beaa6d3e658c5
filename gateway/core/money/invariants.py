"""What must always be true of a ledger, by name, and what it looks like when it is not.

Each invariant's value is the sentence that people read. How an invariant is checked is the
ledger's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """In the order in which an audit tells them."""

    ACCOUNTS = "Every account holds and has spent exactly what its runs hold and have spent."
    SPENT = "Every run has spent what its price and its end allow."
    FINAL_HOLDS = "No run that has ended still holds money."
    IN_TIME = "No run is forgotten: each live one is within its time and will be looked after."
    WINDOWS = "Every run lies in the windows that it was ordered in."
    USAGE = "The usage reports say what the runs say."
    TOTALS = "The usage of all days is the sum of the days."
    ALL_KEPT = "Every run that is done has all its pictures."
    ON_RECORD = "Every picture of a run is on record."
    COUNTS = "Every run counts its own pictures and links right."
    PAID_ONCE = "No upstream task was paid by two runs."
    ONE_LIVE = "No two live runs make the same order."
    JOBS = "Every task id leads to its run."
    STARTED = "Every run is paid by the team that started it."
    LISTED = "Every task is listed as its run is."
    SHOWN = "Every gallery shows what its team's tasks made, and each verdict is noted at its run."
    STEPS = "The steps of every run are numbered without a gap."
    TOLD = "Every run has its steps, and the last of them says how it ended."
    KEYS = "Every key belongs to a team, and none of a deleted team opens anything."
    ISSUED = "Every team and every key is as an operator left it."
    CLAIMED = "Every idempotency key leads to its team's own task."
    OWED = "Every task that wants a callback is owed one when it ends, and nobody else is called."
    CALLED = "No callback is forgotten."
    REFERENCES = "Every reference between records leads somewhere."
    READABLE = "Every list and document in a record can be read."
    SCHEMA = "The tables, indexes and constraints are those of this version."
    FILE = "The ledger's file is whole."


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that is broken in one place, which `sentence` names with its numbers."""

    invariant: Invariant
    sentence: str
