"""Who is told what has happened, and decides nothing."""

from __future__ import annotations

from typing import Protocol

from gateway.core.catalog import Mode
from gateway.core.model import Delivery, Run, Verdict
from gateway.core.orders.denials import Denial
from gateway.core.runs.events import Event


class Observer(Protocol):
    """Told of verdicts and events after they are facts; never decides anything."""

    def order(self, team: str, model: str, verdict: Verdict) -> None:
        """An order was judged. `model` is a public name of the settings, or empty."""

    def denied(self, team: str, denial: Denial, mode: Mode) -> None: ...

    def called(self, upstream: str, operation: str, outcome: str, seconds: float) -> None:
        """One call upstream: operation is submit, poll or download."""

    def advanced(self, before: Run, event: Event, after: Run) -> None:
        """A run went on, and that is committed."""

    def route_turned(self, upstream: str, model: str, *, up: bool) -> None:
        """A route has stopped serving, or serves again."""

    def cache_looked_up(self, result: str) -> None:
        """One look into the response cache: hit, miss or stale."""

    def called_back(self, delivery: Delivery) -> None:
        """One attempt at a callback was made; the delivery as it is after it."""
