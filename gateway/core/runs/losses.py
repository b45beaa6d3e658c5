"""When keeping is given up: how often its links were dead, for how long, and by which bytes.

A link that upstream has taken back may come again, so it is dead by count and by time. What
passes (a line that breaks, a disk that is full) is waited out for as long as the links live.
"""

from __future__ import annotations

from typing import Final

from gateway.core.copies import replace
from gateway.core.model import Run, Trouble
from gateway.core.runs.events import KeepFailed, Loss
from gateway.core.runs.steps import keep_until

DEAD_LINK_TRIES: Final = 8
"""Links are lost when they said so this often in a row (fresh ones are fetched between)."""

UNDECODABLE_TRIES: Final = 3
"""Bytes that begin like a picture and came the same so often will not decode the next time."""

LINKS_DYING: Final = "its links are about to die"

_REASONS: Final = {
    Loss.GONE: "its links lead to no whole picture",
    Loss.REFUSED: "its links were refused here, as they break the gateway's rules for addresses",
    Loss.FOREIGN: "its links lead to something that is no picture",
    Loss.UNDECODABLE: "what came does not decode as a whole picture",
    Loss.TOO_LARGE: "its pictures have more bytes than the gateway takes",
}
_KEPT_ASIDE: Final = "; the gateway's operator can fetch the bytes"


def is_dead(trouble: Trouble | None, event: KeepFailed) -> bool:
    """Whether this counts as dead links: also a body that is no picture, unless it changes."""
    if event.loss not in (Loss.FOREIGN, Loss.UNDECODABLE) or trouble is None:
        return event.dead
    return event.dead and (not trouble.body or is_alike(trouble, event))


def is_alike(trouble: Trouble | None, event: KeepFailed) -> bool:
    """Whether the same bytes came as the time before."""
    return trouble is not None and bool(event.body) and trouble.body == event.body


def noted(trouble: Trouble | None, event: KeepFailed, now: float) -> Trouble | None:
    """What is remembered after this failure."""
    if not event.dead:
        return None
    if trouble is None or not is_dead(trouble, event):
        return Trouble(now, event.body, 1)
    times = trouble.times + 1 if is_alike(trouble, event) else 1
    return replace(trouble, body=event.body, times=times)


def why_lost(
    run: Run,
    event: KeepFailed,
    now: float,
    *,
    dead_after_seconds: float,
    link_life_seconds: float,
) -> str | None:
    """Why the run's pictures are given up, as whoever ordered reads it; None: they are not yet.

    `run` is as it is after this failure: its tries and its trouble count it.
    """
    trouble = run.trouble
    if event.dead and trouble is not None:
        is_hopeless = event.loss is Loss.UNDECODABLE and trouble.times >= UNDECODABLE_TRIES
        is_over = run.tries >= DEAD_LINK_TRIES and now >= trouble.since + dead_after_seconds
        if is_hopeless or is_over:
            return told(event)
    is_late = now >= keep_until(run, link_life_seconds)
    return _told(LINKS_DYING, event) if is_late else None


def told(event: KeepFailed) -> str:
    return _told(_REASONS[event.loss], event)


def _told(reason: str, event: KeepFailed) -> str:
    return reason + _KEPT_ASIDE if event.set_aside else reason
