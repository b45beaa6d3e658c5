"""Pictures in a folder of the local disk: `<root>/<first two of digest>/<digest>.<extension>`.

A picture is written under a temporary name, proven, synced and only then linked to its own
name, so that a crash at any instruction leaves either nothing that can be seen or a whole
picture. Every system call runs in threads of the store's own. Nothing here knows about HTTP.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from uuid import uuid4

import orjson

from gateway.core.model import Picture
from gateway.core.pictures import NotAPicture, PictureTooLarge, StoreFull
from gateway.pictures.decoding import Decoding, for_paid, for_unpaid

P = ParamSpec("P")
T = TypeVar("T")

_BATCH_BYTES: Final = 256 * 1024  # one hop to a thread costs as much as writing about this
_FOLDER_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_MAX_PIXELS: Final = 64_000_000  # eight times the largest that upstream makes
_NAME: Final = re.compile(r"(?P<digest>[0-9a-f]{64})\.(png|jpg|webp)")


class FolderPictures:
    """The `Pictures` port on a folder. One instance per process; `open` it before use.

    All but NotAPicture and PictureTooLarge that goes wrong here comes out as StoreFull.
    """

    def __init__(self, root: Path, *, max_pixels: int = _MAX_PIXELS) -> None:
        self._root = root
        self._scratch = root / "tmp"
        self._max_pixels = max_pixels
        # Apart from each other, so that a look-up for a cache hit waits neither for the disk to
        # sync nor for a decoder.
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="pictures-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="pictures-read")
        # Pictures that are not paid for never wait before one that is to be kept.
        self._paid = for_paid()
        self._unpaid = for_unpaid()

    async def open(self) -> None:
        """Makes the folders and removes what writers that are gone have left unfinished."""
        await _in_thread(self._writers, self._lay_out)

    async def keep(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """Stores a whole, proven picture durably. Keeping the same bytes twice is harmless.

        Raises NotAPicture, PictureTooLarge or StoreFull; what `body` raises comes out
        unchanged. After any of them, and when cancelled, no temporary file stays behind.
        """
        draft = _Draft(self._scratch)
        try:
            picture = await self._proven(draft, body, max_bytes, self._paid, team)
            place = self._place(picture.name)
            await _in_thread(self._writers, draft.publish, place, mend=True)
        finally:
            await self._discard(draft)
        return picture

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are, as `keep` tells it, and raising as it does. Nothing stays behind."""
        draft = _Draft(self._scratch)
        try:
            return await self._proven(draft, body, max_bytes, self._unpaid, team)
        finally:
            await self._discard(draft)

    async def describe(self, picture: Picture, sidecar: Mapping[str, object]) -> None:
        """Writes the picture's provenance beside it as JSON, once: the first writer wins."""
        draft = _Draft(self._scratch)
        text = orjson.dumps(dict(sidecar), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        try:
            await _in_thread(self._writers, draft.write, text)
            place = self._place(f"{picture.digest}.json")
            await _in_thread(self._writers, draft.publish, place)
        finally:
            await self._discard(draft)

    async def readable(self, pictures: Sequence[Picture]) -> bool:
        """True when every one of them is there in its full size. One hop for all.

        Raises StoreFull when the disk cannot tell.
        """
        return await _in_thread(self._readers, self._has_all, pictures)

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away for good; none there is no error.

        The bytes go first: what a crash leaves behind tells whose they were.
        Raises StoreFull when the disk cannot be written.
        """
        await _in_thread(self._writers, self._remove, picture)

    def path(self, name: str) -> Path | None:
        """Where the picture called `digest.extension` is or would be; None for any other name."""
        return self._place(name) if _NAME.fullmatch(name) else None

    async def free_bytes(self) -> int:
        """The room left for more."""
        return (await _in_thread(self._readers, shutil.disk_usage, self._root)).free

    async def close(self) -> None:
        """Waits for what the threads have begun. Safe to call twice."""
        for decoding in (self._paid, self._unpaid):
            await decoding.close()
        for pool in (self._writers, self._readers):
            await asyncio.to_thread(pool.shutdown)

    def _place(self, name: str) -> Path:
        return self._root / name[:2] / name

    def _has_all(self, pictures: Sequence[Picture]) -> bool:
        return all(_size(self._place(p.name)) == p.size_bytes for p in pictures)

    def _remove(self, picture: Picture) -> None:
        place = self._place(picture.name)
        place.unlink(missing_ok=True)
        self._place(f"{picture.digest}.json").unlink(missing_ok=True)
        # Also when nothing was there: whoever unlinked it may have died before this line.
        _sync_folder(place.parent)

    def _lay_out(self) -> None:
        self._root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # All at once, so that keeping a picture never has to make a folder durable first.
        for folder in (self._scratch, *(self._root / f"{number:02x}" for number in range(256))):
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        _sync_folder(self._root)
        with suppress(PermissionError):  # a parent that is not ours is not ours to sync
            _sync_folder(self._root.parent)
        for path in self._scratch.iterdir():
            _remove_abandoned(path)

    async def _receive(self, draft: _Draft, body: AsyncIterator[bytes], max_bytes: int) -> None:
        """Writes the body in batches: one hop for many small chunks."""
        batch = bytearray()
        received = 0
        async for chunk in body:
            received += len(chunk)
            if received > max_bytes:
                raise PictureTooLarge(f"more than {max_bytes} bytes")
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                await _in_thread(self._writers, draft.write, batch)
                batch = bytearray()
        if received == 0:
            raise NotAPicture("there are no bytes")
        if batch:
            await _in_thread(self._writers, draft.write, batch)

    async def _proven(
        self,
        draft: _Draft,
        body: AsyncIterator[bytes],
        max_bytes: int,
        decoding: Decoding,
        team: str,
    ) -> Picture:
        """The picture that came into the draft, decoded in the team's turn."""
        await self._receive(draft, body, max_bytes)
        facts = await decoding.inspect(draft.path, team=team, max_pixels=self._max_pixels)
        return Picture(
            digest=draft.digest,
            extension=facts.extension,
            size_bytes=draft.size_bytes,
            width=facts.width,
            height=facts.height,
        )

    async def _discard(self, draft: _Draft) -> None:
        # Shielded: once begun it is done, even if the caller is cancelled a second time.
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._writers, draft.discard))


