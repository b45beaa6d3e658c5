"""The story of a second try: an operator has a run tried again that was paid and lost.

Nothing is ordered and nothing held: what upstream made is asked for once more. A run that only
waits is tried at once instead of when its time comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.core.model import Run, RunState
from gateway.core.runs.redaction import is_erased
from gateway.core.teams.changes import Act
from gateway.errors import CallerError, NotFound
from gateway.ports.ledger import TaskReads

TryAgain = Callable[[Run, Act], Awaitable[Run | None]]
"""Has the run tried again, with the record of who wanted it; None: there is nothing to try."""

_WHY_NOT: Final = {
    RunState.DONE: "All its pictures are kept.",
    RunState.RUNNING: "Upstream is at work on it, and it is asked after without being told.",
    RunState.SUBMITTING: "Its request has been sent, and the answer is awaited.",
    RunState.UNSURE: "Nobody knows whether upstream took it, and it must not be paid twice.",
    RunState.FAILED: "Upstream has no pictures of it that could be fetched. Order it anew.",
}


class RunNotRetriable(CallerError):
    """There is nothing to try: the message says why."""

    status, code = 409, "run_not_retriable"


class Retrying:
    def __init__(self, ledger: TaskReads, try_again: TryAgain) -> None:
        self._ledger = ledger
        self._try_again = try_again

    async def retry(self, asked: str, act: Act) -> Run:
        """The run as it is then; `asked` is its id, or that of a task of it.

        Raises `NotFound`, `RunNotRetriable` or `Unavailable`.
        """
        run = await self._ledger.run(asked)
        if run is None:
            found = await self._ledger.job(asked)
            if found is None:
                raise NotFound("There is no run and no task with this id.", param="id")
            run = found.run
        after = await self._try_again(run, act)
        if after is None:
            now = await self._ledger.run(run.id) or run
            why = _WHY_NOT.get(now.state, "It has changed meanwhile; look at it again.")
            if is_erased(now):
                why = "It was erased, and what was erased does not come back."
            raise RunNotRetriable(f"This run cannot be tried again. {why}", param="id")
        return after
