"""The part of migration 0003 that SQL cannot say in both dialects: prompts out of requests."""

from __future__ import annotations

from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.picture_rows import prompt_of
from gateway.core.prompt_search import folded

AT_ONCE: Final = 500
"""A request may hold some 30 kB: so many of them are a few megabytes."""


def backfill(db: Database) -> None:
    """Gives every picture the prompt of its run."""
    after = ""
    while page := db.execute(
        "SELECT pictures.digest, runs.request FROM pictures"
        " JOIN runs ON runs.id = pictures.run_id"
        " WHERE pictures.digest > ? ORDER BY pictures.digest LIMIT ?",
        (after, AT_ONCE),
    ).fetchall():
        for digest, request in page:
            prompt = prompt_of(request)
            db.execute(
                "UPDATE pictures SET prompt = ?, searched = ? WHERE digest = ?",
                (prompt, folded(prompt), digest),
            )
        after = page[-1][0]
