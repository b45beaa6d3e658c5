"""The accounts in SQL: loaded, made from the runs where there is none yet, written.

An account is the sum of the runs that its team ordered in its time. It is written down because
adding up a month for every order would take too long, and can always be made again: nothing else
remembers in which time zone anything was counted. Plain blocking functions, as in `store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from gateway.adapters.ledger import rows, statements
from gateway.adapters.ledger.database import Database, Row
from gateway.core.money.accounts import LONGEST_SECONDS, Account, AccountKey, Amounts

AT_ONCE: Final = 100
"""Four values each: far below the limit of values in a statement."""


def accounts(db: Database, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
    """The accounts of these keys, in their order."""
    wanted = tuple(dict.fromkeys(keys))
    found = _found(db, wanted)
    return {key: found.get(key) or _made(db, key)[0] for key in wanted}


def ready(db: Database, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
    """As `accounts`; those that had to be made of runs are there from now on."""
    wanted = tuple(dict.fromkeys(keys))
    found = _found(db, wanted)
    if len(found) == len(wanted):  # as nearly always
        return found
    made = {key: _made(db, key) for key in wanted if key not in found}
    for part in in_parts([account for account, runs in made.values() if runs]):
        values = [value for account in part for value in rows.account_row(account)]
        db.execute(statements.put_accounts(len(part)), values)
    return {key: found.get(key) or made[key][0] for key in wanted}


def counted(db: Database, team: str, at: float) -> Mapping[AccountKey, Account]:
    """Every account there is that counts what the team orders at this time."""
    values = [
        value
        for window, longest in LONGEST_SECONDS.items()
        for value in (team, window.value, at - longest, at, at)
    ]
    return rows.accounts_from(db.execute(statements.ACCOUNTS_COUNTED, values).fetchall())


def in_parts(accounts: Sequence[Account]) -> Iterator[Sequence[Account]]:
    """So many as one statement takes."""
    for start in range(0, len(accounts), AT_ONCE):
        yield accounts[start : start + AT_ONCE]


def _found(db: Database, wanted: Sequence[AccountKey]) -> Mapping[AccountKey, Account]:
    found: list[Row] = []
    by_row = {rows.key_row(key): key for key in wanted}
    named = tuple(by_row)
    for start in range(0, len(named), AT_ONCE):
        part = named[start : start + AT_ONCE]
        values = [value for row in part for value in row]
        found += db.execute(statements.get_accounts(len(part)), values).fetchall()
    return {(key := by_row[tuple(row[:4])]): rows.amounts_of(key, row) for row in found}


def _made(db: Database, key: AccountKey) -> tuple[Account, int]:
    """The account, and of how many runs it was made."""
    [sums] = db.execute(statements.ACCOUNT_OF_RUNS, (key.team, key.start, key.end)).fetchall()
    runs, *amounts = (int(value) for value in sums)
    return Account(key, Amounts(*amounts[:3]), Amounts(*amounts[3:])), runs
