"""Files that come in with a request, on disk meanwhile: written in a thread, a batch at a time.

They are gone when the request ends, however it ends. What they mean is nobody's business here.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from gateway.errors import Unavailable

log = structlog.get_logger("gateway.http")

T = TypeVar("T")

BATCH_BYTES: Final = 512 * 1024
"""One hop to a thread costs as much as writing a good part of this."""

PIECE_BYTES: Final = 256 * 1024


class Spool:
    """A folder of files, written one after the other. `what` they are, for who is turned away.

    Its methods raise `Unavailable` when the disk takes no more.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder = folder
        self._what = what
        self._file = folder
        self._count = 0
        self._waiting = bytearray()

    async def open(self) -> None:
        await self.run(partial(self._folder.mkdir, 0o700))

    async def begin(self) -> Path:
        """Another file, of what is added from now on; `flush` ends the last."""
        await self.flush()
        self._count += 1
        self._file = self._folder / str(self._count)
        await self.run(self._file.touch)
        return self._file

    async def add(self, content: bytes) -> None:
        self._waiting += content
        if len(self._waiting) >= BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            await self.run(partial(_append, self._file, waiting))

    async def run(self, call: Callable[[], T], executor: Executor | None = None) -> T:
        """The outcome of a call about these files that blocks."""
        try:
            return await _to_its_end(call, executor)
        except OSError as error:
            log.error("a file that came in cannot be written down", reason=str(error))
            raise no_room(self._what) from error


async def make_empty(folder: Path) -> None:
    """The folder for those of all requests: a killed process may have left files in it."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    await asyncio.to_thread(folder.mkdir, mode=0o750, parents=True)


@asynccontextmanager
async def spooled(folder: Path, what: str) -> AsyncIterator[Spool]:
    """A folder of its own under `folder`, for the length of the block."""
    own = folder / secrets.token_hex(16)
    spool = Spool(own, what)
    try:
        await spool.open()
        yield spool
    finally:
        await _to_its_end(partial(shutil.rmtree, own, ignore_errors=True))


async def read_pieces(path: Path) -> AsyncGenerator[bytes, None]:
    """The file's bytes, a piece in memory at a time. Nothing is open in between."""
    at = 0
    while piece := await asyncio.to_thread(_piece, path, at):
        yield piece
        at += len(piece)


def no_room(what: str) -> Unavailable:
    message = f"The gateway has no room for {what} just now; try again."
    return Unavailable(message, retry_after_seconds=30)


async def _to_its_end(call: Callable[[], T], executor: Executor | None = None) -> T:
    """Runs a short call in a thread, also when the request is cancelled meanwhile: nothing may be
    written after the folder is gone."""
    call_made = asyncio.get_running_loop().run_in_executor(executor, call)
    try:
        return await asyncio.shield(call_made)
    except asyncio.CancelledError:
        await asyncio.wait({call_made})
        raise


def _append(path: Path, content: bytearray) -> None:
    with path.open("ab") as file:
        file.write(content)


def _piece(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(PIECE_BYTES)
