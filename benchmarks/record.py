"""What was measured lately, in a JSON file, and the table that docs/performance.md shows of it.

A run of some cases replaces their rows and leaves the others, as long as the machine is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import sizing
from benchmarks.rows import Row, table
from benchmarks.stand import ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"
SAME: Final = ("processors", "model", "python", "gateway")
QUIET: Final = 1.0
LONG: Final = ("page",)
"""Cases that the page leaves to the JSON."""


def kept(file: Path, rows: Sequence[Row], machine: Mapping[str, Any], order: Sequence[str]) -> None:
    """Writes these rows among those that are there."""
    new = {_base(row) for row in rows}
    found = [row for row in _read(file, machine) if _base(row) not in new] + list(rows)
    places = {case: place for place, case in enumerate(order)}
    found.sort(key=lambda row: places.get(_base(row), len(places)))
    told = {"machine": machine, "rows": [asdict(row) for row in found]}
    file.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def _base(row: Row) -> str:
    """`ledger, hit` is of the case `ledger`."""
    return row.case.partition(",")[0]


def _read(file: Path, machine: Mapping[str, Any]) -> list[Row]:
    """What is there, if it is of the same machine and the same version."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(file.read_text("utf-8"))
        if all(told["machine"][name] == machine[name] for name in SAME):
            return [Row(**{**row, "void": tuple(row["void"])}) for row in told["rows"]]
    return []


def _worth(machine: Mapping[str, Any]) -> str:
    """What a reader may believe."""
    if machine["load_average"] < QUIET:
        return ""
    return (
        " **The machine did other work meanwhile: rates and times are far from what it can do;"
        " what counts are `CPU µs` and `cost`.**"
    )


def show(file: Path, page: Path = PAGE) -> None:
    """Puts the table into the page, between its marks."""
    told = json.loads(file.read_text("utf-8"))
    machine = told["machine"]
    rows = [Row(**{**row, "void": tuple(row["void"])}) for row in told["rows"]]
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    text = (
        f"{machine['processors']} processors, {machine['model']}, {machine['system']}; Python"
        f" {machine['python']}, SQLite {machine['sqlite']}; {packages}; {machine['pinning']}; load"
        f" average at the start: {machine['load_average']:.1f}.{_worth(machine)}\n\n"
        f"{table([row for row in rows if row.case not in LONG])}\n\n{sizing.table(rows)}\n"
    )
    page.write_text(f"{before}{BEGIN}{text}{END}{after}", "utf-8")
