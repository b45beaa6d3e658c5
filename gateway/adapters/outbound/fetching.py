"""Reads what is behind links of others, from judged addresses, bounded in bytes and in time.

It follows redirects that keep the rules, and says of every failure whether time may mend it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from typing import Final, Self

import httpx2 as httpx

from gateway.adapters.outbound.judging import AddressRefused, Judge
from gateway.adapters.outbound.pinned import STRAIGHT, Way
from gateway.adapters.outbound.resolver import Lookups
from gateway.adapters.outbound.streaming import LinkAnswer, LinkLine
from gateway.core.addresses import check_url
from gateway.core.links import MAX_LINK_CHARACTERS, cleaned
from gateway.core.picture_errors import LinkBroken, LinkDead, LinkForbidden, PictureTooLarge
from gateway.ports.calls import CallBroken
from gateway.ports.outbound import Resolver

_MAX_REDIRECTS: Final = 5
_SCHEMES: Final = frozenset({"http", "https"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BODIES: Final = frozenset({200, 201, 203})
_CONTENT_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})\s*", re.ASCII)
# Answers that time may mend. 403 is here because content networks refuse by passing rules too.
_TRANSIENT: Final = frozenset({403, 408, 409, 423, 425, 429})


class FetchRefused(LinkForbidden):
    """The link breaks our rules: its scheme, host, address or redirects. Permanent."""


class FetchGone(LinkDead):
    """The server says that there is nothing there; `status` is 404 or 410."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class FetchFailed(LinkBroken):
    """The whole body did not come. `status` is the server's answer, None when the way failed.

    `transient` tells whether time alone may mend it.
    """

    def __init__(self, message: str, *, status: int | None = None, transient: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient


class FetchTooLarge(PictureTooLarge):
    """The body has more bytes than the caller allows."""


class _Limits:
    """The bounds of one fetch; times are the event loop's."""

    def __init__(self, *, max_bytes: int, timeout_seconds: float, stall_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self.deadline = self._loop.time() + timeout_seconds

    def next_chunk_by(self) -> float:
        return min(self.deadline, self._loop.time() + self._stall_seconds)

    def check_size(self, size_bytes: int | None, host: str) -> None:
        if size_bytes is not None and size_bytes > self._max_bytes:
            raise FetchTooLarge(f"{host} sends more than {self._max_bytes} bytes")


class ResponseBody:
    """The bytes behind a link while they arrive: iterate over it once.

    Iterating raises FetchFailed or FetchTooLarge. `content_length` is what the server promised.
    """

    def __init__(self, answer: LinkAnswer, host: str, limits: _Limits) -> None:
        self.media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.content_length = _content_length(answer)
        self._answer = answer
        self._host = host
        self._limits = limits
        self._received = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._host):
            chunk = await self._answer.chunk(self._limits.next_chunk_by())
        if not chunk:
            raise StopAsyncIteration
        self._received += len(chunk)
        self._limits.check_size(self._received, self._host)
        return chunk


class Fetcher:
    """Streams what is behind links of others. One for the life of the process."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        verify: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        way: Way = STRAIGHT,
        stall_seconds: float = 20.0,
    ) -> None:
        """Without a `resolver` it has look-ups of its own."""
        self._allow_private = allow_private
        self._stall_seconds = stall_seconds
        self._team = ""
        self._line = LinkLine(
            Judge(Lookups() if resolver is None else resolver, allow_private=allow_private),
            way,
            tls=httpx.create_ssl_context() if verify is None else verify,
            stall_seconds=stall_seconds,
        )

    def on_behalf_of(self, team: str) -> Self:
        """The same fetcher for links of a team: its look-ups are counted as the team's."""
        other = copy(self)
        other._team = team
        return other

    @asynccontextmanager
    async def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AsyncIterator[ResponseBody]:
        """Opens `url` (http or https, 8 kB), following up to 5 redirects that keep the rules.

        `timeout_seconds` bounds the whole fetch. Raises FetchRefused, FetchGone, FetchFailed or
        FetchTooLarge, on entering and while the body is read.
        """
        limits = _Limits(
            max_bytes=max_bytes, timeout_seconds=timeout_seconds, stall_seconds=self._stall_seconds
        )
        answer, host = await self._open(url, limits)
        try:
            body = ResponseBody(answer, host, limits)
            limits.check_size(body.content_length, host)
            yield body
        finally:
            answer.close()

    async def _open(self, url: str, limits: _Limits) -> tuple[LinkAnswer, str]:
        """The answer with the body at the end of the redirects, still unread, and its host."""
        for _ in range(_MAX_REDIRECTS + 1):
            target = self._checked(url)
            answer = await self._ask(target, limits)
            if _has_body(answer):
                return answer, target.host
            answer.close()
            url = _next_hop(answer, target)
        raise FetchRefused(f"more than {_MAX_REDIRECTS} redirects, the last from {target.host}")

    def _checked(self, url: str) -> httpx.URL:
        problem = check_url(
            url,
            schemes=_SCHEMES,
            max_length=MAX_LINK_CHARACTERS,
            allow_private=self._allow_private,
        )
        if problem is not None:
            raise FetchRefused(problem.message)
        with _translated("the link"):
            return httpx.URL(url)

    async def _ask(self, url: httpx.URL, limits: _Limits) -> LinkAnswer:
        port = url.port or (443 if url.scheme == "https" else 80)
        with _translated(url.host):
            async with asyncio.timeout_at(limits.deadline):
                host = url.raw_host.decode("ascii").removesuffix(".")
                return await self._line.get(str(url), host=host, port=port, team=self._team)


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turns libraries' errors into ours; messages name the host and never the whole link."""
    try:
        yield
    except AddressRefused as error:
        raise FetchRefused(str(error)) from error
    except httpx.InvalidURL as error:
        raise FetchRefused(f"{host}: {error}") from error
    except TimeoutError as error:
        raise FetchFailed(f"{host} is too slow") from error
    except CallBroken as error:
        raise FetchFailed(f"{host}: {error}") from error


def _has_body(answer: LinkAnswer) -> bool:
    """Whether its body is what is behind the link: also from a proxy that has changed something
    (203), and in one part that is all of it (206). 202 is none yet."""
    if answer.status == 206:
        return _is_all(answer.headers.get("content-range", ""))
    return answer.status in _BODIES


def _is_all(content_range: str) -> bool:
    """Whether a part is the whole. Where it is not told, the bytes are for others to judge."""
    match = _CONTENT_RANGE.fullmatch(content_range)
    return match is None or (int(match[1]), int(match[2]) + 1) == (0, int(match[3]))


def _next_hop(answer: LinkAnswer, url: httpx.URL) -> str:
    """Where an answer that is not the body sends us; raises what it means otherwise."""
    status = answer.status
    if status in {404, 410}:
        raise FetchGone(f"{url.host} answers {status}", status=status)
    location = answer.headers.get("location")
    if status not in _REDIRECTS or not location:
        transient = status >= 500 or status in _TRANSIENT
        raise FetchFailed(f"{url.host} answers {status}", status=status, transient=transient)
    with _translated(url.host):
        target = httpx.URL(cleaned(str(url.join(cleaned(location)))))
    if url.scheme == "https" and target.scheme != "https":
        raise FetchRefused(f"{url.host} redirects from https to {target.scheme}")
    return str(target)


def _content_length(answer: LinkAnswer) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None
