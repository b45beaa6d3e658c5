"""What the ledger knows, as metrics: money, budgets, runs, pictures.

Nothing is counted here. A reading is taken at scrape time and shown as it is; teams and models
of the settings that it does not name are shown with 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gateway.core.catalog import Team
from gateway.core.instants import NEVER
from gateway.core.model import RunState, Usage, Verdict
from gateway.core.money.accounts import USD_MICROS, Account, AccountKey, Measure, Window
from gateway.core.money.budgets import account_keys, resets_at
from gateway.core.policy import Policy
from gateway.ports.ledger import Reports


@dataclass(frozen=True, slots=True)
class Reading:
    """What the ledger said at one moment, and the settings that were in force then."""

    policy: Policy
    at: float
    usage: Sequence[Usage]
    accounts: Mapping[AccountKey, Account]
    runs: Mapping[RunState, int]
    over_hold: Mapping[str, int]
    oldest_unkept: float | None
    pictures: tuple[int, int]


async def read_ledger(ledger: Reports, policy: Policy, now: float) -> Reading:
    """Takes a reading; raises what the ledger raises."""
    times = _times(now, policy)
    keys = [
        times[window]._replace(team=team.name)
        for team in policy.teams.values()
        for window in _budgets(team)
    ]
    return Reading(
        policy,
        now,
        usage=await ledger.usage(),
        accounts=await ledger.accounts(keys),
        runs=await ledger.run_counts(),
        over_hold=await ledger.over_hold(),
        oldest_unkept=await ledger.oldest_unkept(),
        pictures=await ledger.picture_totals(),
    )


def families_of(reading: Reading) -> Iterator[Metric]:
    """The reading as metrics."""
    yield from _usage_families(reading)
    yield from _budget_families(reading)
    yield _over_hold_family(reading)
    runs = GaugeMetricFamily("gateway_runs", "Runs in each state.", labels=("state",))
    for state in RunState:
        runs.add_metric((state,), reading.runs.get(state, 0))
    yield runs
    since = reading.at if reading.oldest_unkept is None else reading.oldest_unkept
    yield GaugeMetricFamily(
        "gateway_oldest_unkept_seconds",
        "How long the pictures of a finished run have waited to be kept, at most.",
        max(0.0, reading.at - since),
    )
    count, size_bytes = reading.pictures
    yield GaugeMetricFamily("gateway_pictures", "Pictures kept.", count)
    yield GaugeMetricFamily("gateway_picture_bytes", "Size of the kept pictures.", size_bytes)


def _times(now: float, policy: Policy) -> Mapping[Window, AccountKey]:
    """The key of nobody's account in each window: looked up once, and not for every team."""
    return {key.window: key for key in account_keys("", now, policy.zone)}


def _budgets(team: Team) -> dict[Window, int]:
    """The money cap of each window that has one, in micro-dollars; of several, the tightest."""
    caps: dict[Window, int] = {}
    for cap in team.caps:
        if cap.measure is Measure.USD:
            caps[cap.window] = min(cap.limit, caps.get(cap.window, cap.limit))
    return caps


def _usage_families(reading: Reading) -> Iterator[Metric]:
    """Teams and models that the settings no longer name stay: the money was spent."""
    spent = CounterMetricFamily(
        "gateway_spend_usd_total", "Money spent upstream.", labels=("team", "model")
    )
    saved = CounterMetricFamily(
        "gateway_saved_usd_total",
        "What requests answered from the cache or by a running one did not cost.",
        labels=("team", "model", "how"),
    )
    images = CounterMetricFamily(
        "gateway_images_total", "Pictures delivered.", labels=("team", "model", "source")
    )
    named = product(reading.policy.teams, reading.policy.catalog.models)
    rows = {pair: Usage(*pair, 0) for pair in named}
    rows.update({(row.team, row.model): row for row in reading.usage})
    for pair, row in rows.items():
        spent.add_metric(pair, row.spent_usd_micros / USD_MICROS)
        saved.add_metric((*pair, Verdict.HIT), row.saved_hit_usd_micros / USD_MICROS)
        saved.add_metric((*pair, Verdict.JOINED), row.saved_joined_usd_micros / USD_MICROS)
        images.add_metric((*pair, "generated"), row.images_generated)
        images.add_metric((*pair, "cache"), row.images_cache)
    yield from (spent, saved, images)


def _over_hold_family(reading: Reading) -> Metric:
    """Upstreams that the settings no longer name stay here too."""
    over = CounterMetricFamily(
        "gateway_bill_over_hold_usd_total",
        "What upstream's bills were more than was held for their runs.",
        labels=("upstream",),
    )
    routes = (r for model in reading.policy.catalog.models.values() for r in model.routes)
    sums = {**dict.fromkeys((route.upstream for route in routes), 0), **reading.over_hold}
    for upstream, usd_micros in sums.items():
        over.add_metric((upstream,), usd_micros / USD_MICROS)
    return over


def _budget_families(reading: Reading) -> Iterator[Metric]:
    """A budget in total never renews, so it has no time of that."""
    at = ("team", "window")
    limits = GaugeMetricFamily("gateway_budget_usd", "The team's budget.", labels=at)
    spent = GaugeMetricFamily("gateway_budget_spent_usd", "Spent in the current window.", labels=at)
    held = GaugeMetricFamily("gateway_budget_held_usd", "Reserved for runs under way.", labels=at)
    renews = GaugeMetricFamily(
        "gateway_budget_resets_timestamp_seconds", "When the next window begins.", labels=at
    )
    times = _times(reading.at, reading.policy)
    ends = {window: resets_at(window, reading.at, reading.policy.zone) for window in Window}
    for team in reading.policy.teams.values():
        for window, limit in _budgets(team).items():
            account = reading.accounts[times[window]._replace(team=team.name)]
            limits.add_metric((team.name, window), limit / USD_MICROS)
            spent.add_metric((team.name, window), account.spent.usd_micros / USD_MICROS)
            held.add_metric((team.name, window), account.held.usd_micros / USD_MICROS)
            if ends[window] != NEVER:
                renews.add_metric((team.name, window), ends[window])
    yield from (limits, spent, held, renews)
