"""A line whose library is read in with its first call.

It takes 0.1 s and 6 MiB, which no start has to wait for, and who only answers from the cache never
has. It is read in on a thread: the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Final, Generic, TypeVar

from gateway.ports.calls import Call, CallAnswer, CallBroken, VendorLine
from gateway.ports.upstream import Sure, nothing_asked

T = TypeVar("T")

LIBRARY: Final = "aiohttp"


class Late(Generic[T]):
    """What needs the library, made by `make` when it is first wanted."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.made: T | None = None

    async def get(self) -> T:
        """Raises `CallBroken` where the library is not installed."""
        if self.made is None:
            try:
                await asyncio.to_thread(import_module, LIBRARY)
            except ImportError as missing:
                raise CallBroken(f"{LIBRARY} is not installed", left=False) from missing
            self.made = self.made or self._make()
        return self.made


class LateLine:
    """See gateway.ports.calls.VendorLine; `make` may import whatever needs the library."""

    def __init__(self, make: Callable[[], VendorLine]) -> None:
        self._line = Late(make)

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        line = self._line.made or await self._line.get()
        return await line.ask(call, sure=sure)

    async def aclose(self) -> None:
        if self._line.made is not None:
            await self._line.made.aclose()
