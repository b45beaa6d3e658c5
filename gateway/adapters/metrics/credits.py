"""How far the upstream accounts' count of credits is from the ledger's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.adapters.metrics.exposition import family


class CreditDrift:
    """The last comparison of each upstream; 0 credits at the time 0 before there was one."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}

    def declare(self, upstreams: Iterable[str]) -> None:
        """Exactly these are shown from now on; the old ones keep what was found."""
        self._found = {name: self._found.get(name, (0.0, 0.0)) for name in sorted(upstreams)}

    def found(self, upstream: str, drift: float, at: float) -> None:
        """What nobody declared is not shown."""
        if upstream in self._found:
            self._found[upstream] = (round(drift, 4), at)

    def families(self) -> Iterator[Iterable[str]]:
        found = list(self._found.items())
        yield family(
            "gateway_upstream_credit_drift",
            "gauge",
            "Credits that the upstream account counts as used beyond what its runs reported.",
            labels=("upstream",),
            values=((drift, (name,)) for name, (drift, _) in found),
        )
        yield family(
            "gateway_upstream_credits_compared_timestamp_seconds",
            "gauge",
            "When that was last compared; 0 before it ever was.",
            labels=("upstream",),
            values=((at, (name,)) for name, (_, at) in found),
        )
