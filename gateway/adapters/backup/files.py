"""Files carried from one folder to another: linked where the file system allows, else copied.

A file is seen under its own name only when it is whole and, if it is named by its digest, is what
it says. A crash leaves a draft at most, which the next one to come replaces. Blocking.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

DRAFT: Final = ".part"
READ_BYTES: Final = 1024 * 1024

_DIGEST: Final = re.compile(r"[0-9a-f]{64}(?=\.(?!json$)\w+$)")


class Damaged(Exception):
    """The file cannot be read, or its bytes are not those of the digest that names them."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """`owner`: whose the files shall be, where we may say so; None leaves each its own."""

    owner: tuple[int, int] | None = None

    def carry(self, source: Path, target: Path, *, may_link: bool = True) -> None:
        """Puts the file there, durably but for its name; in place of one that is there.

        Raises `Damaged`, `FileNotFoundError` when the source is gone, and `OSError`.
        """
        draft = target.with_name(f"{target.name}{DRAFT}")
        draft.unlink(missing_ok=True)
        try:
            linked = may_link and self._link(source, draft)
            found = digest_of(source) if linked and _digest_in(target) else None
            if not linked:
                found = self._copy(source, draft)
            if _digest_in(target) not in (None, found):
                raise Damaged(f"{source} has the digest {found}")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def make_folder(self, path: Path, mode: int) -> None:
        """Makes it and what is above it; one that is there stays as it is."""
        if path.is_dir():
            return
        self.make_folder(path.parent, mode)
        path.mkdir(mode)
        with suppress(PermissionError):
            path.chmod(mode)  # whatever the umask says
        self._give(path)

    def _link(self, source: Path, draft: Path) -> bool:
        if source.is_symlink() or not self._is_right(source.stat()):
            return False
        try:
            os.link(source, draft)
        except FileNotFoundError:
            raise
        except OSError:  # another device, no links there, too many of them, not allowed
            return False
        return True

    def _is_right(self, found: os.stat_result) -> bool:
        return self.owner is None or self.owner == (found.st_uid, found.st_gid)

    def _copy(self, source: Path, draft: Path) -> str:
        digest = hashlib.sha256()
        with _opened(source) as file:
            was = os.fstat(file.fileno())
            made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb") as copy:
                for block in _blocks(source, file):
                    digest.update(block)
                    copy.write(block)
                copy.flush()
                with suppress(PermissionError):  # a file system without modes has none to give
                    os.fchmod(made, was.st_mode & 0o777)
                self._give(draft, (was.st_uid, was.st_gid))
                os.utime(made, ns=(was.st_atime_ns, was.st_mtime_ns))
                os.fsync(made)
        return digest.hexdigest()

    def _give(self, path: Path, otherwise: tuple[int, int] | None = None) -> None:
        """Only root may; whoever else made it is its owner."""
        owner = self.owner or otherwise
        if owner is not None and os.geteuid() == 0:
            with suppress(PermissionError):
                os.chown(path, *owner)


def _digest_in(path: Path) -> str | None:
    """The digest that a picture's name is; None for any other name."""
    found = _DIGEST.match(path.name)
    return found[0] if found else None


def digest_of(path: Path) -> str:
    """Raises `Damaged` when it cannot be read, and `FileNotFoundError`."""
    digest = hashlib.sha256()
    with _opened(path) as file:
        for block in _blocks(path, file):
            digest.update(block)
    return digest.hexdigest()


def is_itself(path: Path) -> bool:
    """Whether a picture still has the digest that names it."""
    try:
        return digest_of(path) == _digest_in(path)
    except (Damaged, FileNotFoundError):
        return False


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error


def _blocks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """What cannot be read is the source's trouble; what cannot be written is not."""
    while True:
        try:
            block = file.read(READ_BYTES)
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {error.strerror}") from error
        if not block:
            return
        yield block


def is_same(source: os.stat_result, target: os.stat_result) -> bool:
    """Whether the one was carried from the other and neither has changed."""
    if (source.st_dev, source.st_ino) == (target.st_dev, target.st_ino):
        return True
    return (source.st_size, source.st_mtime_ns) == (target.st_size, target.st_mtime_ns)


def files_in(folder: Path, name: re.Pattern[str]) -> tuple[Mapping[str, os.stat_result], list[str]]:
    """The files of a folder by name, and the names of what does not belong there."""
    found: dict[str, os.stat_result] = {}
    strange: list[str] = []
    with suppress(FileNotFoundError):
        for entry in _entries(folder):
            if name.fullmatch(entry.name) and entry.is_file():
                with suppress(FileNotFoundError):
                    found[entry.name] = entry.stat()
            elif not entry.name.endswith(DRAFT):
                strange.append(entry.name)
    return found, strange


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def remove_drafts(folder: Path) -> None:
    """What a process that died has left unfinished."""
    for path in folder.glob(f"*{DRAFT}"):
        path.unlink(missing_ok=True)


def remove_draft(path: Path) -> None:
    """The one of this file, if there is any."""
    path.with_name(f"{path.name}{DRAFT}").unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes the names in it durable, as far as its file system knows how to."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """The whole file or the former one, durably."""
    draft = path.with_name(f"{path.name}{DRAFT}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    sync_folder(path.parent)
