"""Tables for people: as wide as the terminal, cut where they may be, coloured on a terminal only.

A column says how its cell comes from a row. On a narrow screen the spare columns are left out,
so that what stays, such as an id, can be copied whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import click

from gateway.cli import formats

Row = TypeVar("Row")

NARROWEST: Final = 80
WIDEST: Final = 160
"""Beyond it the eye loses the line."""

PIPED: Final = 120
"""Where there is no terminal, and COLUMNS does not say otherwise."""

GAP: Final = "  "
CUT_LEAST: Final = 20
"""Columns below which a cut text tells nothing."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`spare`: 0 stays; of the others the lowest are the first to get what room there is.

    `cut`: takes the room that is left, and is cut to it. `usd`: a row's amount of money, None
    where its cell is something else; then money has as many decimals as the column needs.
    """

    title: str
    of: Callable[[Row], str]
    usd: Callable[[Row], float | None] | None = None
    right: bool = False
    spare: int = 0
    cut: bool = False
    coloured: bool = False


def money_column(title: str, usd: Callable[[Row], float], *, spare: int = 0) -> Column[Row]:
    """A column of amounts, with the same number of decimals in all of it."""
    return Column(title, lambda row: formats.money(usd(row)), usd=usd, right=True, spare=spare)


class Table(Generic[Row]):
    """Draws pages of rows under one heading; the first page decides how wide the columns are."""

    def __init__(self, *columns: Column[Row], width: int | None = None) -> None:
        self._columns = columns
        self._width = width or screen_width()
        self._widths: list[int] = []

    def lines(self, rows: Sequence[Row], total: Row | None = None) -> Iterator[str]:
        """A line for each row, the heading before the first page, the total after a rule."""
        below = [] if total is None else [total]
        if not self._widths:
            self._columns = tuple(_aligned(one, [*rows, *below]) for one in self._columns)
            self._fit([*rows, *below])
            titles = [column.title for column in self._columns]
            yield click.style(self._line(titles), bold=True)
        for row in rows:
            yield self._row(row)
        for row in below:
            yield "-" * (sum(self._widths) + len(GAP) * (len(self._widths) - 1))
            yield click.style(self._row(row), bold=True)

    def lines_or(self, rows: Sequence[Row], nothing: str) -> Iterator[str]:
        """The table of all rows there are, or in its place what is said when there are none."""
        return self.lines(rows) if rows else iter([nothing])

    def _fit(self, rows: Sequence[Row]) -> None:
        needed = {
            column.title: max(formats.cells(text) for text in (column.title, *_cells(column, rows)))
            for column in self._columns
        }
        least = {
            one.title: min(needed[one.title], CUT_LEAST) if one.cut else needed[one.title]
            for one in self._columns
        }
        room = self._width + len(GAP)
        staying = set()
        for column in sorted(self._columns, key=lambda one: one.spare):
            takes = least[column.title] + len(GAP)
            if not column.spare or takes <= room:
                staying.add(column.title)
                room -= takes
        self._columns = tuple(one for one in self._columns if one.title in staying)
        self._widths = [
            min(needed[one.title], least[one.title] + max(room, 0))
            if one.cut
            else needed[one.title]
            for one in self._columns
        ]

    def _row(self, row: Row) -> str:
        texts = [text for column in self._columns for text in _cells(column, [row])]
        return self._line(texts, coloured=True)

    def _line(self, texts: Sequence[str], *, coloured: bool = False) -> str:
        cells = []
        for column, width, text in zip(self._columns, self._widths, texts, strict=True):
            shown = formats.cut(text, width) if column.cut else text
            colour = formats.state_colour(text) if coloured and column.coloured else None
            space = " " * (width - formats.cells(shown))
            shown = click.style(shown, fg=colour) if colour else shown
            cells.append(f"{space}{shown}" if column.right else f"{shown}{space}")
        return GAP.join(cells).rstrip()


def _aligned(column: Column[Row], rows: Sequence[Row]) -> Column[Row]:
    """The column with the decimals that these rows need; a later page's may need more."""
    usd, of = column.usd, column.of
    if usd is None:
        return column
    decimals = formats.decimals(usd(row) for row in rows)

    def cell(row: Row) -> str:
        amount = usd(row)
        return of(row) if amount is None else formats.money(amount, decimals)

    return replace(column, of=cell)


def _cells(column: Column[Row], rows: Sequence[Row]) -> Iterator[str]:
    return (formats.plain(column.of(row)) for row in rows)


def facts(pairs: Sequence[tuple[str, str | None]], *, width: int | None = None) -> Iterator[str]:
    """Names and values under each other, long values wrapped; a None leaves its line out."""
    named = [(name, value) for name, value in pairs if value is not None]
    margin = max((len(name) for name, _ in named), default=0) + 2 * len(GAP)
    for name, value in named:
        first, *more = formats.wrapped(value, (width or screen_width()) - margin)
        yield f"{GAP}{name}".ljust(margin) + first
        yield from (" " * margin + line for line in more)


def screen_width() -> int:
    """Of the terminal, within reason; COLUMNS overrides it."""
    found = shutil.get_terminal_size((PIPED, 24)).columns
    return max(NARROWEST, min(WIDEST, found))


class NotShown(click.ClickException):
    """There is no room for what was to be printed."""


def say(text: str, *, err: bool = False) -> None:
    """Prints; a character that the terminal's encoding lacks becomes a question mark.

    Raises `NotShown` where standard output takes nothing.
    """
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    colour = False if os.environ.get("NO_COLOR") else None
    shown = text.encode(encoding, "replace").decode(encoding)
    try:
        click.echo(shown, err=err, color=colour)
    except BrokenPipeError:  # who read has seen enough
        raise
    except OSError as error:
        if err:
            raise
        with contextlib.suppress(OSError, ValueError):  # what is still held back is for nobody
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise NotShown(f"standard output cannot be written: {error.strerror}.") from None
