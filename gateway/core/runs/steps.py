"""What the driver has to do with a run now: a question to the run and the clock, and no change.

The rule: whatever is to be done outside comes from here, and what comes of it goes to the
lifecycle as an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.kinds import LINK_LIFE_SECONDS, SPOOL_LIFE_SECONDS
from gateway.core.links import SPOOL
from gateway.core.model import Run, RunState
from gateway.core.runs.events import DeadlinePassed, Event, Retry

KEEP_MARGIN_SECONDS: Final = 1800.0
"""Keeping is given up this long before the links die: by then every retry was had."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Send the run's request upstream, once."""


@dataclass(frozen=True, slots=True)
class Recover:
    """Find out what is known here of a submit that was cut off by the end of its process."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask upstream after the task."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Bring the pictures into our store; `refresh`: ask for fresh links first."""

    refresh: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """Nothing to do outside: this event has come by itself."""

    event: Event


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do now; `until` is None for a run that is final."""

    until: float | None


Step = Submit | Recover | Poll | Keep | Feed | Rest


def next_step(
    run: Run, now: float, *, intended: bool, link_life_seconds: float = LINK_LIFE_SECONDS
) -> Step:
    """What the driver has to do with a run it has leased.

    `link_life_seconds` is that of its upstream's kind. `intended` says that this driver itself
    wrote the intention to submit a moment ago. A run found `submitting` by anyone else was left by
    a process that died: nobody can know whether its request went out. For the same reason an
    intention just written is carried out even if the clock was set back since.
    """
    if run.is_final:
        return Rest(None)
    if run.state is RunState.SUBMITTING and intended:
        return Submit()
    if run.due_at > now:
        return Rest(run.due_at)
    match run.state:
        case RunState.SUBMITTING:
            return Recover()
        case RunState.QUEUED:
            return Feed(DeadlinePassed() if now >= run.deadline_at else Retry())
        case RunState.RUNNING:
            failed = run.tries > 0  # the last poll
            hopeless = failed and now >= _watch_until(run, link_life_seconds)
            return Feed(DeadlinePassed()) if hopeless else Poll()
        case RunState.KEEPING:
            # However late it is, it is tried: the gateway may have been stopped meanwhile.
            stale = run.tries > 0 or not run.links or now >= keep_until(run, link_life_seconds)
            return Keep(refresh=stale and run.upstream_task_id is not None)
        case RunState.UNSURE if now < run.deadline_at:
            return Submit()
        case _:
            return Feed(DeadlinePassed())


def _watch_until(run: Run, link_life_seconds: float) -> float:
    """A paid task that cannot be asked after is not given up at the deadline but only when
    its links must be dead: upstream may come back and have the pictures."""
    began = run.created_at if run.accepted_at is None else run.accepted_at
    return max(run.deadline_at, began + link_life_seconds)


def keep_until(run: Run, link_life_seconds: float) -> float:
    """The time from which a failure to keep its pictures is the last one."""
    finished = run.upstream_finished_at or run.created_at
    life = SPOOL_LIFE_SECONDS if lies_here(run) else link_life_seconds
    return finished + life - KEEP_MARGIN_SECONDS


def lies_here(run: Run) -> bool:
    """Whether what is not kept yet lies, some of it, in a spool of ours, whatever became of its
    upstream."""
    kept = {one.link for one in run.kept}
    return any(link.startswith(SPOOL) for link in run.links if link not in kept)
