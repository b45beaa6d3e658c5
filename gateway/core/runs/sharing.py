"""Which run of a fingerprint others are answered from, when a newer one takes an older's place.

`no-cache` starts a run while an identical one is under way, and only one of them can be joined:
the newer. The older goes on, and what it brings is paid as well; so it takes the place back where
the newer one brings nothing, and answers later orders where no newer one has.
"""

from __future__ import annotations

from gateway.core.copies import replace
from gateway.core.model import Run, RunState
from gateway.core.transaction import View


def give_way(live: Run) -> Run:
    """The run under way, when a newer one is joined in its place."""
    return replace(live, shared=False, superseded=True)


def settle(before: Run, after: Run, view: View) -> tuple[Run, Run | None]:
    """The run as its event leaves it, and a run that takes its place back by it.

    The view must have what is there of the fingerprint.
    """
    if before.is_final and not after.is_final:
        return taken_up(after, view), None
    if before.is_final or not after.is_final:
        return after, None
    if after.superseded and after.state is RunState.DONE and _is_newest(after, view.finished):
        return _taken_back(after), None
    if after.shared and after.state is RunState.FAILED and view.superseded is not None:
        return after, _taken_back(view.superseded)
    return after, None


def taken_up(run: Run, view: View) -> Run:
    """A run that had failed and goes on: where others can join another one by now, they do."""
    if view.live is not None and view.live.id != run.id:
        return replace(run, shared=False)
    return run


def _is_newest(run: Run, finished: Run | None) -> bool:
    return finished is None or finished.created_at < run.created_at


def _taken_back(run: Run) -> Run:
    return replace(run, shared=True, superseded=False)
