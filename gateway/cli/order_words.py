"""What `order` says: the price before, the progress meanwhile, what it came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.formats import counted, lasting, money, plain, plain_lines
from gateway.cli.tables import say

if TYPE_CHECKING:
    from gateway.cli.team_connection import Taken

SHOWN_SECONDS: Final = 1
"""How often what is seen on a terminal is new."""

UNSEEN_SECONDS: Final = 20
"""Where nobody looks, a question is held for so long."""


def estimated(told: Any) -> str:
    """`gpt-image-1.5, 1 picture: a new one, at most $0.012. $1.38 of $5.00 a day is left.`"""
    what = f"{plain(str(told['model']))}, {counted(told['n'], 'picture')}"
    match told["verdict"]:
        case "hit":
            said = "from the cache, for nothing"
        case "join":
            said = "the same is being made: it comes with that, for nothing"
        case "deny":
            return f"{what}: would be refused. {plain(told['denial']['message'])}"
        case "start":
            said = f"a new one, at most {money(told['price_usd'])}"
        case _:
            said = "an identical order is under way, and what becomes of it is not known"
    return f"{what}: {said}.{_left(told['budgets'])}"


def _left(limits: Any) -> str:
    budgets = [one for one in limits if one["unit"] == "usd"]
    if not budgets:
        return ""
    tightest = min(budgets, key=lambda one: one["left"])
    window = str(tightest["window"])
    per = "in total" if window == "total" else f"a {plain(window)}"
    return f" {money(tightest['left'])} of {money(tightest['limit'])} {per} is left now."


def outcome(task: Any, taken: Taken | None, seconds: float) -> str:
    """What the order came to. A failure is told in the gateway's words."""
    if task["status"] == "failed":
        error = task.get("error") or {}
        return f"Error: {plain_lines(str(error.get('message') or error.get('code')))}"
    if taken is None:
        return f"{plain(task['id'])} is done."
    match taken.verdict:
        case "hit":
            return f"from the cache, for nothing{_saved(taken)}."
        case "joined":
            made = f"made with an identical order in {lasting(seconds)}"
            return f"{made}, for nothing{_saved(taken)}."
        case "replayed":
            return "this was ordered before under the same Idempotency-Key, and is not paid again."
        case _:
            cost = "" if taken.cost_usd is None else f" for at most {money(taken.cost_usd)}"
            return f"made in {lasting(seconds)}{cost}."


def _saved(taken: Taken) -> str:
    return f"; {money(taken.saved_usd)} saved" if taken.saved_usd else ""


class Progress:
    """One line on a terminal that is written again and again; elsewhere nothing."""

    def __init__(self) -> None:
        self._seen = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._width = 0

    @property
    def wait_seconds(self) -> int:
        return SHOWN_SECONDS if self._seen else UNSEEN_SECONDS

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Around the waiting; the line is gone after it."""
        try:
            self._write("waiting")
            yield
        finally:
            self._clear()

    def show(self, task: Mapping[str, Any]) -> None:
        percent = task.get("progress")
        told = f", {percent} %" if isinstance(percent, int) and percent else ""
        self._write(f"{plain(str(task['status']))} for {lasting(round(self.seconds))}{told}")

    def tell(self, said: str) -> None:
        """A line that stays."""
        self._clear()
        say(said, err=True)

    def _write(self, text: str) -> None:
        if self._seen:
            click.echo(f"\r{text.ljust(self._width)}", nl=False, err=True)
            self._width = len(text)

    def _clear(self) -> None:
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", nl=False, err=True)
            self._width = 0
