"""Files of a new installation: each is put there whole, for its owner, and never over another.

Whatever stops this on the way, nothing half-written has a name that anything reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, for one such command at a time. Raises OSError.

    A folder that was made here goes again when the block fails and has left nothing in it.
    """
    made = _make(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
            with contextlib.suppress(OSError):  # some file systems cannot; the files are there
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _make(folder: Path) -> list[Path]:
    """The folders that had to be made, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(FOLDER_MODE, exist_ok=True)
    return missing


class NewFile:
    """A file's text, on the disk under a name that nobody reads, until it is put in its place."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises OSError, and leaves nothing then."""
        self._path = path
        self._written = path.with_name(f".{path.name}.new")
        self._written.unlink(missing_ok=True)  # of one that was killed: the folder is ours alone
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(self._written, flags, FILE_MODE), "w", encoding="utf-8") as file:  # noqa: PTH123
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                self.drop()
                raise

    def put(self) -> None:
        """Raises FileExistsError where something has the name already."""
        try:
            os.link(self._written, self._path)
        except FileExistsError:
            raise
        except OSError:  # some file systems have no second names
            self._written.rename(self._path)
        self.drop()

    def drop(self) -> None:
        self._written.unlink(missing_ok=True)
