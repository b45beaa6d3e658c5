"""Whether each route serves, as its breaker says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.adapters.metrics.exposition import family
from gateway.core.catalog import Route


class Health:
    """A route is up until its breaker opens, and again when a trial has succeeded."""

    def __init__(self) -> None:
        self._up: dict[tuple[str, str], bool] = {}

    def declare(self, routes: Iterable[Route]) -> None:
        """Exactly these routes are shown from now on; the old ones keep their state."""
        named = [(route.upstream, route.model) for route in routes]
        self._up = {route: self._up.get(route, True) for route in named}

    def turn(self, upstream: str, model: str, *, up: bool) -> None:
        """What nobody declared is not shown."""
        if (upstream, model) in self._up:
            self._up[upstream, model] = up

    def lines(self) -> Iterator[str]:
        return family(
            "gateway_upstream_up",
            "gauge",
            "0 while the route is held back because it did not serve, else 1.",
            labels=("upstream", "route"),
            values=((int(up), (at[0], "/".join(at))) for at, up in list(self._up.items())),
        )
