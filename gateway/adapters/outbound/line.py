"""The way to a vendor: orders and polls are most of our calls.

A call on a fresh connection takes 115 µs of a processor, where aiohttp takes 285, and one on a kept
connection 46, where it takes 148 (docs/decisions/104). Files go up over `egress`, and callbacks
over `pinned`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gateway.adapters.outbound.packed import unpacked
from gateway.adapters.outbound.places import Place, Proxy, Road
from gateway.adapters.outbound.wire import Broken, Wire
from gateway.core.addresses import Address
from gateway.ports.calls import Call, CallAnswer, CallBroken, LineBounds
from gateway.ports.outbound import Resolver
from gateway.ports.upstream import Sure, nothing_asked

ALWAYS: Final = {"Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}
"""What every request has beside its own."""

_Host = tuple[str, str, int]


@dataclass(slots=True)
class _Going:
    """A call on its way. `left`: its request may have begun to leave, which decides what a failure
    means."""

    call: Call
    sure: Sure
    place: Place
    request: bytes
    left: bool = False


class HttpLine:
    """See gateway.ports.calls.VendorLine. Where a kept connection was hung up, a GET is tried once
    more, which does no harm; nothing else is.

    Through a `proxy`, whose URL may hold credentials, only its own name is looked up by `resolver`:
    the target's goes to the proxy.
    """

    def __init__(
        self,
        resolver: Resolver,
        bounds: LineBounds,
        *,
        tls: ssl.SSLContext,
        proxy: str | None = None,
    ) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._resolver = resolver
        self._bounds = bounds
        self._road = Road(tls, bounds.connect_seconds, None if proxy is None else Proxy.of(proxy))
        self._free = asyncio.Semaphore(bounds.max_connections)
        self._kept: dict[_Host, list[tuple[Wire, float]]] = {}
        self._tidying: asyncio.TimerHandle | None = None
        self._open: set[Wire] = set()
        self._is_closed = False

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        going = self._begun(call, sure)
        try:
            async with asyncio.timeout(call.seconds), self._free:
                return await self._asked(going)
        except (Broken, TimeoutError) as error:
            said = str(error) if isinstance(error, Broken) else "TimeoutError"
            raise CallBroken(said, left=going.left) from error

    async def aclose(self) -> None:
        """Hangs up, also on who waits for an answer; nothing is sent any more."""
        self._is_closed = True
        if self._tidying is not None:
            self._tidying.cancel()
        kept = [connection for some in self._kept.values() for connection, _ in some]
        for connection in (*kept, *self._open):
            connection.hang_up()
        self._kept.clear()

    def _begun(self, call: Call, sure: Sure) -> _Going:
        try:
            place = Place.of(call.url)
            request = self._road.request(call.method, place, {**call.headers, **ALWAYS}, call.body)
        except ValueError as error:
            raise CallBroken(f"no request: {type(error).__name__}", left=False) from error
        return _Going(call, sure, place, request)

    async def _asked(self, going: _Going) -> CallAnswer:
        kept = self._take(going.place)
        if kept is not None:
            try:
                return await self._exchanged(kept, going)
            except Broken:
                if going.call.method != "GET" or kept.has_answered:
                    raise
        return await self._exchanged(await self._road.connection(going.place, self._look_up), going)

    async def _exchanged(self, connection: Wire, going: _Going) -> CallAnswer:
        most = going.call.max_bytes
        self._open.add(connection)
        try:
            await going.sure()
            if self._is_closed:
                raise Broken("it is closed")
            if not connection.is_open:
                raise Broken("it hung up")
            if connection.has_spoken:  # as a balancer that has no room: what it says is no answer
                raise Broken("it spoke before it was asked")
            going.left = True
            await connection.send(going.request)
            headers = await connection.head()
            body = await _whole(connection, most)
        except BaseException:
            connection.hang_up()
            raise
        finally:
            self._open.discard(connection)
        if body is None:
            connection.hang_up()
        elif self._may_keep(connection):
            self._keep(going.place, connection)
        else:
            connection.close()
        if body:
            body = unpacked(body, headers.words("content-encoding"), most)
        return CallAnswer(connection.status, headers, body)

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        """Addresses need none."""
        try:
            return [ip_address(host)]
        except ValueError:
            return await self._resolver(host, port)

    # --- those that are kept ---------------------------------------------------------------------

    def _take(self, place: Place) -> Wire | None:
        """One that serves again: it is open, and nothing came over it meanwhile."""
        kept = self._kept.get((place.scheme, place.host, place.port), [])
        now = asyncio.get_running_loop().time()
        while kept:
            connection, until = kept.pop()
            if connection.may_serve_again and now < until:
                return connection
            connection.close()
        return None

    def _may_keep(self, connection: Wire) -> bool:
        is_to_be = self._bounds.kept_seconds is not None and not self._is_closed
        return is_to_be and connection.may_serve_again

    def _keep(self, place: Place, connection: Wire) -> None:
        loop, seconds = asyncio.get_running_loop(), self._bounds.kept_seconds or 0.0
        kept = self._kept.setdefault((place.scheme, place.host, place.port), [])
        kept.append((connection, loop.time() + seconds))
        if self._tidying is None:
            self._tidying = loop.call_later(seconds, self._tidy)

    def _tidy(self) -> None:
        """Those whose time is over, or that have ended; the others have their turn."""
        loop = asyncio.get_running_loop()
        self._tidying, now, last = None, loop.time(), 0.0
        for host, kept in [*self._kept.items()]:
            good = [one for one in kept if one[0].may_serve_again and now < one[1]]
            for connection, _ in [one for one in kept if one not in good]:
                connection.close()
            if good:
                self._kept[host], last = good, max(last, good[-1][1])
            else:
                del self._kept[host]
        if self._kept:
            self._tidying = loop.call_at(last, self._tidy)


async def _whole(connection: Wire, max_bytes: int) -> bytes | None:
    """None where it is larger."""
    body = bytearray()
    while more := await connection.chunk():
        body += more
        if len(body) > max_bytes:
            return None
    return bytes(body)
