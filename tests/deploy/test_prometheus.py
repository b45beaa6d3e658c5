"""A real Prometheus scrapes a gateway that has served everything: what it answers is the ledger's.

Every expression of every panel and rule is asked there. None may come back empty.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployed import (
    DEPLOY,
    alerts,
    asked_by_panels,
    boards,
    panels,
    read,
    recorded,
    rules,
    without_threshold,
)
from house import FAST, ORGANISATION_KEY, House, digest, opened
from prometheus_server import Labels, Prometheus, labels, prometheus
from receivers import Receive

from gateway.core.model import Usage
from gateway.core.money.accounts import USD_MICROS
from gateway.sandbox import RunningSandbox, running_sandbox

METRICS_KEY = "metrics-key"
PRICES = {"gpt-image-1.5": (0.05, 0.08), "gpt-image-2": (0.03,)}
KEYS = {name: f"team-{name}-key" for name in ("blue", "green", "red", "grey")}
TEAMS: dict[str, Any] = {
    "blue": {
        "budgets": [{"usd": 50, "per": "day"}, {"usd": 500, "per": "month"}],
        "cache": {"scope": "organization"},
    },
    "green": {
        "budgets": [
            {"usd": 0.12, "per": "day"},
            {"usd": 9, "per": "week"},
            {"usd": 90, "per": "total"},
        ],
        "cache": {"scope": "organization"},
    },
    "red": {
        "limits": {"images": [{"count": 1, "per": "day"}]},
        "allow": {"models": ["gpt-image-1.5"], "qualities": ["low"]},
    },
    "grey": {"budgets": [{"usd": 0.01, "per": "day"}], "mode": "shadow"},
}
VERDICTS = {"hit": 3, "joined": 2, "started": 14, "denied": 4, "invalid": 1}
DENIALS = {
    ("green", "budget", "enforce"): 1,
    ("grey", "budget", "shadow"): 2,
    ("red", "images", "enforce"): 1,
    ("red", "model_not_allowed", "enforce"): 1,
    ("red", "quality_not_allowed", "enforce"): 1,
}
QUOTED = re.compile(r"\$__(?:rate_interval|range)\b|\$\w+")
MEANT = {"$__rate_interval": "2m", "$__range": "1h", "$job": "image-gateway", "$team": "blue"}


@dataclass
class Town:
    """A gateway with two upstreams, a receiver that is well and one that is not."""

    house: House
    cheap: RunningSandbox
    well: str
    ill: str

    async def made(self, prompt: str, team: str, **more: Any) -> None:
        await self.house.made(prompt, key=KEYS[team], **more)

    async def refused(self, status: int, team: str, prompt: str = "refused", **more: Any) -> None:
        answer = await self.house.post(prompt, key=KEYS[team], **more)
        assert answer.status_code == status, answer.text


def settings(dear: RunningSandbox) -> dict[str, Any]:
    upstream = {
        "base_url": dear.base_url,
        "api_key": ORGANISATION_KEY,
        "poll": {"first": "20ms", "every": "40ms", "max": "80ms"},
        "allow_private_addresses": True,
    }
    cheap, spare = PRICES["gpt-image-1.5"]
    routes = [
        {"upstream": "evolink", "model": "gpt-image-1.5", "price": cheap},
        {"upstream": "spare", "model": "gpt-image-1.5", "price": spare},
    ]
    other = {"upstream": "spare", "model": "gpt-image-2", "price": PRICES["gpt-image-2"][0]}
    return {
        "server": {"metrics_keys": [digest(METRICS_KEY)]},
        "storage": {"free_space_floor": "1MB"},
        "upstreams": {"spare": upstream},
        "models": {"gpt-image-1.5": {"routes": routes}, "gpt-image-2": {"routes": [other]}},
        "callbacks": {"allow_private_addresses": True, "timeout": "2s", "retries": ["20ms"]},
        "teams": {name: {**team, "keys": [digest(KEYS[name])]} for name, team in TEAMS.items()},
    }


@pytest.fixture
async def town(tmp_path: Path, trust: ssl.SSLContext, receive: Receive) -> AsyncIterator[Town]:
    well, ill = await receive(200), await receive(500)
    async with running_sandbox(FAST) as cheap, running_sandbox(FAST) as dear:
        one = await opened(cheap, tmp_path / "gateway", callback_tls=trust, **settings(dear))
        try:
            yield Town(one, cheap, well.url(), ill.url())
        finally:
            await one.stop()


async def serve_everything(town: Town, seen: Prometheus) -> None:
    """Every verdict, failing routes, callbacks; between the parts, scrapes."""
    house = town.house
    await asyncio.gather(
        *(town.made(f"bicycle {n}", "blue", quality="low", callback_url=town.well) for n in (1, 2)),
        *(town.made("kite [sandbox:delay=0.4]", "blue", quality="low") for _ in range(2)),
        town.made("boat", "blue", model="gpt-image-2", n=2),
        town.made("kite [sandbox:delay=0.4]", "green", quality="low"),
    )
    await seen.scraped(2)
    await town.made("bicycle 1", "blue", quality="low")
    await town.made("bicycle 2", "green", quality="low")
    await town.made("bicycle 2", "green", quality="low", callback_url=town.ill)
    await town.made("green's own", "green")
    await town.made("green's second", "green")
    await town.refused(402, "green")
    await town.made("red's", "red", quality="low")
    await town.refused(429, "red", quality="low")
    await town.refused(403, "red", model="gpt-image-2")
    await town.refused(400, "red", quality="high")
    await town.refused(400, "blue", size="7:9")
    await town.made("grey's", "grey")
    await town.made("grey's second", "grey")
    await house.settled()
    for name, upstream in house.gateway.credit_watch._upstreams.items():
        await house.gateway.credit_watch.compare(name, upstream)
    await seen.scraped(2)
    town.cheap.state.down = True
    for number in range(2):
        await town.made(f"by the spare route {number}", "blue")
    failing = await house.post(
        "no [sandbox:fail=content_policy_violation]", key=KEYS["blue"], callback_url=town.ill
    )
    await house.ended(failing.json()["id"], key=KEYS["blue"])
    await town.refused(504, "blue", "lost [sandbox:drop]", model="gpt-image-2")
    assert (await house.client.get("/v1/tasks")).status_code == 401
    await house.post("gone [sandbox:dead-link]", key=KEYS["blue"], model="gpt-image-2")


async def wrong(seen: Prometheus, where: str, expr: str) -> list[str]:
    asked = QUOTED.sub(lambda found: MEANT[found[0]], expr)
    return [] if await seen.ask(asked) else [f"{where}: nothing for {asked}"]


async def column(seen: Prometheus, waiters: str, title: str, heading: str) -> dict[Labels, float]:
    """What a panel shows: of a table, the column of that heading."""
    (panel,) = [one for one in panels(boards()[waiters]) if one["title"] == title]
    (target,) = [one for one in panel["targets"] if heading in ("", one["legendFormat"])]
    return await seen.ask(QUOTED.sub(lambda found: MEANT[found[0]], target["expr"]))


def by_pair(usage: list[Usage], field: str) -> dict[Labels, float]:
    """A counter of the ledger by team and model; of money, in dollars."""
    scale = USD_MICROS if field.endswith("_usd_micros") else 1
    return {labels(team=one.team, model=one.model): getattr(one, field) / scale for one in usage}


@pytest.mark.timeout(180)
async def test_every_expression_is_answered_and_right(town: Town, tmp_path: Path) -> None:
    address = town.house.http.base_url.removeprefix("http://")
    async with prometheus(tmp_path / "prometheus", [address], METRICS_KEY) as seen:
        await seen.scraped(2)
        await serve_everything(town, seen)
        await seen.scraped(3)
        await the_money_is_the_ledgers(town, seen)
        await the_budgets_are_the_ledgers(town, seen)
        await the_counts_are_right(town, seen)
        await nothing_is_empty(seen)
        await every_series_is_looked_at(town)
        await the_rules_are_well_and_the_right_alerts_ring(seen)


async def nothing_is_empty(seen: Prometheus) -> None:
    missing = []
    for asked in asked_by_panels():
        missing += await wrong(seen, asked.where, asked.expr)
    for name in recorded():
        missing += await wrong(seen, name, name)
    for rule in rules():
        if "record" in rule:
            missing += await wrong(seen, rule["record"], rule["expr"])
    for name, rule in alerts().items():
        operand = re.sub(r"^absent\((.*)\)$", r"\1", rule["expr"])
        missing += await wrong(seen, name, without_threshold(operand))
    assert missing == []


async def the_money_is_the_ledgers(town: Town, seen: Prometheus) -> None:
    """Prometheus has seen nothing but what happened in the range of the board."""
    usage = list(await town.house.gateway.ledger.usage())
    assert {one.team for one in usage} == set(KEYS)
    table = ("platform", "Spend by team and model")
    for heading, field in {
        "Spent": "spent_usd_micros",
        "Spent ever": "spent_usd_micros",
        "Saved by the cache": "saved_hit_usd_micros",
        "Saved by joining": "saved_joined_usd_micros",
    }.items():
        shown = {
            where: round(value, 6)
            for where, value in (await column(seen, *table, heading)).items()
            if value
        }
        assert shown == {k: v for k, v in by_pair(usage, field).items() if v}, heading
        assert shown
    pictures = await column(seen, *table, "Pictures")
    both = {
        where: count + by_pair(usage, "images_cache")[where]
        for where, count in by_pair(usage, "images_generated").items()
    }
    assert {where: count for where, count in pictures.items() if count} == {
        where: count for where, count in both.items() if count
    }
    spent = sum(one.spent_usd_micros for one in usage) / USD_MICROS
    saved = (
        sum(one.saved_hit_usd_micros + one.saved_joined_usd_micros for one in usage) / USD_MICROS
    )
    for title, amount in {
        "Spent": spent,
        "Saved": saved,
        "Saved share": saved / (saved + spent),
    }.items():
        (shown_amount,) = (await column(seen, "platform", title, "")).values()
        assert shown_amount == pytest.approx(amount, abs=1e-9), title
    (blue,) = (await column(seen, "team", "Spent", "")).values()
    mine = sum(one.spent_usd_micros for one in usage if one.team == "blue") / USD_MICROS
    assert blue == pytest.approx(mine, abs=1e-9)


async def the_budgets_are_the_ledgers(town: Town, seen: Prometheus) -> None:
    gateway = town.house.gateway
    budgets = {
        key: float(one["usd"])
        for team, entry in TEAMS.items()
        for one in entry.get("budgets", ())
        for key in gateway._current.policy.account_keys(team, gateway._clock())
        if key.window == one["per"]
    }
    accounts = await gateway.ledger.accounts(budgets)
    shown = {
        heading: await column(seen, "platform", "Budgets", heading)
        for heading in ("Budget", "Spent", "Held", "Left")
    }
    used = await seen.ask("team_window:gateway_budget_used:ratio")
    for key, usd in budgets.items():
        where = labels(team=key.team, window=key.window)
        spent = accounts[key].spent.usd_micros / USD_MICROS
        held = accounts[key].held.usd_micros / USD_MICROS
        told = {heading: values[where] for heading, values in shown.items()}
        assert told == pytest.approx(
            {"Budget": usd, "Spent": spent, "Held": held, "Left": max(0, usd - spent - held)}
        )
        assert used[where] == pytest.approx((spent + held) / usd)
    assert any(account.held.usd_micros for account in accounts.values())


async def the_counts_are_right(town: Town, seen: Prometheus) -> None:
    verdicts = await seen.ask("sum by (verdict) (gateway_orders_total)")
    assert {dict(where)["verdict"]: count for where, count in verdicts.items()} == VERDICTS
    denials = await seen.ask("sum by (team, reason, mode) (gateway_denials_total) > 0")
    assert denials == {
        labels(team=team, reason=reason, mode=mode): count
        for (team, reason, mode), count in DENIALS.items()
    }
    callbacks = await seen.ask("gateway_callbacks_total")
    assert callbacks == {
        labels(outcome="delivered"): 2,
        labels(outcome="retried"): 2,
        labels(outcome="failed"): 2,
    }
    assert (await seen.ask('gateway_keep_failures_total{reason="dead"}'))[labels(reason="dead")] > 1
    pictures, size_bytes = await town.house.gateway.ledger.picture_totals()
    for title, number in {"Pictures kept": pictures, "Their size": size_bytes}.items():
        assert list((await column(seen, "platform", title, "")).values()) == [number]
    drift = await column(seen, "platform", "Credit drift", "")
    assert drift == {labels(upstream="evolink"): 0, labels(upstream="spare"): 0}
    routes = await column(seen, "operations", "Routes", "")
    assert routes[labels(upstream="evolink", route="evolink/gpt-image-1.5")] == 0
    assert routes[labels(upstream="spare", route="spare/gpt-image-1.5")] == 1


async def every_series_is_looked_at(town: Town) -> None:
    """Each metric of ours is in some panel or rule: what nobody looks at need not be counted."""
    answer = await town.house.client.get(
        "/metrics", headers={"Authorization": f"Bearer {METRICS_KEY}"}
    )
    ours = set(re.findall(r"^# TYPE (gateway_\w+)", answer.text, re.MULTILINE))
    texts = [asked.expr for asked in asked_by_panels()] + [rule["expr"] for rule in rules()]
    named = set(re.findall(r"\bgateway_\w+", " ".join(texts)))
    assert {
        one for one in ours if not named & {one, f"{one}_bucket", f"{one}_count", f"{one}_sum"}
    } == set()


async def the_rules_are_well_and_the_right_alerts_ring(seen: Prometheus) -> None:
    groups = (await seen.get("rules"))["groups"]
    told = [rule for group in groups for rule in group["rules"]]
    assert len(told) == len(rules())
    assert [(rule["name"], rule.get("lastError")) for rule in told if rule["health"] != "ok"] == []
    heard = (await seen.get("alerts"))["alerts"]
    ringing = {one["labels"]["alertname"] for one in heard}
    (base,) = read(DEPLOY / "prometheus/prometheus.yml")["global"]["external_labels"].values()
    assert {one["annotations"]["runbook_url"].partition("#")[0] for one in heard} == {base}
    assert {"UpstreamRouteDown", "UpstreamOutcomeUnknown", "BudgetExhausted"} <= ringing
    never = {name for name in alerts() if name.startswith(("Gateway", "Disk", "Ledger"))}
    allowed = {"GatewayErrors", "GatewayRunsFailing"}  # those were made to happen
    allowed |= {"GatewayOrdersSlow"}  # on a busy machine they are
    assert ringing & never <= allowed
