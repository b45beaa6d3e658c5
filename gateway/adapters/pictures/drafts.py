"""Files on their way to a name: written under another one, synced, and only then to be seen."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import threading
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from gateway.adapters.pictures.disk import size_of

_FILE_MODE: Final = 0o640


class Known(Enum):
    """What becomes of a file that has the name already."""

    STAYS = "stays"
    MEND = "mend"  # it stays unless its size is wrong
    REPLACE = "replace"


class Draft:
    """A file on its way to its name. Its methods block and may be called from any thread.

    They exclude each other, because a cancelled caller discards while a thread still writes.
    """

    def __init__(self, folder: Path) -> None:
        # No secret. The system's own numbers let go of the interpreter, and the loop, which makes
        # drafts, has it back up to 5 ms later.
        self.path = folder / f"{random.getrandbits(128):032x}.part"
        self.size_bytes = 0
        self._sum = hashlib.sha256()
        self._descriptor: int | None = None
        self.is_discarded = False
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    def require(self) -> None:
        """Raises OSError where it is given up."""
        if self.is_discarded:
            raise OSError(errno.ECANCELED, "the picture was given up")

    def begin(self) -> None:
        """Makes the file, so that it is known where the draft lies before there are bytes."""
        with self._lock:
            self._opened()

    def write(self, batch: bytes | bytearray) -> None:
        with self._lock:
            descriptor = self._opened()
            rest = memoryview(batch)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._sum.update(batch)
            self.size_bytes += len(batch)

    def fill(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self.write(block)

    def link(self, place: Path, known: Known) -> None:
        """Makes the draft durable, then visible at `place`. Its name is not durable yet."""
        with self._lock:
            os.fsync(self._opened())
            try:
                os.link(self.path, place)
            except FileExistsError:
                is_wrong = known is Known.MEND and size_of(place) != self.size_bytes
                if is_wrong or known is Known.REPLACE:
                    self.path.replace(place)

    def discard(self) -> None:
        """Removes the temporary name. Nothing can be written afterwards."""
        with self._lock:
            self.is_discarded = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with suppress(OSError):  # what stays behind is removed at the next start
                    self.path.unlink(missing_ok=True)
                with suppress(OSError):
                    os.close(descriptor)

    def _opened(self) -> int:
        self.require()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._descriptor = os.open(self.path, flags, _FILE_MODE)
            # Held until we close it or die: it tells `open` that somebody still writes.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._descriptor


def remove_abandoned(path: Path) -> None:
    """Removes a temporary file, unless a living writer holds its lock."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
