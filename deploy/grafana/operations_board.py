"""For those who keep it running: is it up, does it serve, is anything stuck."""

from __future__ import annotations

from expressions import counted, ledger, selected
from panels import AMBER, GREEN, RED, Board, Row, lines, stat, states, table

LOST = 'operation="submit",outcome="unknown"'
NONE_IS_GOOD = ((None, GREEN), (1, RED))

HEALTH = Row(
    "Health",
    [
        stat(
            "Processes up",
            "Gateways that answer their scrapes.",
            f"sum({selected('up')})",
            steps=((None, RED), (1, GREEN)),
        ),
        stat(
            "Version",
            "What runs.",
            f"max by (version) ({selected('gateway_build_info')})",
            legend="{{version}}",
        ),
        stat(
            "Up for",
            "Since the last start of any process.",
            f"time() - max({selected('process_start_time_seconds')})",
            unit="s",
        ),
        stat(
            "Ledger violations",
            "Invariants that the last check found broken.",
            f"max({selected('gateway_ledger_violations')})",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Settings",
            "Whether the newest settings are in force.",
            f"min({selected('gateway_config_last_reload_successful')})",
            words={0: ("refused", RED), 1: ("in force", GREEN)},
            steps=((None, RED), (1, GREEN)),
        ),
        stat(
            "Last reload",
            "When the settings in force were read.",
            f"max({selected('gateway_config_last_reload_timestamp_seconds')}) * 1000",
            unit="dateTimeFromNow",
        ),
        stat(
            "Errors",
            "Of all answers in five minutes, those of 500 and above.",
            selected("job:gateway_http_errors:ratio5m"),
            unit="percentunit",
            steps=((None, GREEN), (0.01, AMBER), (0.05, RED)),
            height=8,
        ),
        table(
            "Alerts",
            "Firing, and about to fire.",
            {
                "Count": "count by (alertname, alertstate, severity, team, route, upstream) "
                f"({selected('ALERTS')})"
            },
            columns={
                "alertname": "Alert",
                "alertstate": "State",
                "severity": "Severity",
                "team": "Team",
                "route": "Route",
                "upstream": "Upstream",
            },
            width=10,
        ),
        states(
            "Routes",
            "A route that does not serve is held back; one order at a time tries it.",
            {"{{route}}": f"min without (instance) ({selected('gateway_upstream_up')})"},
            words={0: ("held back", RED), 1: ("serves", GREEN)},
            width=10,
        ),
    ],
)

REQUESTS = Row(
    "Requests",
    [
        lines(
            "Requests by status",
            "Answers a second.",
            {"{{status}}": f"{counted('gateway_http_requests_total', 'status')} > 0"},
            unit="reqps",
            stacked=True,
            width=8,
        ),
        lines(
            "Requests by route",
            "Answers a second.",
            {"{{route}}": f"{counted('gateway_http_requests_total', 'route')} > 0"},
            unit="reqps",
            stacked=True,
            width=8,
        ),
        lines(
            "Time of an answer",
            "95th percentile over five minutes, by route. A request that"
            " waits for its pictures takes as long as they do.",
            {"{{route}}": selected("route:gateway_http_request_seconds:p95_5m") + " >= 0"},
            unit="s",
            width=8,
        ),
    ],
)

