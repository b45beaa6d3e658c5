"""What is behind a link of others: one GET, and its body while it arrives.

What is dialled is judged: every answer of a look-up, and an address that stands in the link itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.adapters.outbound.judging import Judge
from gateway.adapters.outbound.pinned import USER_AGENT, Way
from gateway.adapters.outbound.places import LookUp, Place, Proxy, Road
from gateway.adapters.outbound.resolver import Lookups
from gateway.adapters.outbound.wire import Broken, Wire
from gateway.core.addresses import Address
from gateway.ports.calls import CallBroken

HEADERS: Final = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": USER_AGENT,
}


class LinkAnswer:
    """An answer whose body is still to be read; `close` it, which hangs up what has not ended."""

    def __init__(
        self, connection: Wire, headers: Mapping[str, str], free: asyncio.Semaphore
    ) -> None:
        self._connection = connection
        self._free: asyncio.Semaphore | None = free
        self.status = connection.status
        self.headers = headers

    async def chunk(self, by: float) -> bytes:
        """The next bytes, as they were sent; none at the end. Raises `CallBroken` where there will
        be no more, once all that came has been read, and `TimeoutError` where there was to be more
        `by` the loop's time."""
        connection = self._connection
        try:
            if not connection.is_at_its_end and asyncio.get_running_loop().time() > by:
                raise TimeoutError
            if connection.is_prompt:
                return await connection.chunk()
            async with asyncio.timeout_at(by):
                return await connection.chunk()
        except Broken as error:
            raise CallBroken(str(error), left=True) from error

    def close(self) -> None:
        free, self._free = self._free, None
        if free is not None:
            self._connection.hang_up()
            free.release()


class LinkLine:
    """The way to the hosts of links, straight or through the proxies of `way`.

    Each link has a connection of its own: on one that is kept, what a host says once too often
    would be another's picture.
    """

    def __init__(
        self,
        judge: Judge,
        way: Way,
        *,
        tls: ssl.SSLContext,
        stall_seconds: float,
    ) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._judge = judge
        self._way = way
        self._stall_seconds = stall_seconds
        self._straight = Road(tls, way.connect_seconds)
        self._proxies = Lookups()
        self._roads: dict[str, Road] = {}
        self._free = asyncio.Semaphore(way.max_connections)

    async def get(self, url: str, *, host: str, port: int, team: str) -> LinkAnswer:
        """The answer to one request, whatever it is. `host` and `port` are those of the `url`.

        Raises AddressRefused, `CallBroken` or `TimeoutError`.
        """
        await self._free.acquire()
        try:
            return await self._got(Place.of(url), self._way.proxies.for_url(url), host, port, team)
        except BaseException as error:
            self._free.release()
            if isinstance(error, Broken | ValueError):
                raise CallBroken(str(error), left=True) from error
            raise

    async def _got(
        self, place: Place, proxy: str | None, host: str, port: int, team: str
    ) -> LinkAnswer:
        if proxy is None:
            road = self._straight
            connection = await road.connection(place, self._judged_for(team))
        else:
            await self._judge_from_afar(host, port, team)
            road = self._through(proxy)
            connection = await road.connection(place, self._proxies)
        try:
            await connection.send(road.request("GET", place, HEADERS, b""))
            async with asyncio.timeout(self._stall_seconds):
                return LinkAnswer(connection, await connection.head(), self._free)
        except BaseException:
            connection.hang_up()
            raise

    def _judged_for(self, team: str) -> LookUp:
        async def look_up(host: str, port: int) -> Sequence[Address]:
            return await self._judge(host, port, team=team)

        return look_up

    async def _judge_from_afar(self, host: str, port: int, team: str) -> None:
        """A name that leads inside from here is refused. One that is unknown here is the proxy's
        to judge, but not one that had no turn to be asked for: that would be a way around."""
        try:
            await self._judge(host, port, team=team)
        except TimeoutError:
            raise
        except OSError:
            return

    def _through(self, proxy: str) -> Road:
        """Proxies are the operator's: where they are is not judged."""
        if proxy not in self._roads:
            self._roads[proxy] = Road(
                self._straight.tls, self._way.connect_seconds, Proxy.of(proxy)
            )
        return self._roads[proxy]
