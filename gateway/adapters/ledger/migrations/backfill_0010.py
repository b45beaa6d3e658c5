"""The part of migration 0010 that SQL cannot say: prompts as they are searched."""

from __future__ import annotations

from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.core.prompt_search import folded

AT_ONCE: Final = 500
"""A prompt may be 30 kB: so many of them are a few megabytes."""


def backfill(db: Database) -> None:
    """Folds every prompt as prompts are folded today."""
    after = ""
    while page := db.execute(
        "SELECT id, prompt, searched FROM pictures WHERE id > ? ORDER BY id LIMIT ?",
        (after, AT_ONCE),
    ).fetchall():
        for key, prompt, searched in page:
            if (anew := folded(prompt)) != searched:
                db.execute("UPDATE pictures SET searched = ? WHERE id = ?", (anew, key))
        after = page[-1][0]
