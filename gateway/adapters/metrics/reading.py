"""What the ledger knows, as metrics: money, budgets, runs, pictures.

Nothing is counted here. A reading is taken at scrape time and shown as it is; teams and models
of the settings that it does not name are shown with 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from gateway.adapters.metrics.exposition import family, gauge
from gateway.core.catalog import Team
from gateway.core.instants import NEVER
from gateway.core.model import RunState, Usage, Verdict
from gateway.core.money.accounts import USD_MICROS, Account, AccountKey, Measure, Window
from gateway.core.money.budgets import account_keys, resets_at
from gateway.core.policy import Policy
from gateway.ports.ledger import Reports

Value = tuple[float, tuple[str, ...]]
"""A value and its label values."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the ledger said at one moment, and the settings that were in force then."""

    policy: Policy
    at: float
    usage: Sequence[Usage]
    accounts: Mapping[AccountKey, Account]
    runs: Mapping[RunState, int]
    oldest_unkept: float | None
    pictures: tuple[int, int]


async def read_ledger(ledger: Reports, policy: Policy, now: float) -> Reading:
    """Takes a reading; raises what the ledger raises."""
    times = _times(now, policy)
    keys = [
        replace(times[window], team=team.name)
        for team in policy.teams.values()
        for window in _budgets(team)
    ]
    return Reading(
        policy,
        now,
        usage=await ledger.usage(),
        accounts=await ledger.accounts(keys),
        runs=await ledger.run_counts(),
        oldest_unkept=await ledger.oldest_unkept(),
        pictures=await ledger.picture_totals(),
    )


def families_of(reading: Reading) -> Iterator[Iterable[str]]:
    """The reading as metrics, each by its lines."""
    yield from _usage_families(reading)
    yield from _budget_families(reading)
    yield _runs(reading)
    since = reading.at if reading.oldest_unkept is None else reading.oldest_unkept
    yield gauge(
        "gateway_oldest_unkept_seconds",
        "How long the pictures of a finished run have waited to be kept, at most.",
        max(0.0, reading.at - since),
    )
    count, size_bytes = reading.pictures
    yield gauge("gateway_pictures", "Pictures kept.", count)
    yield gauge("gateway_picture_bytes", "Size of the kept pictures.", size_bytes)


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


def _usage_families(reading: Reading) -> Iterator[Iterable[str]]:
    """Teams and models that the settings no longer name stay: the money was spent."""
    named = product(reading.policy.teams, reading.policy.catalog.models)
    rows = {pair: Usage(*pair, 0) for pair in named}
    rows.update({(row.team, row.model): row for row in reading.usage})
    yield family(
        "gateway_spend_usd_total",
        "counter",
        "Money spent upstream.",
        labels=("team", "model"),
        values=((row.spent_usd_micros / USD_MICROS, pair) for pair, row in rows.items()),
    )
    yield family(
        "gateway_saved_usd_total",
        "counter",
        "What requests answered from the cache or by a running one did not cost.",
        labels=("team", "model", "how"),
        values=(value for pair, row in rows.items() for value in _saved(pair, row)),
    )
    yield family(
        "gateway_images_total",
        "counter",
        "Pictures delivered.",
        labels=("team", "model", "source"),
        values=(value for pair, row in rows.items() for value in _images(pair, row)),
    )


def _saved(pair: tuple[str, str], row: Usage) -> Iterator[Value]:
    yield row.saved_hit_usd_micros / USD_MICROS, (*pair, Verdict.HIT)
    yield row.saved_joined_usd_micros / USD_MICROS, (*pair, Verdict.JOINED)


def _images(pair: tuple[str, str], row: Usage) -> Iterator[Value]:
    yield row.images_generated, (*pair, "generated")
    yield row.images_cache, (*pair, "cache")


def _budget_families(reading: Reading) -> Iterator[Iterable[str]]:
    """A budget in total never renews, so it has no time of that."""
    times = _times(reading.at, reading.policy)
    ends = {window: resets_at(window, reading.at, reading.policy.zone) for window in Window}
    budgets = [
        ((team.name, window), limit, reading.accounts[replace(times[window], team=team.name)])
        for team in reading.policy.teams.values()
        for window, limit in _budgets(team).items()
    ]
    gauges = partial(family, kind="gauge", labels=("team", "window"))
    yield gauges(
        "gateway_budget_usd",
        text="The team's budget.",
        values=((limit / USD_MICROS, at) for at, limit, _ in budgets),
    )
    yield gauges(
        "gateway_budget_spent_usd",
        text="Spent in the current window.",
        values=((one.spent.usd_micros / USD_MICROS, at) for at, _, one in budgets),
    )
    yield gauges(
        "gateway_budget_held_usd",
        text="Reserved for runs under way.",
        values=((one.held.usd_micros / USD_MICROS, at) for at, _, one in budgets),
    )
    yield gauges(
        "gateway_budget_resets_timestamp_seconds",
        text="When the next window begins.",
        values=((ends[at[1]], at) for at, _, _ in budgets if ends[at[1]] != NEVER),
    )


def _runs(reading: Reading) -> Iterable[str]:
    return family(
        "gateway_runs",
        "gauge",
        "Runs in each state.",
        labels=("state",),
        values=((reading.runs.get(state, 0), (state,)) for state in RunState),
    )
