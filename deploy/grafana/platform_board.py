"""For those who answer for the money: spend, savings, budgets, orders, upstream, storage."""

from __future__ import annotations

from expressions import counted, grown, ledger, pace, selected
from panels import AMBER, GREEN, RED, Board, Row, bars, lines, stat, states, table

SPENT, SAVED = grown("gateway_spend_usd_total"), grown("gateway_saved_usd_total")
HITS = grown("gateway_saved_usd_total", 'how="hit"')
JOINS = grown("gateway_saved_usd_total", 'how="joined"')
USED = ((None, GREEN), (0.8, AMBER), (1, RED))
TEAM_MODEL = {"team": "Team", "model": "Model"}
TEAM_WINDOW = {"team": "Team", "window": "Window"}

MONEY = Row(
    "Money",
    [
        stat(
            "Spent",
            "What was spent upstream in the time shown, as in the ledger.",
            f"sum({SPENT})",
            unit="currencyUSD",
        ),
        stat(
            "Saved",
            "What orders would have cost that the cache or a running order answered.",
            f"sum({SAVED})",
            unit="currencyUSD",
            steps=((None, GREEN),),
        ),
        stat(
            "Saved share",
            "Saved, of what everything would have cost.",
            f"sum({SAVED}) / (sum({SAVED}) + sum({SPENT}))",
            unit="percentunit",
            steps=((None, GREEN),),
        ),
        stat(
            "Held now",
            "Reserved for runs under way, of the teams that have a budget.",
            f"sum(max without (instance, window) ({selected('gateway_budget_held_usd')}))",
            unit="currencyUSD",
        ),
        stat(
            "Pictures",
            "Delivered in the time shown, made or reused.",
            f"sum({grown('gateway_images_total')})",
            decimals=0,
        ),
        stat(
            "Teams above 80 %",
            "Teams that have used more than four fifths of a budget.",
            "count(max without (window) "
            f"({selected('team_window:gateway_budget_used:ratio')}) > 0.8) or vector(0)",
            steps=((None, GREEN), (1, AMBER)),
        ),
        lines(
            "Spend by team",
            "US dollars per hour.",
            {"{{team}}": f"{pace('gateway_spend_usd_total', 'team')} * 3600"},
            unit="currencyUSD",
            stacked=True,
        ),
        lines(
            "Spend by model",
            "US dollars per hour.",
            {"{{model}}": f"{pace('gateway_spend_usd_total', 'model')} * 3600"},
            unit="currencyUSD",
            stacked=True,
        ),
        table(
            "Spend by team and model",
            "In the time shown, and ever. The numbers are the ledger's, to the cent.",
            {
                "Spent": f"sum by (team, model) ({SPENT})",
                "Saved by the cache": f"sum by (team, model) ({HITS})",
                "Saved by joining": f"sum by (team, model) ({JOINS})",
                "Pictures": f"sum by (team, model) ({grown('gateway_images_total')})",
                "Spent ever": f"sum by (team, model) ({ledger('gateway_spend_usd_total')})",
            },
            columns=TEAM_MODEL,
            units={
                "Spent": "currencyUSD",
                "Saved by the cache": "currencyUSD",
                "Saved by joining": "currencyUSD",
                "Spent ever": "currencyUSD",
            },
        ),
    ],
)

BUDGETS = Row(
    "Budgets",
    [
        bars(
            "Budget used",
            "Spent and held, of each budget in its current window.",
            {"{{team}} / {{window}}": selected("team_window:gateway_budget_used:ratio")},
            unit="percentunit",
            steps=USED,
            at_most=1,
            height=10,
        ),
        table(
            "Budgets",
            "What is left, when the next window begins, and how long it lasts at the"
            " rate of the last hour.",
            {
                "Budget": f"sum by (team, window) ({ledger('gateway_budget_usd')})",
                "Spent": f"sum by (team, window) ({ledger('gateway_budget_spent_usd')})",
                "Held": f"sum by (team, window) ({ledger('gateway_budget_held_usd')})",
                "Left": "sum by (team, window) "
                f"({selected('team_window:gateway_budget_left:usd')})",
                "Begins anew": "sum by (team, window) "
                f"({ledger('gateway_budget_resets_timestamp_seconds')}) * 1000",
                "Lasts": "sum by (team, window) "
                f"({selected('team_window:gateway_budget_exhaustion:seconds1h')})",
            },
            columns=TEAM_WINDOW,
            width=12,
            height=10,
            units={
                "Budget": "currencyUSD",
                "Spent": "currencyUSD",
                "Held": "currencyUSD",
                "Left": "currencyUSD",
                "Begins anew": "dateTimeFromNow",
                "Lasts": "s",
            },
        ),
        lines(
            "Burn rate",
            "1: at the rate of the last hour, a budget lasts exactly its window.",
            {"{{team}} / {{window}}": selected("team_window:gateway_budget_burn:ratio1h")},
            steps=((None, GREEN), (1, AMBER), (6, RED)),
        ),
        lines(
            "Time to exhaustion",
            "At the rate of the last six hours; absent without spend.",
            {"{{team}} / {{window}}": selected("team_window:gateway_budget_exhaustion:seconds6h")},
            unit="s",
        ),
    ],
)

