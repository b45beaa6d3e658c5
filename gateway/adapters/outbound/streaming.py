"""What is behind a link of others, over aiohttp: one GET, and its body while it arrives.

So the event loop spends 2.0 ms on an order whose picture is fetched, and 3.2 where httpx2 does it,
measured while connections were kept (docs/decisions/099). What is dialled is judged where aiohttp
makes the socket: a name's answers as they are looked up, and an address that stands in the link as
it is read in the end.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from yarl import URL

from gateway.adapters.outbound.judging import Judge
from gateway.adapters.outbound.pinned import USER_AGENT, Way
from gateway.adapters.outbound.resolver import Lookups
from gateway.adapters.outbound.sessions import Proxy, opened, said
from gateway.core.addresses import Address
from gateway.ports.calls import CallBroken, LineBounds

CHUNK_BYTES: Final = 128 * 1024
"""The most that is handed on at once."""

_TEAM: ContextVar[str] = ContextVar("team", default="")
"""Whose call it is that a name is looked up for: aiohttp asks for a name alone."""


class LinkAnswer:
    """An answer whose body is still to be read; `close` it, which hangs up what has not ended."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers

    async def chunk(self) -> bytes:
        """The next bytes, as they were sent; none at the end. Raises `CallBroken` where there will
        be no more, once all that came has been read, or `TimeoutError`."""
        content = self._answer.content
        try:
            return await content.read(CHUNK_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            # Its readers raise at once, and what came before is still there; no public way to it.
            if rest := content._read_nowait(CHUNK_BYTES):
                return rest
            raise _translated(error) from error

    def close(self) -> None:
        self._answer.close()


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
        self._judge = judge
        self._way = way
        self._tls = tls
        self._bounds = LineBounds(way.max_connections, way.connect_seconds, None, stall_seconds)
        self._straight = self._opened(_JudgedFor(judge), make_socket=self._socket)
        self._behind: aiohttp.ClientSession | None = None

    async def get(self, url: str, *, host: str, port: int, team: str) -> LinkAnswer:
        """The answer to one request, whatever it is. `host` and `port` are those of the `url`.

        Raises AddressRefused, `CallBroken` or `TimeoutError`.
        """
        proxy = self._way.proxies.for_url(url)
        whose = _TEAM.set(team)
        try:
            if proxy is None:
                return await self._got(self._straight, url)
            await self._judge_from_afar(host, port, team)
            return await self._got(self._through(), url, **Proxy(proxy).options(url, {}))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error) from error
        finally:
            _TEAM.reset(whose)

    async def _got(self, session: aiohttp.ClientSession, url: str, **more: Any) -> LinkAnswer:
        answer = await session.get(URL(url, encoded=True), allow_redirects=False, **more)
        coding = ",".join(answer.headers.getall("Transfer-Encoding", ["chunked"])).lower()
        # Of others aiohttp would hand on what nobody can read. Said twice, it was done once.
        if {one.strip() for one in coding.split(",")} != {"chunked"}:
            answer.close()
            raise CallBroken(f"its transfer encoding is unknown: {coding[:20]!r}", left=True)
        return LinkAnswer(answer)

    async def _judge_from_afar(self, host: str, port: int, team: str) -> None:
        """A name that leads inside from here is refused. One that is unknown here is the proxy's
        to judge, but not one that had no turn to be asked for: that would be a way around."""
        try:
            await self._judge(host, port, team=team)
        except TimeoutError:
            raise
        except OSError:
            return

    def _through(self) -> aiohttp.ClientSession:
        """Proxies are the operator's: where they are is not judged."""
        if self._behind is None:
            self._behind = self._opened(Lookups())
        return self._behind

    def _opened(self, resolver: Any, **more: Any) -> aiohttp.ClientSession:
        headers = {
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": USER_AGENT,
        }
        return opened(
            resolver,
            self._bounds,
            tls=self._tls,
            headers=headers,
            auto_decompress=False,
            **more,
        )

    def _socket(self, dialled: tuple[Any, ...]) -> socket.socket:
        """See `MakeSocket`."""
        family, kind, protocol, _, address = dialled
        self._judge.check_dial(address[0])
        return socket.socket(family, kind, protocol)

    async def aclose(self) -> None:
        for session in (self._straight, self._behind):
            if session is not None:
                await session.close()


class _JudgedFor:
    """The judged answers, looked up for the team whose call it is."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        return await self._judge(name.removesuffix("."), port, team=_TEAM.get())


def _translated(error: Exception) -> CallBroken | TimeoutError:
    return error if isinstance(error, TimeoutError) else CallBroken(said(error), left=True)
