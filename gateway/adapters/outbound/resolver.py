"""Look-ups of names, on threads of their own: whose names are slow waits alone.

A look-up cannot be cancelled: a name server that says nothing holds its thread for half a
minute. So every kind of name has look-ups of its own, each team has a share of their threads,
and a name that failed or hangs is not asked for again at once. Threads are daemons that nobody
waits for, so neither a caller nor a stop is held up by them.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.core.addresses import Address, parse_address

MEMORY: Final = 10_000
"""Names whose failure is remembered; a name has at most 253 characters."""

Ask = Callable[[str], Sequence[Address]]
"""Name → its addresses in the order to try, however long it takes. Raises OSError for none."""


@dataclass(frozen=True, slots=True)
class ResolverBounds:
    """Of the look-ups of one kind of name; `share` and `line` are a team's.

    `seconds` is how long an answer is waited for; its thread may go on without anybody. A name
    without an answer is refused for `hung_seconds`, one with a bad answer for `failed_seconds`.
    """

    threads: int = 16
    share: int = 16
    line: int = 1_000
    seconds: float = 4.0  # less than the 5 s in which a connection must be there
    failed_seconds: float = 0.0
    hung_seconds: float = 0.0


OURS: Final = ResolverBounds()
"""Of names that the operator chose: asked for again at once when they fail."""

LINKS: Final = ResolverBounds(hung_seconds=30.0)
"""Of the hosts of result links, which upstream chose."""

CALLERS: Final = ResolverBounds(threads=64, share=8, line=64, failed_seconds=5.0, hung_seconds=60.0)
"""Of names that teams chose: eight teams must conspire before another one waits."""


def system(name: str) -> Sequence[Address]:
    """Asks the system's resolver."""
    answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(parse_address(str(sockaddr[0])) for *_, sockaddr in answers))


@dataclass(slots=True, eq=False)
class _Lookup:
    """One question of a team; all of the team's callers that have it wait for one answer."""

    team: str
    name: str
    answer: asyncio.Future[Sequence[Address] | OSError]
    waiting: int = 0
    overdue: asyncio.TimerHandle | None = field(default=None)  # set when a thread asks

    def settle(self, answer: Sequence[Address] | OSError) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Lookups:
    """A resolver (`gateway.ports.outbound.Resolver`) with bounds. For one event loop."""

    def __init__(
        self,
        bounds: ResolverBounds = OURS,
        *,
        ask: Ask = system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = bounds
        self._ask = ask
        self._clock = clock
        self._open: dict[tuple[str, str], _Lookup] = {}
        self._lines: dict[str, deque[_Lookup]] = {}  # by team; the next team to serve is first
        self._asking: Counter[str] = Counter()
        self._failures: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        """Raises OSError when there is no answer, TimeoutError when nobody could be asked."""
        with suppress(ValueError):
            return [parse_address(name)]
        self._check_memory(name)
        lookup = self._open.get((team, name)) or self._begin(team, name)
        lookup.waiting += 1
        try:
            answer = await asyncio.shield(lookup.answer)
        finally:
            lookup.waiting -= 1
            self._drop_if_useless(lookup)
        if isinstance(answer, OSError):
            raise type(answer)(str(answer))
        return answer

    # --- turns ---------------------------------------------------------------------------------

    def _begin(self, team: str, name: str) -> _Lookup:
        line = self._lines.get(team, ())
        if len(line) >= self._bounds.line:
            raise TimeoutError(f"{len(line)} look-ups of the same team wait already")
        lookup = _Lookup(team, name, asyncio.get_running_loop().create_future())
        self._open[team, name] = lookup
        self._lines.setdefault(team, deque()).append(lookup)
        self._fill()
        return lookup

    def _fill(self) -> None:
        """Gives every free thread to the teams in turn."""
        while self._asking.total() < self._bounds.threads:
            lookup = self._next()
            if lookup is None:
                return
            self._start(lookup)

    def _next(self) -> _Lookup | None:
        """The next look-up of the first team with a free thread, which goes to the end then."""
        for team in self._lines:
            if self._asking[team] < self._bounds.share:
                line = self._lines.pop(team)
                lookup = line.popleft()
                if line:
                    self._lines[team] = line
                return lookup
        return None

    def _drop_if_useless(self, lookup: _Lookup) -> None:
        """What nobody waits for any more leaves its line; a thread that asks is left to it."""
        line = self._lines.get(lookup.team, ())
        if lookup.waiting or lookup.overdue or lookup not in line:
            return
        self._lines[lookup.team].remove(lookup)
        if not self._lines[lookup.team]:
            del self._lines[lookup.team]
        self._close(lookup)

    # --- one look-up ---------------------------------------------------------------------------

    def _start(self, lookup: _Lookup) -> None:
        loop = asyncio.get_running_loop()
        self._asking[lookup.team] += 1
        lookup.overdue = loop.call_later(self._bounds.seconds, self._give_up, lookup)
        thread = threading.Thread(
            target=self._work, args=(loop, lookup), name="name look-up", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the machine gives no more threads
            self._end(lookup, TimeoutError(str(error)))

    def _work(self, loop: asyncio.AbstractEventLoop, lookup: _Lookup) -> None:
        answer: Sequence[Address] | OSError
        try:
            answer = self._ask(lookup.name)
        except Exception as error:  # UnicodeError among them; any of them is no answer
            answer = OSError(str(error))
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._end, lookup, answer)

    def _end(self, lookup: _Lookup, answer: Sequence[Address] | OSError) -> None:
        """A thread has an answer, maybe long after anybody waited for it."""
        self._asking[lookup.team] -= 1
        if not self._asking[lookup.team]:
            del self._asking[lookup.team]
        if lookup.overdue is not None:
            lookup.overdue.cancel()
        if not isinstance(answer, OSError):
            self._failures.pop(lookup.name, None)
        elif not isinstance(answer, TimeoutError):
            self._remember(lookup.name, str(answer), self._bounds.failed_seconds)
        lookup.settle(answer)
        self._close(lookup)
        self._fill()

    def _give_up(self, lookup: _Lookup) -> None:
        """The thread keeps its place among the team's until it comes back."""
        why = f"no answer within {self._bounds.seconds:g} s"
        self._remember(lookup.name, why, self._bounds.hung_seconds)
        lookup.settle(OSError(why))
        self._close(lookup)

    def _close(self, lookup: _Lookup) -> None:
        if self._open.get((lookup.team, lookup.name)) is lookup:
            del self._open[lookup.team, lookup.name]

    # --- the memory ----------------------------------------------------------------------------

    def _check_memory(self, name: str) -> None:
        why, until = self._failures.get(name, ("", 0.0))
        if self._clock() < until:
            raise OSError(f"{why} a moment ago")

    def _remember(self, name: str, why: str, seconds: float) -> None:
        """A later look-up's failure never shortens what is remembered."""
        if not seconds:
            return
        until = max(self._clock() + seconds, self._failures.get(name, ("", 0.0))[1])
        self._failures[name] = (why, until)
        self._failures.move_to_end(name)
        if len(self._failures) > MEMORY:
            self._failures.popitem(last=False)