ORDERS = Row(
    "Orders",
    [
        lines(
            "Verdicts",
            "Orders a minute, by what was decided on them.",
            {"{{verdict}}": f"{counted('gateway_orders_total', 'verdict')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Denials by reason",
            "Orders a minute. In shadow mode they were let pass.",
            {"{{reason}} ({{mode}})": f"{counted('gateway_denials_total', 'reason, mode')} * 60"},
            unit="opm",
            stacked=True,
            width=8,
        ),
        lines(
            "Pictures by source",
            "Pictures a minute: made and paid, or reused (from the cache, or by joining).",
            {"{{source}}": f"{pace('gateway_images_total', 'source')} * 60"},
            unit="short",
            stacked=True,
            width=8,
        ),
        lines(
            "Answered from the cache, by team",
            "Of the orders answered in an hour, those by a hit.",
            {"{{team}}": selected("team:gateway_cache_hit:ratio1h")},
            unit="percentunit",
            at_most=1,
            width=8,
        ),
        lines(
            "Saved share by team",
            "Over a day.",
            {"{{team}}": selected("team:gateway_saved:ratio1d")},
            unit="percentunit",
            at_most=1,
            width=8,
        ),
        table(
            "Denials",
            "In the time shown, about: counts of a process are extrapolated.",
            {
                "Orders": "round(sum by (team, reason, mode) "
                f"(increase({selected('gateway_denials_total')}[$__range]))) > 0"
            },
            columns={"team": "Team", "reason": "Reason", "mode": "Mode"},
            width=8,
        ),
    ],
)

LATENCY = Row(
    "Latency",
    [
        lines(
            "The gateway's own time on orders",
            "Without upstream's. Median and 99th percentile over five minutes.",
            {
                f"{{{{route}}}} {name}": selected(
                    f"route:gateway_overhead_seconds:{name}_5m", 'route=~"/.*images.*"'
                )
                for name in ("p50", "p99")
            },
            unit="s",
            width=8,
            steps=((None, GREEN), (0.25, RED)),
        ),
        lines(
            "From order to pictures",
            "Runs that ended well, over an hour.",
            {
                f"{{{{model}}}} {name}": selected(f"model:gateway_run_seconds:{name}_1h")
                for name in ("p50", "p95")
            },
            unit="s",
            width=8,
        ),
        lines(
            "Runs without pictures",
            "Of the runs that ended in an hour, by model.",
            {"{{model}}": selected("model:gateway_runs_failed:ratio1h")},
            unit="percentunit",
            at_most=1,
            width=8,
            steps=((None, GREEN), (0.2, RED)),
        ),
    ],
)

UPSTREAM = Row(
    "Upstream",
    [
        states(
            "Routes",
            "A route that does not serve is held back; one order at a time tries it.",
            {"{{route}}": f"min without (instance) ({selected('gateway_upstream_up')})"},
            words={0: ("held back", RED), 1: ("serves", GREEN)},
        ),
        lines(
            "Calls",
            "Calls a minute, by what came of them.",
            {
                "{{upstream}} {{operation}} {{outcome}}": "("
                f"{counted('gateway_upstream_seconds_count', 'upstream, operation, outcome')}"
                ") * 60 > 0"
            },
            unit="opm",
            stacked=True,
        ),
        lines(
            "Submits not taken",
            "Of what is sent, over ten minutes.",
            {"{{upstream}}": selected("upstream:gateway_submit_failures:ratio10m")},
            unit="percentunit",
            at_most=1,
            width=8,
            steps=((None, GREEN), (0.2, RED)),
        ),
        lines(
            "Time of a call",
            "95th percentile over five minutes.",
            {
                "{{upstream}} {{operation}}": selected(
                    "upstream_operation:gateway_upstream_seconds:p95_5m"
                )
            },
            unit="s",
            width=8,
        ),
        stat(
            "Credit drift",
            "Credits that the account counts beyond what its runs reported."
            " Compared while nothing is under way.",
            ledger("gateway_upstream_credit_drift"),
            width=4,
            height=8,
            steps=((None, RED), (-68, GREEN), (68, RED)),
        ),
        stat(
            "Compared",
            "When the credits were last compared.",
            f"{ledger('gateway_upstream_credits_compared_timestamp_seconds')} * 1000",
            unit="dateTimeFromNow",
            width=4,
            height=8,
        ),
    ],
)

STORAGE = Row(
    "Storage",
    [
        stat("Pictures kept", "Ever.", f"max({selected('gateway_pictures')})", decimals=0),
        stat(
            "Their size",
            "Bytes of the kept pictures.",
            f"max({selected('gateway_picture_bytes')})",
            unit="bytes",
        ),
        stat(
            "Room left",
            "On the disk of the pictures.",
            f"min({selected('gateway_free_bytes')})",
            unit="bytes",
        ),
        stat(
            "Answers cached",
            "In the response cache.",
            f"sum({selected('gateway_cache_entries')})",
            decimals=0,
        ),
        stat(
            "Size of the cache",
            "It never grows beyond cache.size_limit.",
            f"sum({selected('gateway_cache_bytes')})",
            unit="bytes",
        ),
        stat(
            "Growth",
            "Bytes of pictures in the time shown.",
            f"max({grown('gateway_picture_bytes')})",
            unit="bytes",
        ),
    ],
)

BOARD = Board(
    uid="image-gateway-platform",
    title="Image gateway: platform",
    description="Spend, savings and budgets of all teams, and how they are served.",
    rows=[MONEY, BUDGETS, ORDERS, LATENCY, UPSTREAM, STORAGE],
)
