"""The lists of the ledger in memory: filtered, newest first, going on where a page ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from gateway.adapters.ledger.memory_sums import add
from gateway.core.model import Delivery, KeptPicture, Run, Usage, Verdict
from gateway.core.runs.history import Refusal
from gateway.core.teams.records import Change
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Mark,
    RefusalFilter,
    RunFilter,
    UsagePart,
)

T = TypeVar("T")


def page(found: Iterable[T], mark: Callable[[T], Mark], after: Mark | None, limit: int) -> list[T]:
    """The newest `limit` of them; `mark` tells a record's time and id."""
    behind = [one for one in found if after is None or mark(one) < after]
    return sorted(behind, key=mark, reverse=True)[:limit]


def of_run(run: Run) -> Mark:
    return run.created_at, run.id


def of_delivery(one: Delivery) -> Mark:
    return one.created_at, one.id


def of_refusal(one: Refusal) -> Mark:
    return one.at, one.id


def of_change(one: Change) -> Mark:
    return one.at, one.id


def of_picture(one: KeptPicture) -> Mark:
    return one.created_at, one.key


def fits_run(asked: RunFilter, run: Run, verdicts: frozenset[Verdict]) -> bool:
    return (
        asked.team in (None, run.team)
        and asked.model in (None, run.model)
        and (not asked.states or run.state in asked.states)
        and asked.route in (None, (run.upstream, run.upstream_model))
        and (asked.verdict is None or asked.verdict in verdicts)
        and _within(run.created_at, asked.since, asked.until)
    )


def fits_delivery(asked: DeliveryFilter, one: Delivery) -> bool:
    return (
        asked.team in (None, one.team)
        and asked.job_id in (None, one.job_id)
        and asked.state in (None, one.state)
    )


def fits_refusal(asked: RefusalFilter, one: Refusal) -> bool:
    return (
        asked.team in (None, one.team)
        and asked.verdict in (None, one.verdict)
        and asked.reason in (None, one.reason)
        and _within(one.at, asked.since, asked.until)
    )


def fits_change(asked: ChangeFilter, one: Change) -> bool:
    return (
        (asked.subject in (None, one.subject) or one.subject.startswith(f"{asked.subject}/"))
        and asked.action in (None, one.action)
        and asked.actor in (None, one.actor)
    )


def summed(found: Iterable[Usage], by: Iterable[UsagePart]) -> list[Usage]:
    """By day, team and model as far as they are asked for, in that order."""
    parts = frozenset(by)
    sums: dict[tuple[int, str, str], Usage] = {}
    for one in found:
        day = one.day if UsagePart.DAY in parts else 0
        team = one.team if UsagePart.TEAM in parts else ""
        model = one.model if UsagePart.MODEL in parts else ""
        key = (day, team, model)
        sums[key] = add(sums.get(key, Usage(team, model, day)), one)
    return [sums[key] for key in sorted(sums)]


def _within(at: float, since: float | None, until: float | None) -> bool:
    return (since is None or since <= at) and (until is None or at < until)
