"""A simulated OpenAI on a real socket, inside the event loop of whoever wants one."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from gateway.sandbox.openai.app import build_openai
from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.state import OpenAIState
from gateway.sandbox.running import Running, served


@dataclass(frozen=True)
class RunningOpenAI(Running):
    """A simulator that accepts connections at `base_url`; `state` inspects and steers it."""

    state: OpenAIState

    @property
    def api_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"{self.base_url}/v1"


@contextlib.asynccontextmanager
async def running_openai(
    options: OpenAIOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] = time.time,
    grace_seconds: float = 1.0,
) -> AsyncIterator[RunningOpenAI]:
    """Serves a simulated OpenAI for the length of the block; `port=0` takes a free one.

    Leaving the block waits `grace_seconds` for answers under way, cuts the rest and gives up what
    is not done. Raises OSError when the address cannot be bound.
    """
    app = build_openai(options or OpenAIOptions(), clock=clock)
    state: OpenAIState = app.state.sandbox
    async with served(app, host, port, grace_seconds) as server:
        if state.public_url is None:
            state.public_url = server.base_url
        yield RunningOpenAI(server.base_url, server, state)
