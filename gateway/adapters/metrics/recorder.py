"""The observer: counts verdicts, calls and events as they are told.

Each call is a look-up in a dictionary and an addition; it never fails the one who tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    values,
)

from gateway import __version__
from gateway.adapters.metrics.children import Children
from gateway.adapters.metrics.closed_lists import (
    CACHE_RESULTS,
    CALL_BUCKETS,
    CALL_OUTCOMES,
    CALLBACK_OUTCOMES,
    DEFAULT_QUALITY,
    DONE,
    ERROR,
    FIRST_STATUSES,
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
from gateway.adapters.metrics.upstreams import UpstreamStates
from gateway.core.catalog import Mode
from gateway.core.model import Delivery, Run, Verdict
from gateway.core.orders.denials import Denial, Reason
from gateway.core.policy import Policy
from gateway.core.runs.events import Event, KeepFailed

# The library's further line for each series, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# With PROMETHEUS_MULTIPROC_DIR in the environment, the library would count in files of that folder:
# it must exist then, and a process with the number of a former one would go on from its counts.
values.ValueClass = values.MutexValue


class MetricsRecorder:
    """See gateway.ports.observer; besides, HTTP requests, reloads and the ledger's check.

    What it counts is in `registry`.
    """

    def __init__(self, policy: Policy) -> None:
        self.registry = CollectorRegistry()
        self._make_counters()
        self._make_histograms()
        self._make_gauges()
        self._declare_lists()
        self.declare(policy)

    def declare(self, policy: Policy) -> None:
        """Makes the series of every team, model, quality, upstream and route of the settings.

        To be called at each reload. Counters of what the settings no longer name stay.
        """
        models = policy.catalog.models
        self._orders.declare([*policy.teams, UNKNOWN], [*models, UNKNOWN], Verdict)
        self._denials.declare([*policy.teams, UNKNOWN], Reason, Mode)
        for model in models.values():
            qualities = [*(model.limits.qualities or ()), DEFAULT_QUALITY, OTHER]
            self._run_seconds.allow([model.name], qualities, RUN_OUTCOMES)
            self._run_seconds.declare([model.name], qualities, [DONE])
        routes = [route for model in models.values() for route in model.routes]
        upstreams = sorted({*policy.rules, *(route.upstream for route in routes)})
        self._upstreams.declare(routes, upstreams)
        for operation, outcomes in CALL_OUTCOMES.items():
            self._call_seconds.declare(upstreams, [operation], [*outcomes.values(), ERROR])

    def declare_routes(self, routes: Iterable[tuple[str, Collection[str]]]) -> None:
        """Makes the series of what the web serves: route templates and their methods."""
        for template, methods in routes:
            self._overhead_seconds.allow([template])
            self._http_seconds.allow([template])
            self._http_requests.allow([template], methods, [*STATUSES, *STATUS_CLASSES])
            self._http_requests.allow([template], [OTHER], STATUS_CLASSES)
            self._http_requests.declare([template], {*methods} - {"HEAD"}, FIRST_STATUSES)

    # --- what is told --------------------------------------------------------------------------

    def order(self, team: str, model: str, verdict: Verdict) -> None:
        self._orders[team, model, verdict].inc()

    def denied(self, team: str, denial: Denial, mode: Mode) -> None:
        self._denials[team, denial.reason, mode].inc()

    def called(self, upstream: str, operation: str, outcome: str, seconds: float) -> None:
        word = CALL_OUTCOMES.get(operation, {}).get(outcome, ERROR)
        self._call_seconds[upstream, operation, word].observe(seconds)

    def advanced(self, before: Run, event: Event, after: Run) -> None:
        if isinstance(event, KeepFailed):
            self._keep_failures[KEEP_FAILURES.get(event.reason.partition(":")[0], ERROR),].inc()
        if after.is_final and not before.is_final and after.finished_at is not None:
            quality = after.quality or DEFAULT_QUALITY
            outcome = after.failure.kind if after.failure else DONE
            seconds = max(0.0, after.finished_at - after.created_at)
            self._run_seconds[after.model, quality, outcome].observe(seconds)

    def route_turned(self, upstream: str, model: str, *, up: bool) -> None:
        self._upstreams.turn(upstream, model, up=up)

    def cache_requests(self) -> Mapping[str, int]:
        """How many looks into the response cache came to what, since the start."""
        (metric,) = self._cache_lookups.collect()
        return {sample.labels["result"]: int(sample.value) for sample in metric.samples}

    def cache_looked_up(self, result: str) -> None:
        self._cache_requests[result,].inc()

    def called_back(self, delivery: Delivery) -> None:
        self._callbacks[CALLBACK_OUTCOMES[delivery.state],].inc()

    def http_request(
        self, route: str, method: str, status: int, seconds: float, our_seconds: float
    ) -> None:
        """One answered request: its route template, the time from its head to its end, and how
        much of that was not upstream's."""
        labels = (route, method, str(status))
        if labels not in self._http_requests and not self._http_requests.allows(labels):
            labels = (route, method, f"{status // 100}xx")
        self._http_requests[labels].inc()
        self._http_seconds[route,].observe(seconds)
        self._overhead_seconds[route,].observe(our_seconds)

    def ledger_checked(self, violations: int) -> None:
        """The ledger's invariants were checked, and so many are broken."""
        self._violations.set(violations)

    def settings_in_force(self, digest: str) -> None:
        """What this gateway runs by now: those that share a ledger should have it the same."""
        self._settings.clear()
        self._settings.labels(digest).set(1)

    def clock_measured(self, offset_seconds: float) -> None:
        """The ledger's clock is so far ahead of this machine's."""
        self._clock_offset.set(offset_seconds)

    def credits_compared(self, upstream: str, drift: float, at: float) -> None:
        """So many credits are between the upstream account's count and the ledger's."""
        self._upstreams.compared(upstream, drift, at)

    def reloaded(self, successful: bool, at: float) -> None:
        """The settings were read again. The time shown is that of the settings in force."""
        self._reload_successful.set(successful)
        if successful:
            self._reloaded_at.set(at)

    # --- the metrics ---------------------------------------------------------------------------

    def _make_counters(self) -> None:
        counter = partial(Counter, registry=self.registry)
        requests = counter(
            "gateway_http_requests_total",
            "HTTP requests answered.",
            labelnames=("route", "method", "status"),
        )
        self._http_requests = Children(requests, UNKNOWN, OTHER, "5xx")
        orders = counter(
            "gateway_orders_total",
            "Orders by what was decided on them.",
            labelnames=("team", "model", "verdict"),
        )
        self._orders = Children(orders, UNKNOWN, UNKNOWN, ERROR)
        denials = counter(
            "gateway_denials_total",
            "Orders denied; in the mode 'shadow' they were let pass all the same.",
            labelnames=("team", "reason", "mode"),
        )
        self._denials = Children(denials, UNKNOWN, ERROR, ERROR)
        keep_failures = counter(
            "gateway_keep_failures_total",
            "Attempts to keep a run's pictures that did not bring all of them.",
            labelnames=("reason",),
        )
        self._keep_failures = Children(keep_failures, ERROR)
        self._cache_lookups = counter(
            "gateway_cache_requests_total",
            "Looks into the response cache.",
            labelnames=("result",),
        )
        self._cache_requests = Children(self._cache_lookups, ERROR)
        callbacks = counter(
            "gateway_callbacks_total",
            "Attempts to call a client back or to tell an operator, by what became of it.",
            labelnames=("outcome",),
        )
        self._callbacks = Children(callbacks, ERROR)

    def _make_histograms(self) -> None:
        histogram = partial(Histogram, registry=self.registry)
        http_seconds = histogram(
            "gateway_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            labelnames=("route",),
            buckets=HTTP_BUCKETS,
        )
        self._http_seconds = Children(http_seconds, UNKNOWN)
        overhead_seconds = histogram(
            "gateway_overhead_seconds",
            "The gateway's own time on a request, without the time it waited for upstream.",
            labelnames=("route",),
            buckets=OVERHEAD_BUCKETS,
        )
        self._overhead_seconds = Children(overhead_seconds, UNKNOWN)
        run_seconds = histogram(
            "gateway_run_seconds",
            "Time from the order that started a run to the run's end.",
            labelnames=("model", "quality", "outcome"),
            buckets=RUN_BUCKETS,
        )
        self._run_seconds = Children(run_seconds, UNKNOWN, OTHER, ERROR)
        call_seconds = histogram(
            "gateway_upstream_seconds",
            "Time of a call upstream.",
            labelnames=("upstream", "operation", "outcome"),
            buckets=CALL_BUCKETS,
        )
        self._call_seconds = Children(call_seconds, OTHER, OTHER, ERROR)

    def _make_gauges(self) -> None:
        gauge = partial(Gauge, registry=self.registry)
        self._upstreams = UpstreamStates()
        self.registry.register(self._upstreams)
        self._violations = gauge(
            "gateway_ledger_violations",
            "Invariants that the last check of the ledger found broken.",
        )
        self._reload_successful = gauge(
            "gateway_config_last_reload_successful",
            "1 when the newest settings are in force, 0 when they were refused.",
        )
        self._reloaded_at = gauge(
            "gateway_config_last_reload_timestamp_seconds",
            "When the settings in force were read.",
        )
        self._clock_offset = gauge(
            "gateway_clock_offset_seconds",
            "How far the ledger's clock is ahead of this machine's; corrected.",
        )
        self._settings = gauge(
            "gateway_settings_info", "Names the settings in force.", labelnames=("digest",)
        )
        build = gauge("gateway_build_info", "The version that runs.", labelnames=("version",))
        build.labels(__version__).set(1)

    def _declare_lists(self) -> None:
        self._keep_failures.declare([*KEEP_FAILURES.values(), ERROR])
        self._cache_requests.declare(CACHE_RESULTS)
        self._callbacks.declare(CALLBACK_OUTCOMES.values())
        self._http_seconds.declare([UNKNOWN])
        self._overhead_seconds.declare([UNKNOWN])
        self._http_requests.declare([UNKNOWN], [OTHER], STATUS_CLASSES)
        self._run_seconds.allow([UNKNOWN], [OTHER], RUN_OUTCOMES)
        for operation, outcomes in CALL_OUTCOMES.items():
            self._call_seconds.allow([OTHER], [operation], [*outcomes.values(), ERROR])
        self._call_seconds.allow([OTHER], [OTHER], [ERROR])
