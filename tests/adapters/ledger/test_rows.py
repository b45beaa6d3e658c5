"""What is written of a run that has changed: what differs, and all of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from ledger_builders import a_run

from gateway.adapters.ledger import rows
from gateway.core.model import Failure, FailureKind, Kept, Picture, Run, RunState, Trouble
from gateway.core.money.accounts import Amounts

KEPT: Final = tuple(
    Kept(link, Picture(digest * 64, "png", 1, 1, 1)) for link, digest in (("a", "0"), ("b", "1"))
)
VALUES: Final[dict[str, list[Any]]] = {
    "upstream": ["evolink", "other"],
    "hold": [Amounts(), Amounts(1, 2, 3), Amounts(1, 2, 0), Amounts(7, 2, 3)],
    "spent": [Amounts(), Amounts(1, 2, 3), Amounts(1, 0, 3)],
    "due_at": [0.0, -0.0, 1.5, 2.5],
    "state": list(RunState),
    "shared": [True, False],
    "superseded": [True, False],
    "joins": [(), (("blue", 1),), (("blue", 2), ("red", 1))],
    "attempts": [1, 2],
    "tried": [(), ("route",)],
    "upstream_task_id": [None, "", "task"],
    "finished_at": [None, 0.0, 1.0],
    "task": ["{}", "{} "],
    "links": [(), ("a",), ("a", "b"), ("b", "a")],
    "kept": [(), KEPT[:1], KEPT, KEPT[::-1]],
    "credits_used": [None, 0.0, 1, 1.0],
    "billed_usd_micros": [None, 0, 1],
    "failure": [None, Failure(FailureKind.REFUSED, "code", "words")],
    "trouble": [None, Trouble(1.0, "", 0), Trouble(1.0, "", 1)],
    "lease_owner": [None, "one", "two"],
}
RUNS: Final = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
).map(lambda changes: replace(a_run(id="run"), **changes))


@given(RUNS, RUNS)
def test_a_row_that_is_changed_is_as_one_that_is_written_anew(before: Run, after: Run) -> None:
    columns, values = rows.run_changes(before, after)
    names = (*rows.RUN_COLUMNS, *rows.RUN_COUNTS.values())
    was = dict(zip(names, rows.run_row(before), strict=True))
    anew = dict(zip(names, rows.run_row(after), strict=True))
    changed = dict(zip(columns, values[:-1], strict=True))
    assert {**was, **changed} == anew
    differs = {name for name in names if was[name] != anew[name]}
    assert {*columns} - {*rows.RUN_COUNTS.values()} == differs - {*rows.RUN_COUNTS.values()}
    assert [*values[-1:]] == (["run"] if columns else [])
