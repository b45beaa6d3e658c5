"""The spool: what upstreams have answered, on this node's disk until their runs are final.

An answer is the only copy of what was paid. It is written under another name while it comes in,
made durable, and renamed; a name that ends in `.answer` is one that is whole. A file begins with a
line of JSON about the answer's head, and what it is billed at; the body follows as it came.

    <run>-<attempt>.part          an answer while it comes in
    <run>-<attempt>.answer        a whole one
    <run>-<attempt>.<n>.ref       a reference picture on its way up
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from gateway.adapters.openai_images.outline import Span, Unreadable, outlined
from gateway.adapters.openai_images.whole import AnswerRead, read_whole
from gateway.adapters.outbound.masking import Mask
from gateway.core.kinds import Rates
from gateway.core.model import Run

T = TypeVar("T")

BLOCK_BYTES: Final = 256 * 1024
MAX_HEAD: Final = 65_536
PART, WHOLE, REFERENCE = ".part", ".answer", ".ref"
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_NAME: Final = re.compile(r"([A-Za-z0-9_]{1,64})-([0-9]{1,9})(\.part|\.answer|\.[0-9]{1,3}\.ref)")
_NO_RESERVING: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What file systems say that cannot set room aside."""


def name_of(run: Run) -> str:
    """What the files of a run's last submit are called."""
    return f"{run.id}-{run.attempts}"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A whole answer: its head as it was noted, and what it says. None: it cannot be read.

    `rates` are those that it is settled at, whatever becomes of its route; None: they are not
    said, or its upstream does not count."""

    status: int
    headers: Mapping[str, str]
    rates: Rates | None
    answer: AnswerRead | None
    trouble: str = ""


class AnswerSpool:
    """One folder for all upstreams of this kind (`gateway.ports.spool.PaidAnswers`). What is
    asynchronous raises OSError where the disk fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def open(self) -> None:
        """Makes the folder, before any call is made. Whole answers that lie there stay; the rest
        was cut off, is of no use, and may hold room that was set aside for what never came."""
        await in_thread(partial(_tidy, self.folder))

    def arriving(self, run: Run) -> Arriving:
        """The file for the answer to a run's submit; nothing is written yet."""
        return Arriving(self.folder, name_of(run))

    def reference(self, run: Run, index: int) -> Path:
        return self.folder / f"{name_of(run)}.{index}{REFERENCE}"

    def path(self, name: str) -> Path:
        """Where the whole answer of this name lies, if it does."""
        return self.folder / f"{name}{WHOLE}"

    async def read(self, name: str, mask: Mask) -> Spooled | None:
        """The whole answer of this name; None when none is here."""
        return await in_thread(partial(_spooled, self.path(name), mask))

    async def span(self, name: str, index: int) -> Span | None:
        """Where a picture of the answer is written out; None when it is not."""
        spooled = await self.read(name, Mask(""))
        pictures = () if spooled is None or spooled.answer is None else spooled.answer.pictures
        found = pictures[index] if index < len(pictures) else None
        return found if isinstance(found, Span) else None

    async def damaged_bytes(self, name: str) -> int:
        """The size of a whole answer that can be read no more; 0 without one."""
        spooled = await self.read(name, Mask(""))
        damaged = spooled is not None and spooled.answer is None
        return (await in_thread(self.path(name).stat)).st_size if damaged else 0

    async def run_ids(self) -> Collection[str]:
        """The runs of which something lies here, whole or not."""
        return {run_id for run_id, _ in await in_thread(partial(_lying, self.folder))}

    async def remove(self, run_id: str) -> None:
        """Whatever lies here of the run; nothing is no error."""
        await in_thread(partial(_remove, self.folder, run_id))

    async def remove_references(self, run: Run) -> None:
        await in_thread(partial(_unlink, self.folder.glob(f"{name_of(run)}.*{REFERENCE}")))

    async def free_bytes(self) -> int:
        """The room left on its disk, in which something can be written; a folder that somebody has
        removed is made anew."""
        return await in_thread(partial(_room, self.folder))


