"""Decoding for the teams in turn: what is paid and what is not have places of their own.

A place is held until its process is done with the picture, also when whoever asked has gone, so
that what goes on at once is bounded by the places and not by how many callers are patient.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from gateway.adapters.pictures.cost import PAID, UNPAID, Cost
from gateway.adapters.pictures.decoders import Decoders, Inspection
from gateway.core.picture_errors import StoreFull
from gateway.process.shares import Shares
from gateway.process.together import begun

PAID_AT_ONCE: Final = 3
"""One team alone gets two of them, and another finds the third."""

UNPAID_AT_ONCE: Final = min(4, max(2, os.cpu_count() or 1))
"""As many as there are cores; but two at least, since one picture must not stop all others."""


class Decoding:
    """Places in which pictures are decoded, each at most at this cost."""

    def __init__(self, cost: Cost, at_once: int, *, name: str) -> None:
        self._decoders = Decoders(cost)
        self._shares = Shares(at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)

    async def inspect(self, path: Path, *, team: str, max_pixels: int) -> Inspection:
        """What the picture is, once it is the team's turn.

        Raises NotAPicture, TooCostly, or StoreFull when it cannot be found out just now.
        """
        await self._shares.take(team)
        call = partial(self._decoders.inspect, path, max_pixels=max_pixels)
        try:
            work = begun(self._threads, call)
        except BaseException:
            self._shares.give(team)
            raise
        work.add_done_callback(partial(self._ended, team))
        try:
            return await asyncio.shield(work)
        except (OSError, MemoryError) as error:
            raise StoreFull(f"the picture cannot be decoded now: {error}") from error
        finally:
            del work  # which holds its error, whose traceback leads here

    async def close(self) -> None:
        """Breaks off what has begun: nobody waits for it any more. Safe to call twice."""
        await asyncio.to_thread(self._decoders.close)
        await asyncio.to_thread(self._threads.shutdown)

    def _ended(self, team: str, work: asyncio.Future[Inspection]) -> None:
        self._shares.give(team)
        if not work.cancelled():
            work.exception()  # whoever asked may have gone: then nobody else looks at it


def for_paid() -> Decoding:
    return Decoding(PAID, PAID_AT_ONCE, name="pictures-inspect")


def for_unpaid() -> Decoding:
    return Decoding(UNPAID, UNPAID_AT_ONCE, name="pictures-prove")
