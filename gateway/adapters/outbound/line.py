"""The way to a vendor over aiohttp, whose parser is C: orders and polls are most of our calls.

A call on a fresh connection takes 220 µs of a processor so, and 770 with httpx2, one on a kept
connection 105 and 550; a transport beneath httpx2's requests and answers would give half of it
away again (docs/decisions/099). Files go up over `egress`, and links of others over `pinned`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.adapters.outbound.egress import HEAD_START_SECONDS, MAX_DIALS
from gateway.ports.calls import Call, CallAnswer, CallBroken, LineBounds
from gateway.ports.outbound import Resolver
from gateway.ports.upstream import Sure, nothing_asked

MAX_HEADER_BYTES: Final = 65_536
"""Of one line of an answer's head."""

MAX_HEADERS: Final = 256

ALWAYS: Final = {"Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}
"""What every request has; aiohttp adds but `Host` and the length of the body."""

_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpLine:
    """See gateway.ports.calls.VendorLine. Where a kept connection was hung up, a GET is tried once
    more, which does no harm; nothing else is.

    Only HTTP/1.1 is spoken. Through a `proxy`, whose URL may hold credentials, only its own name is
    looked up by `resolver`: the target's goes to the proxy.
    """

    def __init__(
        self,
        resolver: Resolver,
        bounds: LineBounds,
        *,
        tls: ssl.SSLContext,
        proxy: str | None = None,
    ) -> None:
        self._names = _Names(resolver, bounds.connect_seconds)
        self._tls = tls
        self._bounds = bounds
        self._proxy = None if proxy is None else _Proxy(URL(proxy))
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        session = self._session or self._opened()
        departure = _Departure(sure)
        options: dict[str, Any] = {"headers": call.headers}
        if self._proxy is not None:
            options |= self._proxy.options(call)
        try:
            async with (
                asyncio.timeout(call.seconds),
                session.request(
                    call.method,
                    URL(call.url, encoded=True),
                    data=call.body or None,
                    allow_redirects=False,
                    trace_request_ctx=departure,
                    **options,
                ) as answer,
            ):
                body = await _whole(answer.content, call.max_bytes)
                return CallAnswer(answer.status, answer.headers, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallBroken(_said(error), left=departure.left) from error

    def _opened(self) -> aiohttp.ClientSession:
        """Made when the loop runs."""
        self._tls.set_alpn_protocols(["http/1.1"])
        leaving = aiohttp.TraceConfig()
        leaving.on_request_headers_sent.append(_leaves)
        kept_seconds = self._bounds.kept_seconds
        kept = (
            {"force_close": True} if kept_seconds is None else {"keepalive_timeout": kept_seconds}
        )
        connector = aiohttp.TCPConnector(
            resolver=self._names,
            use_dns_cache=False,
            ssl=self._tls,
            limit=self._bounds.max_connections,
            happy_eyeballs_delay=HEAD_START_SECONDS,
            **kept,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=ALWAYS,
            skip_auto_headers=_NOT_ADDED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._bounds.connect_seconds),
            trace_configs=[leaving],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Departure:
    """Whether a request may have begun to leave, which decides what its failure means."""

    def __init__(self, sure: Sure) -> None:
        self.sure = sure
        self.left = False


async def _leaves(_: object, context: SimpleNamespace, __: object) -> None:
    """Aiohttp awaits this when the connection is there and nothing was written to it, and ends the
    call if it raises. What a proxy is asked first is not traced: it carries no order."""
    departure: _Departure = context.trace_request_ctx
    await departure.sure()
    departure.left = True


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


class _Proxy:
    """A proxy, and what a call has to say to it: before a tunnel, or else with the request."""

    def __init__(self, url: URL) -> None:
        self._url = url.with_user(None)
        self._credentials = {}
        if url.user is not None:
            basic = aiohttp.encode_basic_auth(url.user, url.password or "")
            self._credentials = {"Proxy-Authorization": basic}

    def options(self, call: Call) -> dict[str, Any]:
        if call.url.startswith("https://"):
            return {"proxy": self._url, "proxy_headers": self._credentials}
        return {"proxy": self._url, "headers": {**call.headers, **self._credentials}}


async def _whole(content: aiohttp.StreamReader, max_bytes: int) -> bytes | None:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)


def _said(error: Exception) -> str:
    """Its kind, and what a proxy said: messages of others may name addresses."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{kind} ({error.status} {error.message})"
    return kind
