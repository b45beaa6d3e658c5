"""What an order came to, as headers of its answer: its cost, what is left, how soon more may come.

One form for dollars in all of them. OpenAI's clients and those that know the `RateLimit` fields
find the same limit under the names that each looks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from gateway.core.money.budgets import Standing
from gateway.core.money.usd import exact_usd
from gateway.core.orders.receipt import Receipt
from gateway.web.edge import answer_with
from gateway.web.operation import Header
from gateway.web.schema import INTEGER, STRING, Schema

_USD: Final[Schema] = {**STRING, "pattern": r"^[0-9]+\.[0-9]{6}$", "examples": ["0.060000"]}

COST: Final = Header(
    "X-Gateway-Cost-Usd",
    "What the order costs: while it is being made what is held for it, which is the most it can "
    "cost; once it has ended what it did cost. 0 for what is answered from the cache, joined or "
    "refused.",
    _USD,
)
SAVED: Final = Header(
    "X-Gateway-Saved-Usd",
    "What an order that was answered from the cache, or joined another, would have cost.",
    _USD,
)
LEFT: Final = Header(
    "X-Gateway-Budget-Left-Usd",
    "What the tightest of the team's budgets had left once the order was decided, less what "
    "X-Gateway-Cost-Usd says. Absent without a budget.",
    _USD,
)
LIMIT, REMAINING, RESET = (
    Header(f"RateLimit-{name}", text, INTEGER)
    for name, text in (
        ("Limit", "How many runs the team may begin in a minute. Absent without such a limit."),
        ("Remaining", "How many of them are left. What the cache answers takes none."),
        ("Reset", "In how many seconds there are as many again."),
    )
)
OPENAI_LIMIT, OPENAI_REMAINING, OPENAI_RESET = (
    Header(f"x-ratelimit-{name}-requests", text, schema)
    for name, text, schema in (
        ("limit", "`RateLimit-Limit`, as OpenAI calls it.", INTEGER),
        ("remaining", "`RateLimit-Remaining`, as OpenAI calls it.", INTEGER),
        ("reset", "`RateLimit-Reset`, as OpenAI says it.", {**STRING, "examples": ["1m0s"]}),
    )
)
RECEIPT: Final = (
    *(COST, SAVED, LEFT),
    *(LIMIT, REMAINING, RESET),
    *(OPENAI_LIMIT, OPENAI_REMAINING, OPENAI_RESET),
)
"""What the answer to an order may carry."""


def tell(request: Request, receipt: Receipt, now: float) -> None:
    """The answer to this request carries the receipt, also if it is an error."""
    answer_with(request, headers_of(receipt, now))


def headers_of(receipt: Receipt, now: float) -> Mapping[str, str]:
    told = {
        COST.name: exact_usd(receipt.cost_usd_micros),
        SAVED.name: exact_usd(receipt.saved_usd_micros),
    }
    left = receipt.left
    if left.usd_micros is not None:
        told[LEFT.name] = exact_usd(left.usd_micros)
    return told if left.runs is None else {**told, **_rate(left.runs, now)}


def _rate(runs: Standing, now: float) -> Mapping[str, str]:
    limit, remaining = str(runs.cap.limit), str(runs.left)
    seconds = max(0, math.ceil(runs.renews_at - now))
    return {
        LIMIT.name: limit,
        REMAINING.name: remaining,
        RESET.name: str(seconds),
        OPENAI_LIMIT.name: limit,
        OPENAI_REMAINING.name: remaining,
        OPENAI_RESET.name: _as_openai(seconds),
    }


def _as_openai(seconds: int) -> str:
    """`7s`, `1m0s`: as Go writes durations."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
