"""Whether a ledger in PostgreSQL has the tables, indexes and constraints that the migrations make.

What they make is written down in `schema.txt`, as the server itself tells it; every server from
PostgreSQL 15 on tells it alike. What is there besides is left alone (a view of a report, a table
of a tool), but for what would change what is written: triggers, rules and row security.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.core.money.invariants import Invariant, Violation

_HERE: Final = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_OF: Final = "JOIN pg_class ON pg_class.oid ="

_DESCRIBED: Final = (
    # Tables; how the server keeps them (fillfactor, autovacuum) is its operators' own.
    "SELECT 'table ' || relname, 'there' FROM pg_class"
    f" WHERE relnamespace = {_HERE} AND relkind IN ('r', 'p')",
    # Columns.
    "SELECT 'column ' || relname || '.' || attname, format_type(atttypid, atttypmod)"
    " || CASE WHEN collname IS NULL THEN '' ELSE ' collate ' || collname END"
    " || CASE WHEN attnotnull THEN ' not null' ELSE '' END"
    " || COALESCE(' default ' || pg_get_expr(adbin, adrelid), '')"
    f" FROM pg_attribute {_OF} attrelid"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " LEFT JOIN pg_collation ON pg_collation.oid = attcollation"
    f" WHERE relnamespace = {_HERE} AND relkind IN ('r', 'p') AND attnum > 0"
    " AND NOT attisdropped",
    # Indexes: one that could not be built to its end is not used.
    "SELECT 'index ' || pg_class.relname,"
    " REPLACE(pg_get_indexdef(indexrelid), ' ON ' || quote_ident(current_schema()) || '.', ' ON ')"
    " || CASE WHEN indisvalid AND indisready THEN '' ELSE ' invalid' END"
    f" FROM pg_index {_OF} indexrelid WHERE relnamespace = {_HERE}",
    # Constraints; that a column is not null stands with the column, on older servers only there.
    "SELECT 'constraint ' || relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)"
    f" FROM pg_constraint {_OF} conrelid WHERE relnamespace = {_HERE} AND contype <> 'n'",
    # Functions.
    "SELECT 'function ' || proname, pg_get_function_identity_arguments(pg_proc.oid) || ' '"
    f" || provolatile::text || ' ' || prosrc FROM pg_proc WHERE pronamespace = {_HERE}",
)

_STRANGE: Final = (
    "SELECT 'trigger ' || tgname || ' on ' || relname"
    f" FROM pg_trigger {_OF} tgrelid WHERE relnamespace = {_HERE} AND NOT tgisinternal",
    "SELECT 'rule ' || rulename || ' on ' || relname"
    f" FROM pg_rewrite {_OF} ev_class WHERE relnamespace = {_HERE} AND relkind IN ('r', 'p')",
    "SELECT 'row security on ' || relname"
    f" FROM pg_class WHERE relnamespace = {_HERE} AND relrowsecurity",
)


def violations(db: Database) -> Iterator[Violation]:
    expected, found = _expected(), described(db)
    for name, told in sorted(expected.items()):
        if found.get(name) != told:
            how = "is not there" if name not in found else f"is another: {found[name]}"
            yield Violation(Invariant.SCHEMA, f"The {name} {how}.")
    tables = {name.removeprefix("table ") for name in expected if name.startswith("table ")}
    for sql in _STRANGE:
        for name in sorted(str(row[0]) for row in db.execute(sql).fetchall()):
            if name.rpartition(" on ")[2] in tables:
                yield Violation(Invariant.SCHEMA, f"The {name} is not of this gateway.")


def described(db: Database) -> dict[str, str]:
    """What there is in the ledger's schema, by kind and name."""
    rows = [row for sql in _DESCRIBED for row in db.execute(sql).fetchall()]
    return {name: " ".join(told.split()) for name, told in rows}


@cache
def _expected() -> dict[str, str]:
    text = resources.files(__package__).joinpath("schema.txt").read_text("utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines() if line)


def written(found: dict[str, str]) -> str:
    """As it stands in `schema.txt`."""
    return "".join(f"{name}: {told}\n" for name, told in sorted(found.items()))
