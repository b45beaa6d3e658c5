"""Gateways as processes of their own, started and stopped by the tests."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

GATEWAY = (sys.executable, "-m", "gateway")


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
