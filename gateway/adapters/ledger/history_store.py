"""The steps of runs and refused orders in SQL: how they are written and read.

Plain blocking functions on any connection, as in `store`. They begin and end no transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.adapters.ledger.plain_rows import REFUSAL_COLUMNS, STEP_COLUMNS, row_of
from gateway.adapters.ledger.statements import insert
from gateway.core.runs.history import Step, last_number

STEPS: Final = f"SELECT {', '.join(STEP_COLUMNS)} FROM steps WHERE run_id = ? ORDER BY number"
REFUSALS_NAMED: Final = (
    f"SELECT {', '.join(REFUSAL_COLUMNS)} FROM ("
    f"SELECT {', '.join(REFUSAL_COLUMNS)},"
    " ROW_NUMBER() OVER (PARTITION BY team ORDER BY at DESC, id DESC) AS turn"
    " FROM refusals WHERE id = ? OR request_id = ?"
    ") AS named ORDER BY turn, at DESC, id DESC LIMIT ?"
)

ADD_STEP: Final = insert("steps", STEP_COLUMNS)
ADD_NEXT_STEP: Final = (
    f"INSERT INTO steps ({', '.join(STEP_COLUMNS)}) SELECT ?, told.next, ?, ?, ?, ?, ?, ?"
    " FROM (SELECT COALESCE(MAX(number), 0) + 1 AS next FROM steps WHERE run_id = ?) AS told"
    " WHERE told.next <= ?"
)
"""It gets the next number, unless the run has told enough."""

ADD_REFUSAL: Final = f"{insert('refusals', REFUSAL_COLUMNS)} ON CONFLICT (id) DO NOTHING"


def adding(steps: Sequence[Step], *, numbered: bool) -> tuple[str, list[tuple[object, ...]]]:
    """The statement for these steps, and its rows; those without a number get the next one."""
    if numbered:
        return ADD_STEP, [row_of(step) for step in steps]
    return ADD_NEXT_STEP, [
        (
            step.run_id, step.at, step.event, step.before, step.after, step.route, step.detail,
            step.run_id, last_number(step),
        )
        for step in steps
    ]  # fmt: skip
