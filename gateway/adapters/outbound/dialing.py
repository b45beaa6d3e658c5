"""How one of several addresses is reached: each gets a head start before the next is tried beside
it (RFC 8305).

Nothing here judges an address: that is for calls to addresses which others chose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from gateway.core.addresses import Address

T = TypeVar("T")

HEAD_START_SECONDS: Final = 0.25

MAX_DIALS: Final = 4
"""Addresses tried for one name."""


async def first_through(
    addresses: Sequence[Address],
    dial: Callable[[Address], Awaitable[T]],
    let_go: Callable[[T], object],
) -> T:
    """What dialling came to at the first address that is through; what came second is let go.

    Raises what the last one raised, and `OSError` where there is no address.
    """
    if len(addresses) == 1:
        return await dial(addresses[0])
    dials: list[asyncio.Future[T]] = []
    chosen: asyncio.Future[T] | None = None
    try:
        for address in addresses[:MAX_DIALS]:
            dials.append(asyncio.ensure_future(dial(address)))
            await _wait(dials, HEAD_START_SECONDS)
            if (chosen := _through(dials)) is not None:
                return chosen.result()
        while not all(one.done() for one in dials):
            await _wait(dials, None)
            if (chosen := _through(dials)) is not None:
                return chosen.result()
    finally:
        # Not waited for: who is cancelled meanwhile would lose the one that he has.
        for one in dials:
            if one is not chosen:
                one.cancel()
                one.add_done_callback(partial(_let_go, let_go))
    raise (dials[-1].exception() if dials else None) or OSError("no address")


async def _wait(dials: Sequence[asyncio.Future[Any]], seconds: float | None) -> None:
    """Until one more of them has ended."""
    under_way = [dial for dial in dials if not dial.done()]
    if under_way:
        await asyncio.wait(under_way, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _through(dials: Sequence[asyncio.Future[T]]) -> asyncio.Future[T] | None:
    ended = (dial for dial in dials if dial.done() and not dial.cancelled())
    return next((dial for dial in ended if dial.exception() is None), None)


def _let_go(let_go: Callable[[T], object], dial: asyncio.Future[T]) -> None:
    """One that came second may have got through all the same."""
    if not dial.cancelled() and dial.exception() is None:
        let_go(dial.result())
