"""Whether each route serves, judged by what became of the runs on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.core.events import (
    Accepted,
    CredentialsRefused,
    Event,
    Finished,
    NotNow,
    Progressed,
    Refused,
    TaskFailed,
    Unreachable,
)
from gateway.core.model import Route, Run
from gateway.metrics.exposition import family


class Health:
    """A route is up until a submit or a poll on it says otherwise, and then until one succeeds.

    A refusal of the request itself comes from a route that serves. A lost answer is no proof
    of anything: it may as well be ours that was stopped.
    """

    def __init__(self) -> None:
        self._failing: dict[tuple[str, str], set[str]] = {}

    def declare(self, routes: Iterable[Route]) -> None:
        """Exactly these routes are shown from now on; the old ones keep their state."""
        named = [(route.upstream, route.model) for route in routes]
        self._failing = {route: self._failing.get(route, set()) for route in named}

    def note(self, run: Run, event: Event) -> None:
        """What happened to the run while it was on its route."""
        failing = self._failing.get((run.upstream, run.upstream_model))
        if failing is None:
            return
        match event:
            case Accepted():
                failing.clear()
            case Refused():
                failing.discard("submit")
            case NotNow() | CredentialsRefused():
                failing.add("submit")
            case Unreachable(gone=False):
                failing.add("poll")
            case Progressed() | Finished() | TaskFailed() | Unreachable():
                failing.discard("poll")
            case _:
                pass

    def lines(self) -> Iterator[str]:
        failing = list(self._failing.items())
        return family(
            "gateway_upstream_up",
            "gauge",
            "1 until a submit or poll on the route shows that it does not serve, then 0.",
            labels=("upstream", "route"),
            values=((0 if why else 1, (at[0], "/".join(at))) for at, why in failing),
        )
