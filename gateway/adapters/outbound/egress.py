"""How a connection to a named host is made: its name looked up by ours, or through a proxy.

An event loop's own look-ups share a few threads with everybody, so none is left to it. Nothing
here judges an address: that is for calls to addresses which others chose.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx2 as httpx

from gateway.adapters.outbound.dialing import first_through
from gateway.ports.outbound import Resolver


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
        self._closing: set[asyncio.Future[None]] = set()

    async def connect_tcp(self, host: str, port: int, **more: Any) -> Any:
        """A stream to the first address that answers. Raises httpx's ConnectError or
        ConnectTimeout, or what the backend within raises."""
        try:
            async with asyncio.timeout(more.get("timeout")):
                return await first_through(
                    list(await self._resolver(host, port)),
                    lambda address: self._inner.connect_tcp(str(address), port, **more),
                    self._close,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{host} was not reached in time") from error
        except OSError as error:
            raise httpx.ConnectError(f"{host} does not resolve: {error}") from error

    def _close(self, stream: Any) -> None:
        closing = asyncio.ensure_future(stream.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
