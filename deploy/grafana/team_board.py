"""For one team: what it spends and saves, what is left, and what became of its orders."""

from __future__ import annotations

from expressions import grown, ledger, pace, selected
from panels import AMBER, GREEN, RED, Board, Row, Variable, bars, lines, stat, table

TEAM = 'team="$team"'
SPENT, SAVED = grown("gateway_spend_usd_total", TEAM), grown("gateway_saved_usd_total", TEAM)
GENERATED = grown("gateway_images_total", f'{TEAM},source="generated"')
CACHED = grown("gateway_images_total", f'{TEAM},source="cache"')

MONEY = Row(
    "Money",
    [
        stat("Spent", "In the time shown, as in the ledger.", f"sum({SPENT})", unit="currencyUSD"),
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
            "Answered from the cache",
            "Of the orders answered in the last hour, those by a hit.",
            selected("team:gateway_cache_hit:ratio1h", TEAM),
            unit="percentunit",
        ),
        stat("Pictures made", "And paid, in the time shown.", f"sum({GENERATED})", decimals=0),
        stat(
            "Pictures reused",
            "Not paid again, in the time shown.",
            f"sum({CACHED})",
            decimals=0,
        ),
        lines(
            "Spend by model",
            "US dollars per hour.",
            {"{{model}}": f"{pace('gateway_spend_usd_total', 'model', TEAM)} * 3600"},
            unit="currencyUSD",
            stacked=True,
        ),
        table(
            "Models",
            "In the time shown.",
            {
                "Spent": f"sum by (model) ({SPENT})",
                "Saved": f"sum by (model) ({SAVED})",
                "Pictures": f"sum by (model) ({grown('gateway_images_total', TEAM)})",
            },
            columns={"model": "Model"},
            width=12,
            units={"Spent": "currencyUSD", "Saved": "currencyUSD"},
        ),
    ],
)

BUDGETS = Row(
    "Budgets",
    [
        bars(
            "Budget used",
            "Spent and held, of each budget in its current window.",
            {"{{window}}": selected("team_window:gateway_budget_used:ratio", TEAM)},
            unit="percentunit",
            steps=((None, GREEN), (0.8, AMBER), (1, RED)),
            at_most=1,
        ),
        table(
            "Budgets",
            "What is left, when the next window begins, and how long it lasts at the"
            " rate of the last hour.",
            {
                "Budget": f"sum by (window) ({ledger('gateway_budget_usd', TEAM)})",
                "Spent": f"sum by (window) ({ledger('gateway_budget_spent_usd', TEAM)})",
                "Held": f"sum by (window) ({ledger('gateway_budget_held_usd', TEAM)})",
                "Left": "sum by (window) "
                f"({selected('team_window:gateway_budget_left:usd', TEAM)})",
                "Begins anew": "sum by (window) "
                f"({ledger('gateway_budget_resets_timestamp_seconds', TEAM)}) * 1000",
                "Lasts": "sum by (window) "
                f"({selected('team_window:gateway_budget_exhaustion:seconds1h', TEAM)})",
            },
            columns={"window": "Window"},
            width=12,
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
            "1: a budget lasts exactly its window. Over one hour and over six.",
            {
                f"{{{{window}}}} {span}": selected(
                    f"team_window:gateway_budget_burn:ratio{span}", TEAM
                )
                for span in ("1h", "6h")
            },
            steps=((None, GREEN), (1, AMBER), (6, RED)),
        ),
        lines(
            "Spent in the window",
            "It falls to 0 when a window begins anew.",
            {
                "{{window}}": ledger("gateway_budget_spent_usd", TEAM),
                "{{window}} budget": ledger("gateway_budget_usd", TEAM),
            },
            unit="currencyUSD",
        ),
    ],
)

ORDERS = Row(
    "Orders",
    [
        lines(
            "Verdicts",
            "Orders a minute, by what was decided on them.",
            {
                "{{verdict}}": "sum by (verdict) "
                f"(rate({selected('gateway_orders_total', TEAM)}[$__rate_interval])) * 60"
            },
            unit="opm",
            stacked=True,
        ),
        lines(
            "Denials by reason",
            "Orders a minute. In shadow mode they were let pass.",
            {
                "{{reason}} ({{mode}})": "sum by (reason, mode) "
                f"(rate({selected('gateway_denials_total', TEAM)}[$__rate_interval])) * 60"
            },
            unit="opm",
            stacked=True,
        ),
    ],
)

BOARD = Board(
    uid="image-gateway-team",
    title="Image gateway: team",
    description="Spend, budgets and orders of one team.",
    rows=[MONEY, BUDGETS, ORDERS],
    variables=[
        Variable("team", "Team", 'label_values(gateway_spend_usd_total{job="$job"}, team)'),
    ],
)
