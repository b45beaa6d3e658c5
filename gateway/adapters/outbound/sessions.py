"""Sessions of aiohttp as all our calls over it have them: our look-ups, our proxies, no cookies, no
redirects, HTTP/1.1 alone, and nothing in a request but what it was given.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gateway.adapters.outbound.egress import HEAD_START_SECONDS, MAX_DIALS
from gateway.adapters.outbound.heads import MAX_HEAD_BYTES, Heads
from gateway.ports.calls import LineBounds
from gateway.ports.outbound import Resolver

MAX_HEADER_BYTES: Final = 65_536
"""Of one line of an answer's head."""

MakeSocket = Callable[[tuple[Any, ...]], socket.socket]
"""Makes the socket for what is about to be dialled, as `getaddrinfo` tells it."""

_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def opened(
    resolver: Resolver,
    bounds: LineBounds,
    *,
    tls: ssl.SSLContext,
    make_socket: MakeSocket | None = None,
    **more: Any,
) -> aiohttp.ClientSession:
    """A session of the running loop, with `more` of what aiohttp's has. To what its requests are
    given aiohttp adds but `Host` and the length of the body."""
    tls.set_alpn_protocols(["http/1.1"])
    kept_seconds = bounds.kept_seconds
    kept: dict[str, Any] = (
        {"force_close": True} if kept_seconds is None else {"keepalive_timeout": kept_seconds}
    )
    connector = _Connections(
        resolver=_Names(resolver, bounds.connect_seconds),
        use_dns_cache=False,
        ssl=tls,
        limit=bounds.max_connections,
        happy_eyeballs_delay=HEAD_START_SECONDS,
        socket_factory=make_socket,
        **kept,
    )
    return aiohttp.ClientSession(
        connector=connector,
        skip_auto_headers=_NOT_ADDED,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=bounds.connect_seconds, sock_read=bounds.stall_seconds
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEAD_BYTES,  # as many as it has room for
        **more,
    )


class _Connections(aiohttp.TCPConnector):
    """One that is kept serves again only if nothing came over it meanwhile: that would be read as
    the answer to the next request. Aiohttp looks when a connection is given back, not when it is
    taken, and has no public way to ask; nor has it one to say what reads a connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Callable[..., ResponseHandler] = Heads
        self._factory = partial(made, loop=self._loop)

    async def _get(self, key: Any, traces: Any) -> Any:
        for kept, _ in self._conns.get(key, ()):
            if kept.should_close:
                kept.close()  # what is closed is passed over
        return await super()._get(key, traces)


class _Names(AbstractResolver):
    """Our look-ups, as aiohttp asks for them; addresses need none."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        async with asyncio.timeout(self._seconds):
            addresses = list(await self._resolver(host, port))[:MAX_DIALS]
        if not addresses:
            raise OSError("no address")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """The look-ups are shared."""


class Proxy:
    """A proxy, and what a call has to say to it: before a tunnel, or else with the request."""

    def __init__(self, url: str) -> None:
        """The `url` may hold credentials."""
        whole = URL(url)
        self._url = whole.with_user(None)
        self._credentials = {}
        if whole.user is not None:
            basic = aiohttp.encode_basic_auth(whole.user, whole.password or "")
            self._credentials = {"Proxy-Authorization": basic}

    def options(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Of a request for `url` with these headers."""
        if url.startswith("https://"):
            return {
                "proxy": self._url,
                "proxy_headers": self._credentials,
                "headers": headers,
            }
        return {"proxy": self._url, "headers": {**headers, **self._credentials}}


def said(error: Exception) -> str:
    """Its kind, and what a proxy, TLS or the system said: other messages may hold whole links."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{kind} ({error.status} {error.message})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{kind} ({error.os_error})"
    return kind
