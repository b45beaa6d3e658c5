"""The picture folder as a place to be carried from or to: see `gateway.ports.picture_places`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from gateway.adapters.pictures.disk import sync
from gateway.adapters.pictures.marker import FOLDER_MODE, Marker
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.core.picture_errors import MEDIA_TYPES, StoreFull
from gateway.ports.picture_places import ASIDE, DIGESTS, SHARDS, Lying

T = TypeVar("T")

ASIDE_MODE: Final = 0o700
DRAFT: Final = ".part"
READ_BYTES: Final = 256 * 1024

PICTURE: Final = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(MEDIA_TYPES)})")
OURS: Final = re.compile(
    rf"[0-9a-f]{{64}}\.({'|'.join(MEDIA_TYPES)}|json)"
    rf"|{ASIDE}/[A-Za-z0-9_]{{1,100}}-\d{{1,4}}\.(bin|json)"
)


class PicturesInFolder:
    """The folders `pictures` and `unproven` of an installation."""

    def __init__(self, root: Path, aside: Path) -> None:
        self._root = root
        self._aside = aside

    @property
    def where(self) -> str:
        return f"the picture folder {self._root}"

    async def open(self) -> None:
        """Nothing has to be had first."""

    async def found(self) -> str | None:
        return await self._asked(Marker(self._root).read)

    async def become(self, store_id: str) -> None:
        def lay_out() -> None:
            self._root.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for folder in (self._root, *(self._root / shard for shard in DIGESTS)):
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
                _give(folder)
            Marker(self._root).write(store_id)
            _give(self._root / MARKER)

        await self._asked(lay_out)

    async def is_empty(self) -> bool:
        """Of pictures: a folder may be where a disk is mounted."""
        for shard in SHARDS:
            if await self.lying(shard):
                return False
        return True

    async def lying(self, shard: str) -> Mapping[str, Lying]:
        return await self._asked(self._lying, shard)

    async def read(self, name: str) -> AsyncIterator[bytes] | None:
        try:
            file = await asyncio.to_thread(self._place(name).open, "rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from error

        async def pieces() -> AsyncIterator[bytes]:
            with file:
                while piece := await self._asked(file.read, READ_BYTES):
                    yield piece

        return pieces()

    async def put(self, name: str, file: Path) -> None:
        await self._asked(self._put, name, file)

    async def remove(self, name: str) -> None:
        def unlink() -> None:
            place = self._place(name)
            place.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                sync(place.parent)

        await self._asked(unlink)

    async def close(self) -> None:
        """Nothing is held."""

    def _place(self, name: str) -> Path:
        folder, _, last = name.rpartition("/")
        return self._aside / last if folder else self._root / name[:2] / name

    def _lying(self, shard: str) -> Mapping[str, Lying]:
        folder, before = (self._aside, f"{ASIDE}/") if shard == ASIDE else (self._root / shard, "")
        found: dict[str, Lying] = {}
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                name = f"{before}{entry.name}"
                if OURS.fullmatch(name) and entry.is_file():
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        version = f"{stat.st_size}-{stat.st_mtime_ns}"
                        found[name] = Lying(name, stat.st_size, version)
        return found

    def _put(self, name: str, file: Path) -> None:
        place = self._place(name)
        is_aside = place.parent == self._aside
        if not place.parent.is_dir():
            place.parent.mkdir(mode=ASIDE_MODE if is_aside else FOLDER_MODE)
            _give(place.parent)
        draft = place.with_name(f"{place.name}{DRAFT}")
        try:
            with file.open("rb") as source, draft.open("wb") as target:
                os.fchmod(target.fileno(), 0o600 if is_aside else 0o640)
                while piece := source.read(READ_BYTES):
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            _give(draft)
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
        sync(place.parent)

    async def _asked(self, work: Callable[..., T], *values: object) -> T:
        try:
            return await asyncio.to_thread(work, *values)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> StoreFull:
        return StoreFull(f"{self.where} cannot be used: {error.strerror or error}")


def _give(path: Path) -> None:
    """What root makes belongs to whoever has the folder above it: the gateway may be another."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)


async def digest_of(pieces: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
