"""When an operator is told that a team comes near a limit, and what the alert says.

An alert belongs to the transaction that made it true: the one that admits an order, or that
refuses one for want of room. Its id follows from team, limit, window and threshold, so that it
is one per window, whoever works that out how often.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.instants import rfc3339, rfc3339_if_ever
from gateway.core.model import Delivery
from gateway.core.money.accounts import (
    Account,
    AccountKey,
    Amounts,
    Cap,
    Measure,
    Window,
    Windows,
)
from gateway.core.money.budgets import Standing, amount_told, limit_told, standings
from gateway.core.money.usd import dollars

TYPE: Final = "budget.threshold_reached"
TEST_TYPE: Final = "alert.test"
TEST_TEXT: Final = "A test of this gateway's alerts. Nothing is wrong: an operator asked for it."
MEASURES: Final = (Measure.USD, Measure.IMAGES)
"""What runs out. Limits on pace, such as runs per minute, are reached and left all the time."""

_ID_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Alerting:
    """Where alerts go, and at how many percent of a limit. Its address may hold a secret."""

    webhook: str
    thresholds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """When an order was judged. `told` are ids of alerts that are known to be written."""

    team: str
    now: float
    windows: Windows
    renews_at: Callable[[Window], float]
    told: frozenset[str] = frozenset()


def alerts(
    alerting: Alerting,
    moment: Moment,
    caps: Iterable[Cap],
    accounts: Mapping[AccountKey, Account],
    *,
    refused: Amounts | None = None,
) -> tuple[Delivery, ...]:
    """One delivery for each threshold that the team has reached and nobody is known to be told of.

    `accounts` are the team's as they are after the order. `refused` is what an order asked that
    was denied: a limit that it would have broken counts as reached in full.
    """
    watched = [cap for cap in caps if cap.measure in MEASURES]
    return tuple(
        _delivery(alerting, moment, one, threshold, denied=denied)
        for one in standings(watched, accounts, moment.renews_at)
        for denied in [refused is not None and one.lacks_room_for(refused)]
        for threshold in alerting.thresholds
        if denied or 100 * one.used >= threshold * one.cap.limit
        if alert_id(moment.team, one.cap, moment.windows, threshold) not in moment.told
    )


def trial(alerting: Alerting, name: str, now: float) -> Delivery:
    """An alert of nothing, for an operator to see that alerts arrive; it is owed to nobody."""
    told = {"type": TEST_TYPE, "timestamp": rfc3339(now), "data": {}}
    said = {**told, "text": TEST_TEXT, "content": TEST_TEXT}
    return Delivery(
        id=f"alert_{name}",
        job_id=None,
        team="",
        url=alerting.webhook,
        created_at=now,
        due_at=now,
        body=json.dumps(said, separators=(",", ":")),
    )


def alert_id(team: str, cap: Cap, windows: Windows, threshold: int) -> str:
    """The same for the same limit, window and threshold. A limit that was changed is another."""
    facts = [team, cap.rule, cap.limit, windows.start(cap.window), threshold]
    digest = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode())
    return f"alert_{digest.hexdigest()[:_ID_DIGITS]}"


def _delivery(
    alerting: Alerting, moment: Moment, one: Standing, threshold: int, *, denied: bool
) -> Delivery:
    return Delivery(
        id=alert_id(moment.team, one.cap, moment.windows, threshold),
        job_id=None,
        team=moment.team,
        url=alerting.webhook,
        created_at=moment.now,
        due_at=moment.now,
        body=_body(moment, one, threshold, denied=denied),
    )


def _body(moment: Moment, one: Standing, threshold: int, *, denied: bool) -> str:
    """Amounts are US dollars for `usd`, else counts. Chat programs show `text` as it is, or
    `content`, without which Discord refuses a message."""
    amount = dollars if one.cap.measure is Measure.USD else int
    resets_at = rfc3339_if_ever(one.renews_at)
    text = _text(moment.team, one, resets_at, denied=denied)
    said = {
        "type": TYPE,
        "timestamp": rfc3339(moment.now),
        "data": {
            "team": moment.team,
            "rule": one.cap.rule,
            "measure": one.cap.measure.value,
            "window": one.cap.window.value,
            "threshold": threshold,
            "limit": amount(one.cap.limit),
            "spent": amount(one.spent),
            "held": amount(one.held),
            "resets_at": resets_at,
            "refused": denied,
        },
        "text": text,
        "content": text,
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _text(team: str, one: Standing, resets_at: str | None, *, denied: bool) -> str:
    cap, used = one.cap, one.used
    share = 100 * used // cap.limit
    said = f"Team {team} has used {share} % of its limit of {limit_told(cap)}"
    held = f", {amount_told(cap, one.held)} of it held for running orders" if one.held else ""
    refused = " An order was refused because it needs more than is left." if denied else ""
    renews = f"It renews at {resets_at}." if resets_at else "It does not renew."
    return f"{said} ({amount_told(cap, used)}{held}).{refused} {renews}"
