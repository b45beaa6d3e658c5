"""How the upstreams stand: whether each route serves, and whether the count of credits is ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core.catalog import Route


class UpstreamStates(Collector):
    """Shows exactly the routes and upstreams that were declared last.

    A route is up until its breaker opens. Before credits were compared they drift by 0, at the
    time 0.
    """

    def __init__(self) -> None:
        self._up: dict[tuple[str, str], bool] = {}
        self._drift: dict[str, tuple[float, float]] = {}

    def declare(self, routes: Iterable[Route], upstreams: Iterable[str]) -> None:
        """What was shown before and still is keeps its state."""
        named = [(route.upstream, route.model) for route in routes]
        self._up = {route: self._up.get(route, True) for route in named}
        self._drift = {name: self._drift.get(name, (0.0, 0.0)) for name in upstreams}

    def turn(self, upstream: str, model: str, *, up: bool) -> None:
        """What nobody declared is not shown."""
        if (upstream, model) in self._up:
            self._up[upstream, model] = up

    def compared(self, upstream: str, drift: float, at: float) -> None:
        """What nobody declared is not shown."""
        if upstream in self._drift:
            self._drift[upstream] = (round(drift, 4), at)

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "gateway_upstream_up",
            "0 while the route is held back because it did not serve, else 1.",
            labels=("upstream", "route"),
        )
        for route, serves in list(self._up.items()):
            up.add_metric((route[0], "/".join(route)), serves)
        yield up
        drift = GaugeMetricFamily(
            "gateway_upstream_credit_drift",
            "Credits that the upstream account counts as used beyond what its runs reported.",
            labels=("upstream",),
        )
        compared = GaugeMetricFamily(
            "gateway_upstream_credits_compared_timestamp_seconds",
            "When that was last compared; 0 before it ever was.",
            labels=("upstream",),
        )
        for name, (too_many, at) in list(self._drift.items()):
            drift.add_metric((name,), too_many)
            compared.add_metric((name,), at)
        yield from (drift, compared)
