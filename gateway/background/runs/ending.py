"""The end of what is under way, when the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def cut_after(
    seconds: float, tasks: Collection[asyncio.Task[None]], at_once: asyncio.Event | None = None
) -> None:
    """Returns when all have ended; what has not by then, or when it is to be `at_once`, is cut."""
    if not tasks:
        return
    watches: list[asyncio.Task[Any]] = [asyncio.create_task(asyncio.wait(tasks))]
    if at_once is not None:
        watches.append(asyncio.create_task(at_once.wait()))
    try:
        await asyncio.wait(watches, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for watch in watches:
            watch.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*watches, *tasks, return_exceptions=True)
