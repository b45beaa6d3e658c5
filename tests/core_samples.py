"""Records for the core's tests, and the smallest ledger that can be: dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import count
from typing import Any, Final

from hypothesis import HealthCheck, settings

from gateway.config import Settings, convert
from gateway.core.catalog import Catalog, ImageModel, Limits, PriceRule, Route, Team
from gateway.core.model import Freshness, Job, Kept, Order, Picture, Run, RunState, Usage
from gateway.core.money.accounts import NOTHING, Account, AccountKey, Amounts
from gateway.core.money.booking import book
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.orders.admission import Decision, admit
from gateway.core.orders.ask import Ask
from gateway.core.orders.fingerprint import fingerprint
from gateway.core.orders.validation import read_order
from gateway.core.policy import Policy
from gateway.core.runs.events import Event
from gateway.core.runs.lifecycle import Rules, advance
from gateway.core.runs.sharing import settle
from gateway.core.transaction import Keys, View, Writes
from gateway.wiring.kinds import KINDS

STEADY: Final = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""The same examples every time, however busy the machine is."""

NOW: Final = 1_767_312_000.0 + 37.5
"""Friday, 2026-01-02 00:00:37.5 UTC."""

PRICE: Final = 13_000
TTL: Final = 3600.0

MODEL: Final = ImageModel(
    "gpt-image-1.5",
    routes=(
        Route("evolink", "gpt-image-1.5-beta", (PriceRule(PRICE),)),
        Route(
            "evolink",
            "gpt-image-1.5",
            (
                PriceRule(12_000, (("quality", "low"),)),
                PriceRule(60_000, (("quality", "medium"),)),
                PriceRule(360_000),
            ),
        ),
    ),
    limits=Limits(
        prompt_characters=200,
        max_n=4,
        max_image_urls=3,
        sizes=frozenset({"1:1", "2:3"}),
        qualities=frozenset({"low", "medium", "high"}),
    ),
    deadline_seconds=900.0,
)
CATALOG: Final = Catalog({MODEL.name: MODEL}, {"gpt-image-1.5-lite": MODEL.name})

_numbers = count(1)


def a_policy(**fields: Any) -> Policy:
    """What the default settings come to, with other fields where they are given."""
    return replace(convert.policy(Settings(), port=8080, kinds=KINDS), **fields)


def some_rules(**fields: Any) -> Rules:
    return replace(a_policy().other_rules, **fields)


def an_order(**fields: Any) -> Order:
    return read_order({"model": MODEL.name, "prompt": "a red bicycle", **fields}, CATALOG)


def an_ask(
    *, order: Order | None = None, team: Team | None = None, now: float = NOW, **fields: Any
) -> Ask:
    number = next(_numbers)
    order, team = order or an_order(), team or Team("alpha")
    ask = Ask(
        order=order,
        team=team,
        model=MODEL,
        fingerprint=fingerprint(order, team, MODEL),
        freshness=Freshness(),
        ttl_seconds=TTL,
        windows=windows_at(now, UTC),
        zone=UTC,
        now=now,
        job_id=f"task-unified-{int(now)}-{number:08}",
        run_id=f"run_{number:032x}",
        lease_owner="here",
        lease_until=now + 180,
    )
    return replace(ask, **fields)


def a_run(now: float = NOW, **fields: Any) -> Run:
    n = fields.get("n", 1)
    base = Run(
        id=f"run_{next(_numbers):032x}",
        fingerprint="f" * 64,
        team="alpha",
        model=MODEL.name,
        quality="low",
        n=n,
        request='{"prompt":"a red bicycle"}',
        upstream="evolink",
        upstream_model="gpt-image-1.5-beta",
        price_usd_micros=PRICE,
        windows=windows_at(now, UTC),
        hold=Amounts(PRICE * n, n, 1),
        created_at=now,
        deadline_at=now + 900.0,
        due_at=now,
        lease_owner="here",
        lease_until=now + 180,
    )
    return replace(base, **fields)


def kept(link: str) -> Kept:
    digest = f"{abs(hash_of(link)):064x}"
    return Kept(link, Picture(digest, "png", 1000, 16, 16))


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return int.from_bytes(text.encode()[-24:], "big")


@dataclass
class Books:
    """A ledger of dictionaries that keeps what admission and booking write."""

    runs: dict[str, Run] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    usage: list[Usage] = field(default_factory=list)

    def view(self, keys: Keys) -> View:
        every = [run for run in self.runs.values() if run.fingerprint == keys.fingerprint]
        same = [run for run in every if run.shared]
        done = [run for run in same if run.state is RunState.DONE]
        lost = [run for run in same if run.is_paid_in_vain]
        behind = [run for run in every if run.superseded and not run.is_final]
        return View(
            accounts={key: self.accounts.get(key) or Account(key) for key in keys.accounts},
            live=next((run for run in same if not run.is_final), None),
            finished=max(done, key=lambda run: (run.finished_at, run.id), default=None),
            run=self.runs.get(keys.run_id or ""),
            lost=max(lost, key=lambda run: (run.finished_at, run.id), default=None),
            superseded=max(behind, key=lambda run: (run.created_at, run.id), default=None),
        )

    def admit(self, ask: Ask) -> tuple[Decision, Writes]:
        decision, writes = admit(ask, self.view(ask.keys()))
        self.apply(writes)
        return decision, writes

    def happen(self, run_id: str, event: Event, now: float, rules: Rules) -> Run:
        before = self.runs[run_id]
        after = advance(before, event, now, rules)
        view = self.view(Keys(keys_of(before), fingerprint=before.fingerprint, run_id=run_id))
        after, back = settle(before, after, view)
        self.apply(book(before, after, view.accounts))
        if back is not None:
            self.apply(Writes(runs=(back,)))
        return after

    def apply(self, writes: Writes) -> None:
        self.runs.update((run.id, run) for run in writes.runs)
        self.jobs.update((job.id, job) for job in writes.jobs)
        self.accounts.update((account.key, account) for account in writes.accounts)
        self.usage.extend(writes.usage)

    def live(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.is_final]

    def sums(self) -> Mapping[AccountKey, Account]:
        """What the accounts must be: the sums over the runs."""
        sums: dict[AccountKey, Account] = {}
        for run in self.runs.values():
            for key in keys_of(run):
                old = sums.get(key, Account(key))
                sums[key] = Account(key, old.spent + run.spent, old.held + run.hold)
        return sums


def zeros(run: Run) -> dict[AccountKey, Account]:
    return {key: Account(key, NOTHING, NOTHING) for key in keys_of(run)}


def keys_of(run: Run) -> tuple[AccountKey, ...]:
    """The accounts that the run counts in, as long as the zone is UTC."""
    return account_keys(run.team, run.created_at, UTC)
