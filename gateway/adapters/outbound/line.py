"""The way to a vendor over aiohttp, whose parser is C: orders and polls are most of our calls.

A call on a fresh connection takes 220 µs of a processor so, and 770 with httpx2, one on a kept
connection 105 and 550; a transport beneath httpx2's requests and answers would give half of it
away again (docs/decisions/099). Files go up over `egress`, and links of others over `pinned`.
"""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from yarl import URL

from gateway.adapters.outbound.sessions import Proxy, opened, said
from gateway.ports.calls import Call, CallAnswer, CallBroken, LineBounds
from gateway.ports.outbound import Resolver
from gateway.ports.upstream import Sure, nothing_asked

ALWAYS: Final = {"Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}
"""What every request has beside its own."""


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
        self._resolver = resolver
        self._tls = tls
        self._bounds = bounds
        self._proxy = None if proxy is None else Proxy(proxy)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        session = self._session or self._opened()
        departure = _Departure(sure)
        options: dict[str, Any] = {"headers": call.headers}
        if self._proxy is not None:
            options = self._proxy.options(call.url, call.headers)
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
            raise CallBroken(said(error), left=departure.left) from error

    def _opened(self) -> aiohttp.ClientSession:
        """Made when the loop runs."""
        leaving = aiohttp.TraceConfig()
        leaving.on_request_headers_sent.append(_leaves)
        self._session = opened(
            self._resolver, self._bounds, tls=self._tls, headers=ALWAYS, trace_configs=[leaving]
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


async def _whole(content: aiohttp.StreamReader, max_bytes: int) -> bytes | None:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)
