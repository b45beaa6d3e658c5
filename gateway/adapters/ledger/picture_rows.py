"""Pictures on record ↔ rows, and how a prompt is found again.

A picture's row tells what it is, which run made it, and from which prompt: one for each run.
"""

from __future__ import annotations

import json
from typing import Final

from gateway.adapters.ledger.database import Row
from gateway.core.model import KeptPicture, Picture, Run
from gateway.core.prompt_search import folded

PICTURE_FACTS: Final = ("digest", "extension", "size_bytes", "width", "height")
"""What a picture is, whoever made it."""

MADE: Final = ("run_id", "team", "model", "prompt", "created_at")

KEPT_COLUMNS: Final = (*PICTURE_FACTS, *MADE, "erased_at", "removed_at")
"""A `KeptPicture` but for its task, in the order of `kept_from`."""

PICTURE_COLUMNS: Final = ("id", *PICTURE_FACTS, *MADE, "searched")
"""What is written when a picture is kept, besides whether its bytes are on record already."""


def picture_rows(run: Run) -> list[tuple[object, ...]]:
    """The pictures that a done run owns, in the order of `PICTURE_COLUMNS`."""
    prompt = prompt_of(run.request)
    made = (run.id, run.team, run.model, prompt, run.finished_at, folded(prompt))
    return [(f"{one.digest}/{run.id}", *_facts(one), *made) for one in run.pictures]


def _facts(picture: Picture) -> tuple[object, ...]:
    return (
        picture.digest, picture.extension, picture.size_bytes, picture.width, picture.height,
    )  # fmt: skip


def picture_from(row: Row) -> Picture:
    """The picture in a row that was selected in the order of `PICTURE_FACTS`."""
    digest, extension, size_bytes, width, height = row
    return Picture(digest, extension, size_bytes, width, height)


def kept_from(row: Row) -> KeptPicture:
    """A row of `KEPT_COLUMNS`, and behind them the task that shows it, which may be NULL."""
    width = len(PICTURE_FACTS)
    run_id, team, model, prompt, created_at, erased_at, removed_at, task_id = row[width:]
    return KeptPicture(
        picture=picture_from(row[:width]),
        run_id=run_id,
        team=team,
        model=model,
        prompt=prompt,
        created_at=created_at,
        task_id=task_id or "",
        erased_at=erased_at,
        removed_at=removed_at,
    )


# --- prompts -----------------------------------------------------------------------------------


def prompt_of(request: str) -> str:
    """The prompt in a run's canonical request; empty when there is none."""
    found = json.loads(request).get("prompt")
    return found if isinstance(found, str) else ""
