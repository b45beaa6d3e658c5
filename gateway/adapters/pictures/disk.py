"""What the picture store asks of the local disk: plain calls that block, and the way to a thread.

Nothing here knows what a file is for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from gateway.core.picture_errors import StoreFull
from gateway.process.together import begun

P = ParamSpec("P")
T = TypeVar("T")

BATCH_BYTES: Final = 256 * 1024
"""How much is read or written at once: one hop to a thread costs as much as writing about this."""


async def in_thread(
    pool: ThreadPoolExecutor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Runs blocking work in a pool, None for the loop's own; translates what may be refused."""
    call = partial(work, *args, **kwargs)
    try:
        if pool is None:
            return await asyncio.get_running_loop().run_in_executor(None, call)
        return await begun(pool, call)
    except (OSError, MemoryError) as error:
        raise refused(error) from error


def refused(error: OSError | MemoryError) -> StoreFull:
    """What the disk or the system would not do, in the store's words."""
    return StoreFull(f"the picture store cannot do it now: {error}")


def size_of(path: Path, root: int | None = None) -> int | None:
    """The size of the file; with `root`, of the one at `path` below that open folder."""
    try:
        return os.stat(path, dir_fd=root).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


async def pieces(
    pool: ThreadPoolExecutor, path: Path, start: int = 0, stop: int | None = None
) -> AsyncGenerator[bytes]:
    """The file's bytes from `start` up to `stop`, read in threads of the pool."""
    at = start
    while piece := await in_thread(pool, _piece, path, at, stop):
        yield piece
        at += len(piece)


def _piece(path: Path, at: int, stop: int | None) -> bytes:
    """Opened for each, so that nothing stays open when the reader goes away meanwhile."""
    with path.open("rb") as file:
        file.seek(at)
        return file.read(BATCH_BYTES if stop is None else max(0, min(BATCH_BYTES, stop - at)))


def open_folder(folder: Path) -> int:
    """A descriptor of the folder; the caller closes it."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync(path: Path) -> None:
    """Makes the bytes of a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
