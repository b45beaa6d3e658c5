"""The marker: a file in the picture folder with the store's id, which the ledger has as well.

By it a folder is known for the store that it is. An empty mount point has none, and another
disk's folder has another: what is not there is then no proof of anything. Blocking; for threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.adapters.pictures.disk import open_folder, sync
from gateway.core.picture_errors import StoreAway

NAME: Final = ".store-id"
"""Hidden, so that whoever empties the folder by `rm -r pictures/*` leaves it what it is."""

FOLDER_MODE: Final = 0o750
"""Of every folder of the store."""

_READ_BYTES: Final = 256
_FILE_MODE: Final = 0o640


class Marker:
    """Knows which store the folder `root` has to be; until it is told, any folder will do."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._expected: str | None = None

    def read(self) -> str | None:
        """The first word of the marker that is there now; None where there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            root = open_folder(self._root)
            try:
                return _read(root)
            finally:
                os.close(root)
        return None

    def write(self, store_id: str) -> None:
        """Makes the folder that store, durably; a crash leaves the former marker or the new one."""
        made = self._root / f"{NAME}.new"
        made.unlink(missing_ok=True)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        try:
            os.write(descriptor, f"{store_id}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        made.replace(self._root / NAME)
        sync(self._root)

    def expect(self, store_id: str) -> None:
        """From now on the folder has to be this store."""
        self._expected = store_id

    @contextmanager
    def itself(self) -> Iterator[int]:
        """A descriptor of the folder, once it is known for the store that it has to be.

        What is done through it happens in this very folder, whatever is mounted over it meanwhile.
        Raises `StoreAway` for another folder, and `OSError` when the disk cannot tell.
        """
        try:
            root = open_folder(self._root)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreAway(f"the picture folder {self._root} is not there") from None
        try:
            self._require(root)
            yield root
        finally:
            os.close(root)

    def require(self) -> None:
        """Raises as `itself` does, once it is told which store it has to be."""
        if self._expected is not None:
            with self.itself():
                pass

    def make_folder(self, name: str) -> None:
        """Makes a folder anew that somebody has removed, in the store itself and nowhere else."""
        with self.itself() as root:
            with suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=root)
            os.fsync(root)

    def _require(self, root: int) -> None:
        if self._expected is None:
            return
        found = _read(root)
        if found is None:
            raise StoreAway(
                f"the picture folder {self._root} has no {NAME}: it is empty or another folder, "
                "as when its disk is not mounted"
            )
        if found != self._expected:
            raise StoreAway(f"the picture folder {self._root} belongs to another store")


def _read(root: int) -> str | None:
    try:
        descriptor = os.open(NAME, os.O_RDONLY | os.O_NONBLOCK, dir_fd=root)
    except FileNotFoundError:
        return None
    try:
        words = os.read(descriptor, _READ_BYTES).decode(errors="replace").split()
    finally:
        os.close(descriptor)
    return words[0] if words else None
