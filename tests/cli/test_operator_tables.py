"""How the operator's commands show amounts, times, texts and tables."""

from __future__ import annotations

from typing import Any

import click
import pytest

from gateway.cli import formats
from gateway.cli.tables import Column, Table, facts


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0.00"),
        (1.23, "$1.23"),
        (0.1 + 0.2, "$0.30"),
        (0.012, "$0.012"),
        (0.000004, "$0.000004"),
        (1234567.5, "$1,234,567.50"),
        (60.228, "$60.228"),
        (-0.5, "-$0.50"),
    ],
)
def test_money_is_exact(usd: float, shown: str) -> None:
    assert formats.money(usd) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0ms"),
        (0.0404, "40ms"),
        (0.9999, "1.0s"),
        (3.74, "3.7s"),
        (59.96, "1m"),
        (185, "3m05s"),
        (3600, "1h"),
        (7500, "2h05m"),
        (30 * 86_400, "30d"),
        (86_400 + 4 * 3600, "1d04h"),
    ],
)
def test_durations_are_readable(seconds: float | None, shown: str) -> None:
    assert formats.lasting(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (64 * 10**12, "64.0 TB")],
)
def test_sizes_are_readable(size_bytes: int, shown: str) -> None:
    assert formats.size(size_bytes) == shown


def test_times_lose_what_a_table_has_no_room_for() -> None:
    at = "2026-01-31T12:00:03.5Z"
    assert formats.minute(at) == "2026-01-31 12:00"
    assert formats.clock(at) == "12:00:03.500"
    assert formats.clock("2026-01-31T12:00:03Z") == "12:00:03.000"
    assert formats.instant(at) == "2026-01-31 12:00:03.5 UTC"
    assert formats.minute(None) == "-"


def test_a_text_from_outside_cannot_steer_the_terminal() -> None:
    assert formats.plain("a\x1b[2J\n b\u202e\x9bc\ud800") == "a\ufffd[2J b\ufffd\ufffdc\ufffd"
    assert formats.plain("caf\u00e9 \u732b \U0001f469\u200d\U0001f680") == (
        "caf\u00e9 \u732b \U0001f469\U0001f680"
    )


def test_lines_are_wrapped_between_words_and_by_what_the_screen_needs() -> None:
    assert formats.wrapped("one two three", 7) == ["one two", "three"]
    assert formats.wrapped("abcdefghij k", 4) == ["abcd", "efgh", "ij k"]
    assert formats.wrapped("\u732b\u732b \u732b", 4) == ["\u732b\u732b", "\u732b"]
    assert formats.wrapped("", 4) == [""]


COLUMNS: tuple[Column[Any], ...] = (
    Column("id", lambda row: row[0]),
    Column("team", lambda row: row[1], spare=2),
    Column("usd", lambda row: row[2], right=True),
    Column("prompt", lambda row: row[3], cut=True, spare=1),
)
ROWS = [
    ("run_1", "marketing", "$1.00", "a red bicycle in front of a blue house"),
    ("run_22", "green", "$12.50", "\u732b" * 20),
]


def drawn(table: Table[Any], *page: Any, total: Any = None) -> list[str]:
    return [click.unstyle(line) for line in table.lines(page, total)]


def test_a_table_is_aligned_and_cuts_what_may_be_cut() -> None:
    assert drawn(Table(*COLUMNS, width=50), *ROWS) == [
        "id      team          usd  prompt",
        "run_1   marketing   $1.00  a red bicycle in front\u2026",
        "run_22  green      $12.50  " + "\u732b" * 11 + "\u2026",
    ]


def test_a_narrow_table_leaves_out_the_least_needed_columns() -> None:
    assert drawn(Table(*COLUMNS, width=36), ROWS[0]) == [
        "id       usd  prompt",
        "run_1  $1.00  a red bicycle in fron\u2026",
    ]
    # What is needed stays whole, though the line is too long: it is to be copied.
    assert drawn(Table(*COLUMNS, width=10), ROWS[0]) == ["id       usd", "run_1  $1.00"]


def test_pages_stand_under_one_heading() -> None:
    table = Table(*COLUMNS, width=40)
    first, second = drawn(table, ROWS[0]), drawn(table, ROWS[1])
    assert (len(first), len(second)) == (2, 1)
    assert second[0].startswith("run_22  ")


def test_a_total_stands_below_a_rule() -> None:
    lines = drawn(Table(*COLUMNS[:3], width=80), *ROWS, total=("", "total", "$13.50", ""))
    assert lines[-2:] == ["-" * 25, "        total      $13.50"]


def test_money_in_a_column_has_the_same_decimals() -> None:
    column: Column[Any] = Column("spent", str, usd=lambda row: row, right=True)
    table = Table(column)
    first = drawn(table, 0.692, 0.72, total=1.412)
    assert first == [" spent", "$0.692", "$0.720", "------", "$1.412"]
    assert drawn(table, 0.08, 0.0125) == ["$0.080", "$0.0125"]  # a later page is exact all the same


def test_facts_are_wrapped_under_their_value_and_missing_ones_left_out() -> None:
    pairs = [("name", "one two three"), ("none", None), ("x", "\x1b[31m")]
    assert list(facts(pairs, width=16)) == [
        "  name  one two",
        "        three",
        "  x     \ufffd[31m",
    ]
