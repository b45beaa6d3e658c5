"""How far a long piece of work is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final

import click

from gateway.cli.formats import lasting, size

EVERY_SECONDS: Final = 5.0
"""Between two lines, where nobody looks at a bar."""

BYTES: Final = "bytes of pictures"
Show = Callable[[str, int, int], None]


class Stages:
    """As a context it gives what is told: what is being done, how far it is, and of how much."""

    def __init__(self, *, silent: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._silent = silent
        self._clock = clock
        self._open = ExitStack()
        self._began: tuple[float, int] = (0.0, 0)
        self._of = -1
        self._said_at = float("-inf")

    def __enter__(self) -> Show:
        if self._silent:
            return lambda *_: None
        return self._bar() if sys.stderr.isatty() else self._line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _bar(self) -> Show:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as Left

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Left())
        shown = self._open.enter_context(
            Progress(*columns, console=Console(stderr=True), transient=True)
        )
        task = shown.add_task("")
        return lambda what, at, of: shown.update(
            task, description=what, completed=at, total=max(of, 1)
        )

    def _line(self, what: str, at: int, of: int) -> None:
        now = self._clock()
        if of != self._of:  # another kind of work
            self._began, self._of = (now, at), of
        if now - self._said_at < EVERY_SECONDS:
            return
        self._said_at = now
        click.echo(f"{what}: {_how_far(what, at, of)}{self._left(now, at, of)}", err=True)

    def _left(self, now: float, at: int, of: int) -> str:
        """Nothing until there is a pace to go by."""
        began, first = self._began
        if at <= first or now - began < 1:
            return ""
        return f", about {lasting((of - at) * (now - began) / (at - first))} left"


def _how_far(what: str, at: int, of: int) -> str:
    percent = f"({100 * at // max(of, 1)} %)"
    if what == BYTES:
        return f"{size(at)} of {size(of)} {percent}"
    return f"{at:,} of {of:,} {percent}"
