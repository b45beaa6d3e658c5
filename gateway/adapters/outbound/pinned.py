"""Calls to addresses that others chose: result links, callbacks, references.

`PinnedTransport` resolves a name once, asks `core.addresses` about every answer and dials
exactly an address that was judged, so a name cannot change its mind in between. Through a proxy
it judges what it can, and the proxy decides the rest. No credential of ours ever passes here but
a proxy's own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2 as httpx

from gateway import __version__
from gateway.adapters.outbound.egress import NamedTransport
from gateway.adapters.outbound.judging import Judge
from gateway.adapters.outbound.resolver import Lookups
from gateway.core.addresses import Address
from gateway.core.proxies import DIRECT, Proxies
from gateway.ports.outbound import Resolver

USER_AGENT: Final = f"image-gateway/{__version__}"

_MAX_DIALS: Final = 4  # addresses tried for one name; each may cost a whole connect time-out


@dataclass(frozen=True, slots=True)
class Way:
    """What lies between a client and the world; `max_connections` calls at once, more wait."""

    proxies: Proxies = DIRECT
    max_connections: int = 100
    connect_seconds: float = 5.0


STRAIGHT: Final = Way()


class PinnedTransport(httpx.AsyncBaseTransport):
    """Dials only addresses that were judged, whatever a name resolves to a moment later.

    The certificate is checked against the name. No connection is kept for a second request:
    the pool knows addresses only, and two names behind one address must not share a connection.
    The extension `team` of a request says whose it is.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        verify: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        way: Way = STRAIGHT,
    ) -> None:
        """Without a `resolver` it has look-ups of its own."""
        self._judge = Judge(
            Lookups() if resolver is None else resolver, allow_private=allow_private
        )
        self._proxies = way.proxies
        self._tls = httpx.create_ssl_context() if verify is None else verify
        self._limits = httpx.Limits(
            max_connections=way.max_connections, max_keepalive_connections=0
        )
        self._inner = httpx.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, limits=self._limits
        )
        self._behind: dict[str, NamedTransport] = {}  # by the proxy's URL

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefused, or httpx's own errors."""
        name = request.url.raw_host.decode("ascii").removesuffix(".")
        proxy = self._proxies.for_url(str(request.url))
        if proxy is not None:
            await self._judge_from_afar(name, request)
            return await self._through(proxy).handle_async_request(request)
        failure: httpx.TransportError | None = None
        for address in await self._judged(name, request):
            try:
                return await self._inner.handle_async_request(_pinned(request, name, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error  # nothing of the request was sent, so the next one may get it
        raise failure or httpx.ConnectError(f"{name} has no address", request=request)

    async def _judge_from_afar(self, name: str, request: httpx.Request) -> None:
        """A name that leads inside from here is refused. One that is unknown here is the proxy's
        to judge, but not one that had no turn to be asked for: that would be a way around."""
        with suppress(httpx.ConnectError):
            await self._judged(name, request)

    def _through(self, proxy: str) -> NamedTransport:
        if proxy not in self._behind:
            self._behind[proxy] = NamedTransport(
                Lookups(), tls=self._tls, limits=self._limits, proxy=proxy
            )
        return self._behind[proxy]

    async def _judged(self, name: str, request: httpx.Request) -> Sequence[Address]:
        seconds = request.extensions.get("timeout", {}).get("connect")
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        team = str(request.extensions.get("team", ""))
        try:
            async with asyncio.timeout(seconds):
                return (await self._judge(name, port, team=team))[:_MAX_DIALS]
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{name} did not resolve in time") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"{name} does not resolve: {error}") from error

    async def aclose(self) -> None:
        for transport in (self._inner, *self._behind.values()):
            await transport.aclose()


def _pinned(request: httpx.Request, name: str, address: Address) -> httpx.Request:
    """The same request to one address; `Host` and the certificate check keep the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": name},
    )


def pinned_client(
    *,
    timeout: httpx.Timeout,
    allow_private: bool = False,
    verify: ssl.SSLContext | None = None,
    resolver: Resolver | None = None,
    way: Way = STRAIGHT,
) -> httpx.AsyncClient:
    """A client for the life of the process: no cookies, no redirects of its own, no proxies but
    those of its `way`."""
    return httpx.AsyncClient(
        transport=PinnedTransport(
            allow_private=allow_private, verify=verify, resolver=resolver, way=way
        ),
        timeout=timeout,
        headers={"User-Agent": USER_AGENT, "Connection": "close"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )
