"""Calls to a host where we have a key: one request, one answer in whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.ports.upstream import Sure, nothing_asked


@dataclass(frozen=True, slots=True)
class LineBounds:
    """So many connections at once. A free one is kept for `kept_seconds`; where that is None, every
    call has a fresh one."""

    max_connections: int
    connect_seconds: float
    kept_seconds: float | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request. Its answer has to be there within `seconds`, and its body within `max_bytes`."""

    method: str
    url: str
    headers: Mapping[str, str]
    seconds: float
    max_bytes: int
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """The names in `headers` are looked up in any case; `body` is None when it was too large."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class CallBroken(Exception):
    """No answer came. `left`: something of the request may have gone out."""

    def __init__(self, message: str, *, left: bool) -> None:
        super().__init__(message)
        self.left = left


class VendorLine(Protocol):
    """The way to a host, straight or through a proxy. Follows no redirect, keeps no cookie."""

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        """Raises `CallBroken`, and whatever `sure` raises: that is awaited when the connection is
        there, before anything of the request is written to it."""

    async def aclose(self) -> None: ...
