"""A client that sends requests as quickly as they are answered: `python -m benchmarks.load`.

It is a process of its own that reads a plan from each line of its input and writes what came of
it to a line of its output. A request is bytes that were made before; `MARK` in them is replaced
by a number that no request had before. Of an answer it reads the status, the length and where it
ends, no more: so it outruns what it measures. Whatever is not the expected status, or does not
come, is told as a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import resource
import sys
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from gateway import serving

MARK: Final = "@@@@@@@@@@@@"
"""Twelve characters, so that the length of a body stays the same."""
BUFFER_BYTES: Final = 1024 * 1024
SMALLEST_BYTES: Final = 16 * 1024
LATE_SECONDS: Final = 60.0
AT_ONCE: Final = 200
PAUSE_SECONDS: Final = 0.2
"""Between so many new connections: more than the kernel holds for a server to accept (2,048 here)
would wait for its next try, many seconds."""
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length: "
TOLD_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent: to whom, by how many connections, for how long.

    With `at_most` each connection sends no more than its share of so many requests.
    """

    host: str
    port: int
    connections: int
    seconds: float
    request: str
    status: int = 200
    first_number: int = 0
    at_most: int | None = None


@dataclass(slots=True)
class Outcome:
    """What came of a plan. `failed` is the first failure, in words; empty when there was none."""

    requests: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    busy: float = 0.0
    failures: int = 0
    failed: str = ""
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def fail(self, why: str) -> None:
        self.failures += 1
        self.failed = self.failed or why

    def told(self) -> Mapping[str, Any]:
        """As JSON, without each request's own time."""
        ordered = sorted(self.latencies)
        self.requests = len(ordered)
        self.p50_ms, self.p99_ms = quantile(ordered, 0.5), quantile(ordered, 0.99)
        self.latencies = array("d")
        return {name: value for name, value in asdict(self).items() if name != "latencies"}


def quantile(ordered: list[float], share: float) -> float:
    """In milliseconds; 0 of nothing."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


class Connection(asyncio.BufferedProtocol):
    """One connection, which sends its next request when the last one is answered."""

    def __init__(self, requests: Iterator[bytes], plan: Plan, outcome: Outcome) -> None:
        self._requests = requests
        self._status = str(plan.status).encode()
        self._outcome = outcome
        # Of a crowd each gets little: ten thousand large ones would be gigabytes.
        self._buffer = bytearray(max(BUFFER_BYTES // plan.connections, SMALLEST_BYTES))
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._missing = 0  # bytes of a body whose head was read
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def send(self) -> None:
        """The next request; or the end, when there is none."""
        request = next(self._requests, None)
        if request is None or self._transport is None:
            self.leave()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._missing:
            self._body(nbytes)
            return
        self._filled += nbytes
        end = self._buffer.find(HEAD_END, 0, self._filled)
        if end < 0:
            if self._filled == len(self._buffer):
                self.leave("a head without an end")
            return
        body = self._filled - end - len(HEAD_END)
        if self._buffer[9:12] != self._status:
            self._outcome.fail(bytes(self._buffer[: min(self._filled, TOLD_BYTES)]).decode("latin"))
        self._filled = 0
        self._missing = _length(self._buffer, end)
        self._body(body)

    def _body(self, came: int) -> None:
        self._missing -= came
        if self._missing < 0:
            self.leave("more came than was announced")
        elif not self._missing:
            self._outcome.latencies.append(time.perf_counter() - self._sent_at)
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave("the connection was closed before an answer")

    def leave(self, why: str = "") -> None:
        """Ends it; with a reason it is a failure, unless it had ended before."""
        if not self.ended.done():
            self.ended.set_result(None)
            if why:
                self._outcome.fail(why)
        if self._transport is not None:
            self._transport.abort()


def _length(buffer: bytearray, end: int) -> int:
    """Of the body; without a length there is none."""
    at = buffer.find(LENGTH, 0, end)
    if at < 0:  # some servers write it in capitals
        at = buffer[:end].lower().find(LENGTH)
    if at < 0:
        return 0
    at += len(LENGTH)
    stop = buffer.find(b"\r", at, end)
    return int(buffer[at : end if stop < 0 else stop])


class Requests:
    """The requests of all connections, until the time is over or there were enough."""

    def __init__(self, plan: Plan) -> None:
        self._before, self._between = _parts(plan.request)
        self._numbers = itertools.count(plan.first_number)
        self._last = None if plan.at_most is None else plan.first_number + plan.at_most
        self.until = float("inf")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if time.perf_counter() > self.until:
            raise StopIteration
        number = next(self._numbers)
        if self._last is not None and number >= self._last:
            raise StopIteration
        if not self._between:
            return self._before
        return (b"%012d" % number).join((self._before, *self._between))


def _parts(request: str) -> tuple[bytes, tuple[bytes, ...]]:
    first, *others = request.encode("utf-8").split(MARK.encode())
    return first, tuple(others)


async def run(plan: Plan) -> Outcome:
    """What is under way at the end is waited for, and counts."""
    outcome, requests = Outcome(), Requests(plan)
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    for number in range(1, plan.connections + 1):
        if number % AT_ONCE == 0:
            await asyncio.sleep(PAUSE_SECONDS)
        _, one = await loop.create_connection(
            lambda: Connection(requests, plan, outcome), plan.host, plan.port
        )
        made.append(one)
    began, used = time.perf_counter(), _processor_seconds()
    requests.until = began + plan.seconds
    for one in made:
        one.send()
    ends = [one.ended for one in made]
    _, late = await asyncio.wait(ends, timeout=plan.seconds + LATE_SECONDS)
    outcome.seconds = time.perf_counter() - began
    outcome.busy = (_processor_seconds() - used) / outcome.seconds
    if late:
        outcome.fail(f"{len(late)} requests were not answered")
    for one in made:
        one.leave()
    return outcome


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main() -> None:
    """Until its input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # a collection in a window would be told as the server's slowness
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            outcome = await run(Plan(**json.loads(line)))
        except OSError as error:
            outcome = Outcome(failures=1, failed=f"no connection: {error}")
        print(json.dumps(outcome.told()), flush=True)
        gc.collect()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serving.run(main())
