"""How a run goes on that its route did not take or did not make: on another route, or after a wait.

For the lifecycle only, whose table says when.
"""

from __future__ import annotations

from gateway.core.copies import replace
from gateway.core.model import Run, RunState
from gateway.core.runs import schedule
from gateway.core.runs.routing import Alternative
from gateway.core.runs.rules import Rules


def elsewhere(run: Run, now: float, rules: Rules) -> Run | None:
    """The run on another route, or waiting for one; None where none can be hoped for."""
    if now >= run.deadline_at:
        return None
    if rules.outlook.go:
        return submit_on(run, rules.outlook.go, now)
    if rules.outlook.waits:
        return wait(_anew(run), None, now, rules)
    return None


def without_route(run: Run) -> Run:
    """The run, which its present route has failed: it is not asked again."""
    return replace(run, tried=(*run.tried, run.route))


def submit_on(run: Run, route: Alternative, now: float) -> Run:
    """The intention to submit on that route, with its price held instead of the former one."""
    return replace(
        _anew(run),
        state=RunState.SUBMITTING,
        upstream=route.upstream,
        upstream_model=route.upstream_model,
        price_usd_micros=route.price_usd_micros,
        besides_usd_micros=route.besides_usd_micros,
        hold=route.hold(run),
        attempts=run.attempts + 1,
        due_at=now,
    )


def _anew(run: Run) -> Run:
    """Without what a failed task left: its successor begins again at 0 %."""
    return replace(run, upstream_task_id=None, accepted_at=None, task="{}")


def wait(run: Run, retry_after_seconds: float | None, now: float, rules: Rules) -> Run:
    """Refused once more: it waits for a route, and longer each time."""
    if not rules.outlook.waits:
        return queue(later(run, retry_after_seconds, now, rules), now)
    after = later(run, None, now, rules)
    return queue(replace(after, due_at=max(after.due_at, turn(run, now, rules))), now)


def turn(run: Run, now: float, rules: Rules) -> float:
    """When the first route may be asked that is worth waiting for, spread over all who wait."""
    soonest = now + rules.retry_first_seconds
    return schedule.spread(max(rules.outlook.comes_up_at or now, soonest), now, seed=run.id)


def queue(run: Run, now: float) -> Run:
    """Waiting until it is due, and not beyond its deadline; nobody is at work on it."""
    due_at = min(run.due_at, max(run.deadline_at, now))
    return replace(run, state=RunState.QUEUED, accepted_at=None, due_at=due_at)


def later(run: Run, retry_after_seconds: float | None, now: float, rules: Rules) -> Run:
    tries = run.tries + 1
    delay = schedule.backoff(
        tries,
        first_seconds=rules.retry_first_seconds,
        max_seconds=rules.retry_max_seconds,
        seed=run.id,
        retry_after_seconds=retry_after_seconds,
    )
    return replace(run, tries=tries, due_at=now + delay)
