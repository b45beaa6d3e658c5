"""The pictures of a bucket come into a backup's folder, which is laid out as a picture folder is.

A picture is fetched once and proven by its digest; what was fetched keeps the time that the bucket
has for it, so that a provenance file that was written anew is known by it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from os import stat_result
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.adapters.backup.files import (
    DRAFT,
    Carrier,
    digest_of,
    files_in,
    is_itself,
    remove_drafts,
    sync_folder,
    write_file,
)
from gateway.adapters.backup.tree import (
    ASIDE_FILE,
    ASIDE_MODE,
    FOLDER_MODE,
    PICTURE_FILE,
    Tally,
    count,
    is_picture,
)
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.core.model import Picture
from gateway.core.picture_errors import PictureProblem
from gateway.errors import Unavailable
from gateway.ports.picture_places import ASIDE, Lying, PicturePlace

AT_ONCE: Final = 8
FILE_MODE: Final = 0o640
T = TypeVar("T")


class BucketTree:
    """As `Tree`, of a bucket. `close` it; it has an event loop of its own."""

    def __init__(
        self, place: PicturePlace, target: Path, carrier: Carrier, verify_all: bool = False
    ) -> None:
        self._place = place
        self._target = target
        self._carrier = carrier
        self._verify_all = verify_all
        self._runner = asyncio.Runner()

    def store_id(self) -> str | None:
        """The bucket's; raises `Unavailable` when it cannot be had."""

        async def found() -> str | None:
            await self._place.open()
            return await self._place.found()

        return self._done(found)

    def write_marker(self, store_id: str) -> None:
        write_file(self._target / MARKER, f"{store_id}\n".encode(), mode=FILE_MODE)

    def carry_shard(
        self, shard: str, named: Iterable[Picture], unwanted: frozenset[str], tally: Tally
    ) -> None:
        """Carries what is missing there; of digests that are unwanted nothing."""
        target = self._target / shard
        found = self._done(lambda: self._place.lying(shard))
        wanted = {name: one for name, one in found.items() if name[:64] not in unwanted}
        there = self._fetched(target, wanted, tally)
        count(target, list(named), wanted, there, tally)

    def carry_set_aside(self, target: Path, tally: Tally) -> None:
        """What is no picture as far as anybody can tell, as it is now."""
        lying = self._done(lambda: self._place.lying(ASIDE))
        found = {name.rpartition("/")[2]: one for name, one in lying.items()}
        there = self._fetched(target, found, Tally()) if found or target.is_dir() else {}
        tally.set_aside = sum(name.endswith(".bin") for name in found)
        tally.doomed += [target / name for name in there if name not in found]

    def close(self) -> None:
        with suppress(PictureProblem):
            self._runner.run(self._place.close())
        self._runner.close()

    # --- inside --------------------------------------------------------------------------------

    def _fetched(
        self, target: Path, wanted: Mapping[str, Lying], tally: Tally
    ) -> Mapping[str, stat_result]:
        """What is in the folder afterwards."""
        pattern = ASIDE_FILE if target.name == ASIDE else PICTURE_FILE
        remove_drafts(target)
        there = files_in(target, pattern)[0]
        lacking = [
            (name, one)
            for name, one in sorted(wanted.items())
            if not self._is_there(target / name, one, there.get(name))
        ]
        if not lacking:
            return there
        self._carrier.make_folder(target, ASIDE_MODE if target.name == ASIDE else FOLDER_MODE)
        slots = asyncio.Semaphore(AT_ONCE)

        async def all_of_it() -> None:
            await asyncio.gather(
                *(self._one(target / name, one, slots, tally) for name, one in lacking)
            )

        self._done(all_of_it)
        sync_folder(target)
        return files_in(target, pattern)[0]

    def _is_there(self, path: Path, wanted: Lying, there: stat_result | None) -> bool:
        if there is None or there.st_size != wanted.size_bytes:
            return False
        if PICTURE_FILE.fullmatch(path.name) and is_picture(path.name):
            return not (self._verify_all and not is_itself(path))
        return int(there.st_mtime) == int(wanted.changed_at)

    async def _one(self, path: Path, one: Lying, slots: asyncio.Semaphore, tally: Tally) -> None:
        async with slots:
            pieces = await self._place.read(one.name)
            if pieces is None:
                return  # erased meanwhile
            draft = path.with_name(f"{path.name}{DRAFT}")
            with draft.open("wb") as file:
                async for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fchmod(file.fileno(), FILE_MODE)
                os.fsync(file.fileno())
        is_one = PICTURE_FILE.fullmatch(path.name) is not None and is_picture(path.name)
        if is_one and digest_of(draft) != path.name[:64]:
            draft.unlink()
            tally.damaged.append(f"{path.name} is damaged in {self._place.where}")
            return
        os.utime(draft, (one.changed_at, one.changed_at))
        draft.replace(path)
        tally.new += is_one
        tally.new_bytes += one.size_bytes

    def _done(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return self._runner.run(work())
        except PictureProblem as problem:
            raise Unavailable(f"The pictures cannot be copied: {problem}.") from problem
