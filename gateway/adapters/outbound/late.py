"""A vendor's line whose library is read in with its first call.

It takes 0.1 s and 6 MiB, which no start has to wait for, and who only answers from the cache never
has. It is read in on a thread: the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Final

from gateway.ports.calls import Call, CallAnswer, CallBroken, VendorLine
from gateway.ports.upstream import Sure, nothing_asked

LIBRARY: Final = "aiohttp"


class LateLine:
    """See gateway.ports.calls.VendorLine; `make` may import whatever needs the library."""

    def __init__(self, make: Callable[[], VendorLine]) -> None:
        self._make = make
        self._line: VendorLine | None = None

    async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
        if self._line is None:
            try:
                await asyncio.to_thread(import_module, LIBRARY)
            except ImportError as missing:
                raise CallBroken(f"{LIBRARY} is not installed", left=False) from missing
            self._line = self._line or self._make()
        return await self._line.ask(call, sure=sure)

    async def aclose(self) -> None:
        if self._line is not None:
            await self._line.aclose()
