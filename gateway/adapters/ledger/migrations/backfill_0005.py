"""The part of migration 0005 that SQL cannot say in both dialects: who else made a picture.

A run owns what its `kept` lists. Until this schema only the first one was on record; the others
get their rows here, erased where the picture was erased from under them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.picture_rows import prompt_of
from gateway.core.prompt_search import folded

AT_ONCE: Final = 500
"""A run may hold some 40 kB: so many of them are a few megabytes."""

_ADD: Final = (
    "INSERT INTO pictures (id, digest, extension, size_bytes, width, height, run_id, team, model,"
    " prompt, searched, created_at, again, erased_at, removed_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO NOTHING"
)


def backfill(db: Database) -> None:
    """Gives every picture a row for each further run that made it."""
    erased = _erased(db)
    for run_id, team, model, request, kept, finished_at in _done_runs(db):
        for one in json.loads(kept):
            at = erased.get((one["digest"], run_id)), _first_erased_at(db, one["digest"], run_id)
            erased_at = at[0] if at[0] is not None else at[1]
            prompt = "" if erased_at is not None else prompt_of(request)
            facts = (one["extension"], one["size_bytes"], one["width"], one["height"])
            made = (run_id, team, model, prompt, folded(prompt), finished_at)
            key = f"{one['digest']}/{run_id}"
            db.execute(_ADD, (key, one["digest"], *facts, *made, erased_at, at[0]))


def _done_runs(db: Database) -> Iterator[Any]:
    after = ""
    while page := db.execute(
        "SELECT id, team, model, request, kept, finished_at FROM runs"
        " WHERE state = 'done' AND id > ? ORDER BY id LIMIT ?",
        (after, AT_ONCE),
    ).fetchall():
        yield from page
        after = page[-1][0]


def _erased(db: Database) -> dict[tuple[str, str], float]:
    """When which run's picture was erased, as it was written down: the row may be another's now."""
    found = db.execute("SELECT subject, before, at FROM changes WHERE action = 'picture.erase'")
    return {
        (digest, str(json.loads(before).get("run"))): at
        for digest, before, at in found.fetchall()
        if before
    }


def _first_erased_at(db: Database, digest: str, run_id: str) -> float | None:
    """The erasure of the one row that there was. Its bytes are gone for this run as well; that it
    is finished for this run too is left to the chore."""
    found = db.execute(
        "SELECT erased_at FROM pictures WHERE digest = ? AND run_id <> ? AND again = 0",
        (digest, run_id),
    ).fetchall()
    return found[0][0] if found else None
