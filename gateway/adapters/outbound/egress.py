"""How a connection to a named host is made: its name looked up by ours, or through a proxy.

An event loop's own look-ups share a few threads with everybody, so none is left to it. Nothing
here judges an address: that is for calls to addresses which others chose.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import httpx2 as httpx

from gateway.core.addresses import Address
from gateway.ports.outbound import Resolver

HEAD_START_SECONDS: Final = 0.25
"""What each address gets before the next is tried beside it (RFC 8305)."""

MAX_DIALS: Final = 4


class NamedTransport(httpx.AsyncHTTPTransport):
    """httpx2's transport, with `resolver` for its look-ups; `proxy` may hold credentials.

    Through a proxy only the proxy's own name is looked up: the target's goes to the proxy.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        tls: ssl.SSLContext,
        limits: httpx.Limits,
        proxy: str | None = None,
    ) -> None:
        super().__init__(verify=tls, trust_env=False, limits=limits, proxy=_proxy(proxy, tls))
        # There is no public way to hand a backend through; `tests/outbound` would notice.
        pool: Any = self._pool
        pool._network_backend = _Dialer(resolver, pool._network_backend)


def _proxy(url: str | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    if url is None:
        return None
    return httpx.Proxy(url, ssl_context=tls if url.startswith("https://") else None)


class _Dialer:
    """A network backend that looks names up itself and gives addresses to the one within."""

    def __init__(self, resolver: Resolver, inner: Any) -> None:
        self._resolver = resolver
        self._inner = inner

    async def connect_tcp(self, host: str, port: int, **more: Any) -> Any:
        """A stream to the first address that answers. Raises httpx's ConnectError or
        ConnectTimeout, or what the backend within raises."""
        try:
            async with asyncio.timeout(more.get("timeout")):
                addresses = list(await self._resolver(host, port))[:MAX_DIALS]
                return await self._first(addresses, port, more)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{host} was not reached in time") from error
        except OSError as error:
            raise httpx.ConnectError(f"{host} does not resolve: {error}") from error

    async def _first(self, addresses: Sequence[Address], port: int, more: dict[str, Any]) -> Any:
        """Dials one after the other, each with a head start, until one of them is through."""
        dials: list[asyncio.Task[Any]] = []
        chosen: asyncio.Task[Any] | None = None
        try:
            for address in addresses:
                dial = self._inner.connect_tcp(str(address), port, **more)
                dials.append(asyncio.create_task(dial))
                await _wait(dials, HEAD_START_SECONDS)
                if (chosen := _through(dials)) is not None:
                    return chosen.result()
            while not all(dial.done() for dial in dials):
                await _wait(dials, None)
                if (chosen := _through(dials)) is not None:
                    return chosen.result()
        finally:
            await _let_go([dial for dial in dials if dial is not chosen])
        raise (dials[-1].exception() if dials else None) or OSError("no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _wait(dials: Sequence[asyncio.Task[Any]], seconds: float | None) -> None:
    """Until one more of them has ended."""
    under_way = [dial for dial in dials if not dial.done()]
    if under_way:
        await asyncio.wait(under_way, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _through(dials: Sequence[asyncio.Task[Any]]) -> asyncio.Task[Any] | None:
    ended = (dial for dial in dials if dial.done() and not dial.cancelled())
    return next((dial for dial in ended if dial.exception() is None), None)


async def _let_go(dials: Sequence[asyncio.Task[Any]]) -> None:
    """Ends the dials that came second; one that got through all the same is closed."""
    for dial in dials:
        dial.cancel()
    for outcome in await asyncio.gather(*dials, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            with suppress(Exception):
                await outcome.aclose()
