"""The observer: counts verdicts, calls and events as they are told.

Each call is a look-up in a dictionary and an addition; it never fails the one who tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gateway import __version__
from gateway.adapters.metrics.closed_lists import (
    CACHE_RESULTS,
    CALL_BUCKETS,
    CALL_OUTCOMES,
    CALLBACK_OUTCOMES,
    DEFAULT_QUALITY,
    DONE,
    ERROR,
    HTTP_BUCKETS,
    KEEP_FAILURES,
    OTHER,
    OVERHEAD_BUCKETS,
    RUN_BUCKETS,
    RUN_OUTCOMES,
    STATUS_CLASSES,
    STATUSES,
    UNKNOWN,
)
from gateway.adapters.metrics.credits import CreditDrift
from gateway.adapters.metrics.exposition import family, gauge
from gateway.adapters.metrics.health import Health
from gateway.adapters.metrics.series import Folds, Tally, Timing
from gateway.core.catalog import Mode
from gateway.core.model import Delivery, Run, Verdict
from gateway.core.orders.denials import Denial, Reason
from gateway.core.policy import Policy
from gateway.core.runs.events import Event, KeepFailed


class MetricsRecorder:
    """See gateway.ports.observer; besides, HTTP requests, reloads and the ledger's check."""

    def __init__(self, policy: Policy) -> None:
        self._health = Health()
        self._credit_drift = CreditDrift()
        self._violations = 0
        self._reload_successful = False
        self._reloaded_at = 0.0
        self._series: list[Tally | Timing] = []
        self._make_tallies()
        self._make_timings()
        self._declare_lists()
        self.declare(policy)

    def declare(self, policy: Policy) -> None:
        """Makes the series of every team, model, quality, upstream and route of the settings.

        To be called at each reload. Counters of what the settings no longer name stay.
        """
        models = policy.catalog.models
        self._orders.series.declare([*policy.teams, UNKNOWN], [*models, UNKNOWN], Verdict)
        self._denials.series.declare([*policy.teams, UNKNOWN], Reason, Mode)
        for model in models.values():
            qualities = [*sorted(model.limits.qualities or ()), DEFAULT_QUALITY, OTHER]
            self._run_seconds.series.declare([model.name], qualities, RUN_OUTCOMES)
        routes = [route for model in models.values() for route in model.routes]
        self._health.declare(routes)
        upstreams = {*policy.rules, *(route.upstream for route in routes)}
        self._credit_drift.declare(upstreams)
        for upstream in upstreams:
            self._declare_upstream(upstream)

    def declare_routes(self, routes: Iterable[tuple[str, Collection[str]]]) -> None:
        """Makes the series of what the web serves: route templates and their methods."""
        for route, methods in routes:
            self._overhead_seconds.series.declare([route])
            self._http_seconds.series.declare([route])
            answered = self._http_requests.series
            answered.declare([route], methods, [*map(str, STATUSES), *STATUS_CLASSES])
            answered.declare([route], [OTHER], STATUS_CLASSES)

    # --- what is told --------------------------------------------------------------------------

    def order(self, team: str, model: str, verdict: Verdict) -> None:
        self._orders.add(team, model, verdict)

    def denied(self, team: str, denial: Denial, mode: Mode) -> None:
        self._denials.add(team, denial.reason, mode)

    def overhead(self, route: str, seconds: float) -> None:
        self._overhead_seconds.observe(seconds, route)

    def called(self, upstream: str, operation: str, outcome: str, seconds: float) -> None:
        word = CALL_OUTCOMES.get(operation, {}).get(outcome, ERROR)
        self._call_seconds.observe(seconds, upstream, operation, word)

    def advanced(self, before: Run, event: Event, after: Run) -> None:
        if isinstance(event, KeepFailed):
            self._keep_failures.add(KEEP_FAILURES.get(event.reason.partition(":")[0], ERROR))
        if after.is_final and not before.is_final and after.finished_at is not None:
            quality = after.quality or DEFAULT_QUALITY
            outcome = after.failure.kind if after.failure else DONE
            seconds = max(0.0, after.finished_at - after.created_at)
            self._run_seconds.observe(seconds, after.model, quality, outcome)

    def route_turned(self, upstream: str, model: str, *, up: bool) -> None:
        self._health.turn(upstream, model, up=up)

    def cache_requests(self) -> Mapping[str, int]:
        """How many looks into the response cache came to what, since the start."""
        return {result: count.value for (result,), count in self._cache_requests.series.items()}

    def cache_looked_up(self, result: str) -> None:
        self._cache_requests.add(result)

    def called_back(self, delivery: Delivery) -> None:
        self._callbacks.add(CALLBACK_OUTCOMES[delivery.state])

    def http_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answered request: its route template, and the time from its head to its end."""
        labels = (route, method, str(status))
        if labels not in self._http_requests.series:
            labels = (route, method, f"{status // 100}xx")
        self._http_requests.add(*labels)
        self._http_seconds.observe(seconds, route)

    def ledger_checked(self, violations: int) -> None:
        """The ledger's invariants were checked, and so many are broken."""
        self._violations = violations

    def credits_compared(self, upstream: str, drift: float, at: float) -> None:
        """So many credits are between the upstream account's count and the ledger's."""
        self._credit_drift.found(upstream, drift, at)

    def reloaded(self, successful: bool, at: float) -> None:
        """The settings were read again. The time shown is that of the settings in force."""
        self._reload_successful = successful
        if successful:
            self._reloaded_at = at

    def families(self) -> Iterator[Iterable[str]]:
        """Every metric of this module, by its lines."""
        yield from self._series
        yield self._health.lines()
        yield from self._credit_drift.families()
        yield gauge(
            "gateway_ledger_violations",
            "Invariants that the last check of the ledger found broken.",
            self._violations,
        )
        yield gauge(
            "gateway_config_last_reload_successful",
            "1 when the newest settings are in force, 0 when they were refused.",
            int(self._reload_successful),
        )
        yield gauge(
            "gateway_config_last_reload_timestamp_seconds",
            "When the settings in force were read.",
            self._reloaded_at,
        )
        yield family(
            "gateway_build_info",
            "gauge",
            "The version that runs.",
            labels=("version",),
            values=[(1, (__version__,))],
        )

    # --- the objects ---------------------------------------------------------------------------

    def _make_tallies(self) -> None:
        self._http_requests = self._tally(
            "gateway_http_requests_total",
            "HTTP requests answered.",
            {"route": UNKNOWN, "method": OTHER, "status": "5xx"},
        )
        self._orders = self._tally(
            "gateway_orders_total",
            "Orders by what was decided on them.",
            {"team": UNKNOWN, "model": UNKNOWN, "verdict": None},
        )
        self._denials = self._tally(
            "gateway_denials_total",
            "Orders denied; in the mode 'shadow' they were let pass all the same.",
            {"team": UNKNOWN, "reason": None, "mode": None},
        )
        self._keep_failures = self._tally(
            "gateway_keep_failures_total",
            "Attempts to keep a run's pictures that did not bring all of them.",
            {"reason": ERROR},
        )
        self._cache_requests = self._tally(
            "gateway_cache_requests_total", "Looks into the response cache.", {"result": ERROR}
        )
        self._callbacks = self._tally(
            "gateway_callbacks_total",
            "Attempts to call a client back or to tell an operator, by what became of it.",
            {"outcome": None},
        )

    def _make_timings(self) -> None:
        self._http_seconds = self._timing(
            "gateway_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            HTTP_BUCKETS,
            {"route": UNKNOWN},
        )
        self._overhead_seconds = self._timing(
            "gateway_overhead_seconds",
            "The gateway's own time on a request, without the time it waited for upstream.",
            OVERHEAD_BUCKETS,
            {"route": UNKNOWN},
        )
        self._run_seconds = self._timing(
            "gateway_run_seconds",
            "Time from the order that started a run to the run's end.",
            RUN_BUCKETS,
            {"model": UNKNOWN, "quality": OTHER, "outcome": None},
        )
        self._call_seconds = self._timing(
            "gateway_upstream_seconds",
            "Time of a call upstream.",
            CALL_BUCKETS,
            {"upstream": OTHER, "operation": OTHER, "outcome": ERROR},
        )

    def _tally(self, name: str, text: str, folds: Folds) -> Tally:
        tally = Tally(name, text, folds)
        self._series.append(tally)
        return tally

    def _timing(self, name: str, text: str, bounds: Sequence[float], folds: Folds) -> Timing:
        timing = Timing(name, text, bounds, folds)
        self._series.append(timing)
        return timing

    # --- the closed lists ----------------------------------------------------------------------

    def _declare_lists(self) -> None:
        self.declare_routes([(UNKNOWN, ())])
        self._keep_failures.series.declare([*KEEP_FAILURES.values(), ERROR])
        self._cache_requests.series.declare(CACHE_RESULTS)
        self._callbacks.series.declare(CALLBACK_OUTCOMES.values())
        self._run_seconds.series.declare([UNKNOWN], [OTHER], RUN_OUTCOMES)
        self._declare_upstream(OTHER)

    def _declare_upstream(self, upstream: str) -> None:
        for operation, outcomes in CALL_OUTCOMES.items():
            self._call_seconds.series.declare([upstream], [operation], [*outcomes.values(), ERROR])
        self._call_seconds.series.declare([upstream], [OTHER], [ERROR])
