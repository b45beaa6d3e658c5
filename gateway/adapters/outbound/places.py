"""Where a URL leads, and how it is reached: straight, or through a proxy."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from gateway.adapters.outbound.dialing import first_through
from gateway.adapters.outbound.wire import Broken, Wire
from gateway.core.addresses import Address

_PORTS: Final = {"http": 80, "https": 443}
_AS_WRITTEN: Final = string.punctuation
"""What stays as it is in a target; all else that is no letter or number is escaped."""

_BREAKS: Final = re.compile(r"[\r\n\0]")

LookUp = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host, which may be one. Raises OSError where there are none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host as the wire has it (no brackets, no dot behind it), and what is asked for there."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, url: str) -> Place:
        """Raises `ValueError` for what has no host."""
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        if not host or parts.scheme not in _PORTS:
            raise ValueError("a URL without a host")
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.scheme, host, port, quote(target, safe=_AS_WRITTEN))

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """As `Host` has it: without the port that the scheme implies."""
        return self._named if self.port == _PORTS[self.scheme] else self.with_port

    @property
    def with_port(self) -> str:
        return f"{self._named}:{self.port}"

    @property
    def _named(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and what is said to it so that it lets one through."""

    place: Place
    headers: Mapping[str, str]

    @classmethod
    def of(cls, url: str) -> Proxy:
        """The `url` may hold credentials."""
        parts, headers = urlsplit(url), {}
        if parts.username is not None:
            words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            basic = base64.b64encode(words.encode()).decode("ascii")
            headers = {"Proxy-Authorization": f"Basic {basic}"}
        return cls(Place.of(url), headers)


@dataclass(frozen=True, slots=True)
class Road:
    """How a place is reached: under whose certificates, and through which proxy if any.

    `seconds` are for a connection, and for TLS on it; how long a proxy looks for the place is the
    caller's to bound.
    """

    tls: ssl.SSLContext
    seconds: float
    proxy: Proxy | None = None

    async def connection(self, place: Place, look_up: LookUp) -> Wire:
        """A fresh one, over which nothing of a request has gone. Through a proxy `look_up` is for
        its host alone: the place's name goes to the proxy. Raises `Broken` or `TimeoutError`."""
        proxy = self.proxy
        try:
            if proxy is None:
                return await self._secured(await self._dialled(place, look_up), place)
            connection = await self._secured(await self._dialled(proxy.place, look_up), proxy.place)
            if not place.is_tls:
                return connection
            await _tunnel(connection, place, proxy)
            return await self._secured(connection, place)
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken(f"{type(error).__name__} ({error})") from error

    def request(self, method: str, place: Place, headers: Mapping[str, str], body: bytes) -> bytes:
        """As it goes over such a connection."""
        if self.proxy is None or place.is_tls:
            return request(method, place.target, place, headers, body)
        target = f"{place.scheme}://{place.authority}{place.target}"
        return request(method, target, place, {**headers, **self.proxy.headers}, body)

    async def _dialled(self, place: Place, look_up: LookUp) -> Wire:
        loop = asyncio.get_running_loop()

        async def dial(address: Address) -> Wire:
            _, connection = await loop.create_connection(Wire, str(address), place.port)
            return connection

        async with asyncio.timeout(self.seconds):
            return await first_through(await look_up(place.host, place.port), dial, Wire.hang_up)

    async def _secured(self, connection: Wire, place: Place) -> Wire:
        if place.is_tls:
            try:
                async with asyncio.timeout(self.seconds):
                    await connection.begin_tls(self.tls, place.host)
            except BaseException:
                connection.hang_up()
                raise
        return connection


def request(
    method: str, target: str, place: Place, headers: Mapping[str, str], body: bytes
) -> bytes:
    """A whole request. Raises `ValueError` where a header would be more than one."""
    told = {"Host": place.authority, **headers}
    if body or method == "POST":
        told["Content-Length"] = str(len(body))
    if _BREAKS.search("".join(told.values())):
        raise ValueError("a header of more than one line")
    lines = "".join([f"{name}: {value}\r\n" for name, value in told.items()])
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _tunnel(connection: Wire, place: Place, proxy: Proxy) -> None:
    """Behind it the place itself is at the other end. Raises `Broken`."""
    try:
        where = place.with_port
        await connection.send(
            f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n".encode()
            + "".join([f"{name}: {value}\r\n" for name, value in proxy.headers.items()]).encode()
            + b"\r\n"
        )
        await connection.head()
        if not 200 <= connection.status < 300:
            raise Broken(f"the proxy answers {connection.status}")
        connection.end_head()
    except BaseException:
        connection.hang_up()
        raise
