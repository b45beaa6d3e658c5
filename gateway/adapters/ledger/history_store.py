"""The steps of runs and refused orders in SQL: how they are written and read.

Plain blocking functions on any connection, as in `store`. They begin and end no transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.plain_rows import REFUSAL_COLUMNS, STEP_COLUMNS, row_of
from gateway.adapters.ledger.statements import insert
from gateway.core.runs.history import Step, last_number

STEPS: Final = f"SELECT {', '.join(STEP_COLUMNS)} FROM steps WHERE run_id = ? ORDER BY number"
LAST_STEP: Final = "SELECT COALESCE(MAX(number), 0) FROM steps WHERE run_id = ?"
REFUSALS_NAMED: Final = (
    f"SELECT {', '.join(REFUSAL_COLUMNS)} FROM ("
    f"SELECT {', '.join(REFUSAL_COLUMNS)},"
    " ROW_NUMBER() OVER (PARTITION BY team ORDER BY at DESC, id DESC) AS turn"
    " FROM refusals WHERE id = ? OR request_id = ?"
    ") AS named ORDER BY turn, at DESC, id DESC LIMIT ?"
)

ADD_STEP: Final = insert("steps", STEP_COLUMNS)
ADD_REFUSAL: Final = f"{insert('refusals', REFUSAL_COLUMNS)} ON CONFLICT (id) DO NOTHING"


def add_step(db: Database, step: Step) -> None:
    """A step without a number gets the next one, unless the run has told enough."""
    if step.number == 0:
        last = int(db.execute(LAST_STEP, (step.run_id,)).fetchall()[0][0])
        if last >= last_number(step):
            return
        step = replace(step, number=last + 1)
    db.execute(ADD_STEP, row_of(step))
