"""Gateways as processes of their own, started and stopped by the tests."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

GATEWAY = (sys.executable, "-m", "gateway")

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["gateway.config", "gateway.serving", "gateway.wiring"])

Ready = Callable[[], None]
"""What a gateway in a process of its own calls when it answers."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def process(*command: str, cwd: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has printed its ready line; killed at the end if it still runs."""
    with (cwd / "process.log").open("ab") as errors:
        one = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=cwd
        )
    try:
        assert one.stdout is not None
        while b"ready" not in (line := await one.stdout.readline()):
            assert line, (cwd / "process.log").read_text()
        yield one
    finally:
        if one.returncode is None:
            one.send_signal(signal.SIGKILL)
        await one.wait()


@contextlib.asynccontextmanager
async def forked(
    main: Callable[..., Coroutine[Any, Any, None]], *words: object, cwd: Path
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, int | None]]]:
    """Runs `main(ready, *words)` in a process that has imported the gateway before, and is ready.

    Gives what waits for its end, at most 20 seconds, and tells its exit code; killed at the end.
    """
    here, there = FORKS.Pipe(duplex=False)
    one = FORKS.Process(target=_run, args=(there, cwd, dict(os.environ), main, words))
    await asyncio.to_thread(one.start)
    there.close()

    async def ended() -> int | None:
        await asyncio.to_thread(one.join, 20)
        return one.exitcode

    try:
        try:
            await asyncio.to_thread(here.recv)
        except EOFError:
            raise AssertionError((cwd / "process.log").read_text()) from None
        yield ended
    finally:
        here.close()
        one.kill()
        await asyncio.to_thread(one.join)
        one.close()


def _run(
    ready: Connection,
    cwd: Path,
    environment: Mapping[str, str],
    main: Callable[..., Coroutine[Any, Any, None]],
    words: Any,
) -> None:
    """In today's environment: what it was forked from has that of its own start."""
    os.environ.update(environment)
    os.chdir(cwd)
    log = os.open("process.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for standard in (1, 2):
        os.dup2(log, standard)
    asyncio.run(main(lambda: ready.send(None), *words))
