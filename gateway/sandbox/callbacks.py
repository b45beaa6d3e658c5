"""Delivers callbacks as the real service does: after the task ends, with timeout and retries.

https and public addresses only, unless the options allow more. No redirect is followed and no
credential is sent.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import orjson

from gateway.sandbox.addresses import AddressError, is_internal_literal, outbound_request
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.state import SandboxState, SeenCallback
from gateway.sandbox.task import Task

# Deliveries at the same time; the rest wait for their turn.
_MAX_CONCURRENT = 32


class CallbackError(ValueError):
    """A callback_url that the service does not call; the message says why."""


def check_callback_url(url: str, options: SandboxOptions) -> None:
    """Refuses by form: scheme, missing host, internal address literal. Raises CallbackError."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise CallbackError("callback_url is not a URL") from error
    if not host:
        raise CallbackError("callback_url is not a URL")
    if options.allow_private_addresses and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https":
        raise CallbackError("callback_url must be https")
    if is_internal_literal(host):
        raise CallbackError("callback_url must not point to an internal address")


class Callbacks:
    """Owns the deliveries of one sandbox; `close` ends them."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._options = state.options
        self._client: httpx.AsyncClient | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_MAX_CONCURRENT)

    def plan(self, task: Task, body: Callable[[], dict[str, Any]]) -> None:
        """Arranges the call for the moment that `task` ends; `body` is asked for it then."""
        if task.wish.callback_url is None or task.ready_at is None:
            return
        delay = max(0.0, task.ready_at - self._state.clock())
        loop = asyncio.get_running_loop()
        self._timers[task.id] = loop.call_later(delay, self._start, task, body)

    async def close(self) -> None:
        """Cancels what is planned or under way."""
        for timer in self._timers.values():
            timer.cancel()
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _start(self, task: Task, body: Callable[[], dict[str, Any]]) -> None:
        self._timers.pop(task.id, None)
        delivery = asyncio.get_running_loop().create_task(self._deliver(task, body))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, task: Task, body: Callable[[], dict[str, Any]]) -> None:
        url = task.wish.callback_url or ""
        content = orjson.dumps(body(), option=orjson.OPT_SORT_KEYS)
        for attempt, pause in enumerate((0.0, *self._options.callback_retry_seconds), start=1):
            await asyncio.sleep(pause)
            async with self._turn:
                status = await self._post(url, content)
            seen = SeenCallback(task.id, url, attempt, status, self._state.clock())
            self._state.callbacks.append(seen)
            if status is not None and 200 <= status < 300:
                return

    async def _post(self, url: str, content: bytes) -> int | None:
        """One attempt: the receiver's status, or None when there was no answer."""
        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False)
        allow_private = self._options.allow_private_addresses
        try:
            async with asyncio.timeout(self._options.callback_timeout_seconds):
                request = await outbound_request(
                    self._client, "POST", url, content=content, allow_private=allow_private
                )
                answer = await self._client.send(request, stream=True)
                await answer.aclose()
                return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, AddressError):
            return None