RUNS = Row(
    "Runs and pictures",
    [
        lines(
            "Runs under way",
            "By state. Queued ones wait for a route; unsure ones for a lost answer.",
            {"{{state}}": ledger("gateway_runs", 'state!~"done|failed"')},
            stacked=True,
            width=8,
        ),
        lines(
            "Runs ended",
            "Runs a minute, by how they ended.",
            {"{{outcome}}": f"{counted('gateway_run_seconds_count', 'outcome')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Oldest picture not kept",
            "How long a finished run has waited. Upstream's links die after 24 hours.",
            {"waiting": f"max({selected('gateway_oldest_unkept_seconds')})"},
            unit="s",
            width=8,
            steps=((None, GREEN), (600, AMBER), (21600, RED)),
        ),
        lines(
            "Failed attempts to keep pictures",
            "Attempts a minute, by reason.",
            {"{{reason}}": f"{counted('gateway_keep_failures_total', 'reason')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Submits not taken",
            "Of what is sent upstream, over ten minutes.",
            {"{{upstream}}": selected("upstream:gateway_submit_failures:ratio10m")},
            unit="percentunit",
            at_most=1,
            width=8,
            steps=((None, GREEN), (0.2, RED)),
        ),
        lines(
            "Calls upstream",
            "95th percentile of calls upstream, over five minutes.",
            {
                "{{upstream}} {{operation}}": selected(
                    "upstream_operation:gateway_upstream_seconds:p95_5m"
                )
            },
            unit="s",
            width=8,
        ),
        lines(
            "Answers lost",
            "Submits a minute whose answer was lost. They count as spent until it is known"
            " what became of them.",
            {
                "{{upstream}}": "sum by (upstream) (rate("
                f"{selected('gateway_upstream_seconds_count', LOST)}[$__rate_interval])) * 60"
            },
            unit="opm",
            stacked=True,
        ),
        lines(
            "Billed above the hold",
            "By how much upstreams that bill by tokens asked for more than was held, ever."
            " Where it grows, a price in the settings is too low.",
            {"{{upstream}}": ledger("gateway_bill_over_hold_usd_total")},
            unit="currencyUSD",
        ),
    ],
)

AROUND = Row(
    "Callbacks, cache, disk",
    [
        lines(
            "Callbacks",
            "Attempts a minute, by what became of the callback.",
            {"{{outcome}}": f"{counted('gateway_callbacks_total', 'outcome')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Callbacks given up",
            "Of those that came to an end in half an hour.",
            {"given up": selected("job:gateway_callbacks_failed:ratio30m")},
            unit="percentunit",
            at_most=1,
            width=8,
            steps=((None, GREEN), (0.2, RED)),
        ),
        lines(
            "Looks into the cache",
            "Looks a minute, by result.",
            {"{{result}}": f"{counted('gateway_cache_requests_total', 'result')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Disk",
            "The room that is left, and the floor below which no run starts.",
            {
                "left": f"min({selected('gateway_free_bytes')})",
                "floor": f"max({selected('gateway_free_floor_bytes')})",
            },
            unit="bytes",
            width=8,
        ),
        lines(
            "Pictures",
            "Their size in all.",
            {"size": f"max({selected('gateway_picture_bytes')})"},
            unit="bytes",
            width=8,
        ),
        lines(
            "Cache",
            "Its size.",
            {"size": f"sum({selected('gateway_cache_bytes')})"},
            unit="bytes",
            width=8,
        ),
    ],
)

PROCESS = Row(
    "Process",
    [
        lines(
            "Processor",
            "Cores in use.",
            {"{{instance}}": f"rate({selected('process_cpu_seconds_total')}[$__rate_interval])"},
            unit="short",
            width=6,
        ),
        lines(
            "Memory",
            "Resident.",
            {"{{instance}}": selected("process_resident_memory_bytes")},
            unit="bytes",
            width=6,
        ),
        lines(
            "Open files",
            "Against the limit of the process.",
            {
                "{{instance}}": selected("process_open_fds"),
                "{{instance}} limit": selected("process_max_fds"),
            },
            width=6,
        ),
        lines(
            "Garbage collections",
            "A minute, by generation. Each full one stops the loop.",
            {
                "{{generation}}": "sum by (generation) "
                f"(rate({selected('python_gc_collections_total')}[$__rate_interval])) * 60"
            },
            unit="opm",
            width=6,
        ),
        lines(
            "Settings in force",
            "How many different ones the gateways of this ledger have; more than one for the"
            " time of an update.",
            {"different": f"count(count by (digest) ({selected('gateway_settings_info')}))"},
            steps=((None, GREEN), (2, AMBER)),
        ),
        lines(
            "Clocks",
            "How far the ledger's is ahead of each machine's. It is corrected; beyond 30 s no"
            " orders are taken there.",
            {"{{instance}}": selected("gateway_clock_offset_seconds")},
            unit="s",
        ),
        lines(
            "The gateway's own time on a request",
            "99th percentile over five minutes, by route: a loop that is held up shows here first.",
            {"{{route}}": selected("route:gateway_overhead_seconds:p99_5m") + " >= 0"},
            unit="s",
        ),
        lines(
            "Scrapes",
            "How long Prometheus waits for the numbers.",
            {"{{instance}}": selected("scrape_duration_seconds")},
            unit="s",
            steps=((None, GREEN), (5, RED)),
        ),
    ],
)

BOARD = Board(
    uid="image-gateway-operations",
    title="Image gateway: operations",
    description="Whether the gateway is up, serves, keeps what was paid, and fits on its machine.",
    rows=[HEALTH, REQUESTS, RUNS, AROUND, PROCESS],
    since="now-6h",
)