class _Draft:
    """A file on its way to its name. Its methods block and may be called from any thread.

    They exclude each other, because a cancelled caller discards while a thread still writes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid4().hex}.part"
        self.size_bytes = 0
        self._sum = hashlib.sha256()
        self._descriptor: int | None = None
        self._is_discarded = False
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    def write(self, batch: bytes | bytearray) -> None:
        with self._lock:
            descriptor = self._opened()
            rest = memoryview(batch)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._sum.update(batch)
            self.size_bytes += len(batch)

    def publish(self, place: Path, *, mend: bool = False) -> None:
        """Makes the draft durable, then visible at `place`, then its name durable.

        A file that has the name already stays, unless `mend` is set and its size is wrong.
        """
        with self._lock:
            os.fsync(self._opened())
            try:
                os.link(self.path, place)
            except FileExistsError:
                if mend and _size(place) != self.size_bytes:
                    self.path.replace(place)
            # Also when it was there: whoever linked it may have died before this line.
            _sync_folder(place.parent)

    def discard(self) -> None:
        """Removes the temporary name. Nothing can be written afterwards."""
        with self._lock:
            self._is_discarded = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with suppress(OSError):  # what stays behind is removed at the next start
                    self.path.unlink(missing_ok=True)
                with suppress(OSError):
                    os.close(descriptor)

    def _opened(self) -> int:
        if self._is_discarded:
            raise OSError(errno.ECANCELED, "the picture was given up")
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._descriptor = os.open(self.path, flags, _FILE_MODE)
            # Held until we close it or die: it tells `open` that somebody still writes.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._descriptor


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Removes a temporary file, unless a living writer holds its lock."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


async def _in_thread(
    pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Runs blocking work in a pool and translates what the machine may refuse."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(pool, partial(work, *args, **kwargs))
    except (OSError, MemoryError) as error:
        raise StoreFull(f"the picture store cannot do it now: {error}") from error