class Arriving:
    """An answer while it comes in. Its methods block and may be called from any thread.

    They exclude each other: whoever is cancelled lets go of it while a thread may still write.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._part = folder / f"{name}{PART}"
        self._place = folder / f"{name}{WHOLE}"
        self._descriptor: int | None = None
        self._size = 0
        self._lock = threading.Lock()

    def begin(self, reserve_bytes: int) -> None:
        """Makes the file and sets room aside for it, before anything is paid."""
        with self._lock:
            _make(self._part.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            self._descriptor = os.open(self._part, flags, _FILE_MODE)
            _reserve(self._descriptor, reserve_bytes)

    def head(self, status: int, headers: Mapping[str, str], rates: Rates | None = None) -> None:
        """Notes the answer's head: once, and before its body."""
        told = {
            "status": status,
            "headers": dict(headers),
            "at": time.time(),
            "rates": None if rates is None else asdict(rates),
        }
        self.write(orjson.dumps(told) + b"\n")

    def write(self, batch: bytes | bytearray) -> None:
        with self._lock:
            descriptor = self._opened()
            rest = memoryview(batch)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._size += len(batch)

    def finish(self) -> None:
        """All of it is here: made durable, given its name, and that made durable."""
        with self._lock:
            descriptor = self._opened()
            os.ftruncate(descriptor, self._size)  # without the room that was left over
            os.fsync(descriptor)
            self._part.replace(self._place)
            _sync(self._place.parent)
            self._close()

    def discard(self) -> None:
        """Removes what is not whole; afterwards nothing can be written."""
        with self._lock:
            if self._descriptor is not None:
                self._close()
                with suppress(OSError):
                    self._part.unlink(missing_ok=True)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise OSError(errno.ECANCELED, "the answer was given up")
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


async def in_thread(work: Callable[[], T]) -> T:
    """Runs short work that blocks. Whoever is cancelled leaves it to its end."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def _reserve(descriptor: int, size_bytes: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno not in _NO_RESERVING:
            raise


def _spooled(path: Path, mask: Mask) -> Spooled | None:
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEAD)
            head = _head(line)
            if not line.endswith(b"\n"):
                file.seek(0)  # the head is gone, and the body may be whole
            try:
                outline = outlined(iter(partial(file.read, BLOCK_BYTES), b""), offset=file.tell())
                answer = read_whole(outline, partial(_at, file.fileno()), mask)
            except Unreadable as why:
                return Spooled(*head, None, str(why))
            return Spooled(*head, answer)
    except FileNotFoundError:
        return None


def _head(line: bytes) -> tuple[int, Mapping[str, str], Rates | None]:
    try:
        told: dict[str, Any] = orjson.loads(line)
        headers = {str(k): str(v) for k, v in told["headers"].items()}
        rates = told.get("rates")
        return int(told["status"]), headers, None if rates is None else Rates(**rates)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, {}, None


def _at(descriptor: int, span: Span) -> bytes:
    return os.pread(descriptor, span.length, span.start)


def _make(folder: Path) -> None:
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)


def _room(folder: Path) -> int:
    _make(folder)
    with tempfile.TemporaryFile(dir=folder):
        return shutil.disk_usage(folder).free


def _lying(folder: Path) -> Sequence[tuple[str, Path]]:
    """Every file that is the spool's own, with the id of its run."""
    _make(folder)
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return [(match[1], path) for match, path in named if match]


def _remove(folder: Path, run_id: str) -> None:
    _unlink(path for owner, path in _lying(folder) if owner == run_id)


def _tidy(folder: Path) -> None:
    with suppress(OSError):  # the sweep comes by again
        _unlink(path for _, path in _lying(folder) if path.suffix != WHOLE)
    _make(folder)


def _unlink(paths: Iterable[Path]) -> None:
    """All that can be; raises what came of the last that cannot."""
    stuck: OSError | None = None
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            stuck = error
    if stuck is not None:
        raise stuck


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
