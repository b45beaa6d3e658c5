"""A sandbox on a real socket, inside the event loop of whoever wants one."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from gateway.sandbox.app import build_sandbox
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.state import SandboxState
from gateway.serving import InProcessServer


@dataclass(frozen=True)
class Running:
    """A simulated vendor that accepts connections at `base_url`."""

    base_url: str
    server: InProcessServer

    async def refuse_connections(self) -> None:
        """Closes the socket: connections are refused, as when the host is gone."""
        await self.server.refuse_connections()

    async def accept_connections(self) -> None:
        """Opens the same port again."""
        await self.server.accept_connections()


@dataclass(frozen=True)
class RunningSandbox(Running):
    """A sandbox that accepts connections at `base_url`; `state` inspects and steers it."""

    state: SandboxState


@contextlib.asynccontextmanager
async def running_sandbox(
    options: SandboxOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] = time.time,
    grace_seconds: float = 1.0,
) -> AsyncIterator[RunningSandbox]:
    """Serves a sandbox for the length of the block; `port=0` takes a free one.

    Leaving the block waits `grace_seconds` for answers under way and cuts the rest. Raises OSError
    when the address cannot be bound.
    """
    app = build_sandbox(options or SandboxOptions(), clock=clock)
    state: SandboxState = app.state.sandbox
    async with served(app, host, port, grace_seconds) as server:
        if state.public_url is None:
            state.public_url = server.base_url
        yield RunningSandbox(server.base_url, server, state)


@contextlib.asynccontextmanager
async def served(
    app: ASGIApp, host: str, port: int, grace_seconds: float
) -> AsyncIterator[InProcessServer]:
    """`app` on a socket for the length of the block. Raises OSError."""
    server = InProcessServer(app, host=host, port=port)
    async with server.running(grace_seconds):
        yield server
