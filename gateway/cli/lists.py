"""Lists of the admin API, page by page: as a table that grows, or as one JSON object.

Nothing is held but a page, so that `--all` of a million rows is only a matter of time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from gateway.cli.connection import Unanswered
from gateway.cli.names import unknown
from gateway.cli.operator import Operator, connected
from gateway.cli.tables import Column, Table, say

USUAL_LIMIT: Final = 50
PAGE_LIMIT: Final = 500
"""The most that the API gives at a time."""


def filters(**help_of: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One text option for each query parameter; `from_` is `--from`, since a word is taken."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name, text in reversed(help_of.items()):
            parameter = name.rstrip("_")
            command = click.option(f"--{parameter}", parameter, help=text)(command)
        return command

    return add


def list_options(**help_of: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a list command: its filters, `--limit` and `--all`, and the connection."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        command = connected(command)
        every = click.option("--all", "everything", is_flag=True, help="All rows, page by page.")
        limit = click.option(
            "--limit",
            type=click.IntRange(1),
            default=USUAL_LIMIT,
            show_default=True,
            help="Rows at most; the newest are first.",
        )
        return filters(**help_of)(limit(every(command)))

    return add


SPAN: Final = {
    "from_": "First day, e.g. 2026-01-31, yesterday, 7d (seven days ago), last-week, this-month,"
    " 2026-01; in lists also a time, e.g. 24h ago. Days are the gateway's (server.timezone).",
    "to": "Last day, itself included, in the same words.",
}


class Listing:
    """One list as it was asked for: its path, its filters, and how much of it."""

    def __init__(
        self, path: str, given: Mapping[str, Any], named: Mapping[str, str | None] | None = None
    ) -> None:
        """`named`: a team or a model that the question is about, beyond what is `given`."""
        self._path = path
        self._query = dict(given)
        self._named = {**self._query, **(named or {})}
        limit = int(self._query.pop("limit"))
        self._left = None if self._query.pop("everything") else limit

    def show(self, operator: Operator, columns: Sequence[Column[Any]], *, nothing: str) -> None:
        """Prints it; `nothing` is said where there is no row. Raises what `Operator.get` raises."""
        if operator.as_json and self._left is not None and self._left <= PAGE_LIMIT:
            operator.show_json(operator.get(self._path, {**self._query, "limit": self._left}))
            return
        if operator.as_json:
            self._show_json(operator)
            return
        table, empty, following = Table(*columns), True, None
        for page in self._pages(operator):
            with operator.understood():
                rows, following = page["data"], page["next"]
                lines = list(table.lines(rows)) if rows else []
            for line in lines:
                say(line)
            empty = empty and not lines
        if empty:
            say(unknown(operator, self._named) or nothing, err=True)
        if following:
            say("more: --all", err=True)

    def _show_json(self, operator: Operator) -> None:
        separator, following = '{"data":[', None
        for page in self._pages(operator):
            with operator.understood():
                rows = [json.dumps(row, separators=(",", ":")) for row in page["data"]]
                following = page["next"]
            for row in rows:
                click.echo(f"{separator}{row}", nl=False)
                separator = ","
        opening = "" if separator == "," else separator
        click.echo(f'{opening}],"next":{json.dumps(following)}}}')

    def _pages(self, operator: Operator) -> Iterator[Any]:
        cursor, left = None, self._left
        while True:
            limit = PAGE_LIMIT if left is None else min(left, PAGE_LIMIT)
            answer = operator.get(self._path, {**self._query, "limit": limit, "cursor": cursor})
            page = operator.read(answer)
            with operator.understood():
                following, count = page["next"], len(page["data"])
            yield page
            left = None if left is None else left - count
            if not following or (left is not None and left <= 0):
                return
            if following == cursor:
                raise Unanswered(f"{operator.url} goes round in circles: its cursor leads nowhere.")
            cursor = following
