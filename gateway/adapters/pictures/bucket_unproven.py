"""Paid bytes that are no picture, in the bucket: so every gateway shows what any has set aside.

The rules are those of the folder (`setting_aside`). Two gateways that set aside in the same
instant may pass the bounds by what both bring, until the next one makes room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.pictures.bucket_client import Bucket, Seen
from gateway.adapters.pictures.setting_aside import (
    MOST_BYTES,
    MOST_FILES,
    Bytes,
    described,
    is_name,
    is_run,
    newest_first,
    read_back,
    stays,
    too_many,
    written_down,
)
from gateway.adapters.pictures.unproven import tell
from gateway.core.picture_errors import LinkBroken, NotAPicture, Origin, SetAside, StoreFull

log = structlog.get_logger("gateway.pictures")

FOLDER: Final = "unproven"
AT_ONCE: Final = 16
_BYTES: Final = {"Content-Type": "application/octet-stream", "Cache-Control": "no-store"}
_WORDS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}


class BucketUnproven:
    """`most_files` and `most_bytes` are for all of it together."""

    def __init__(
        self, bucket: Bucket, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES
    ) -> None:
        self._bucket = bucket
        self._most_files = most_files
        self._most_bytes = most_bytes

    async def keep(
        self,
        source: tuple[Path, Bytes],
        origin: Origin,
        why: NotAPicture,
        broken: LinkBroken | None,
    ) -> bool:
        """Sets the file's bytes aside; False when that was not possible, which harms nobody."""
        path, content = source
        one = described(content, origin, why, broken)
        try:
            if one.size_bytes > self._most_bytes:
                return False
            known = [found for found in await self.find(origin.run_id) if found.name == one.name]
            if stays(known[0] if known else None, one, in_part=broken is not None):
                return True
            await self._bucket.put(_key(one.name, "bin"), path, _BYTES, anew=True)
            written = written_down(one).encode()
            await self._bucket.put(_key(one.name, "json"), written, _WORDS, anew=True)
            await self._make_room(one.name)
        except StoreFull as error:
            log.warning("bytes not set aside", run=one.origin.run_id, reason=str(error))
            return False
        tell(one)
        return True

    async def find(self, run_id: str | None = None) -> Sequence[SetAside]:
        if run_id is not None and not is_run(run_id):
            return []
        # The library lists by whole parts of a name, so those of one run are picked out here.
        start = "" if run_id is None else f"{run_id}-"
        seen = [one for one in await self._contents() if _name(one).startswith(start)]
        found = await self._described(seen)
        return newest_first([one for one in found if run_id in (None, one.origin.run_id)])

    async def content(self, name: str) -> AsyncGenerator[bytes] | None:
        """What is set aside under this name, as it came."""
        if not is_name(name):
            return None
        opened = await self._bucket.read(_key(name, "bin"))
        return None if opened is None else opened[1]

    async def forget(self, run_id: str) -> None:
        if is_run(run_id):
            for one in await self._contents():
                if _name(one).rpartition("-")[0] == run_id:
                    await self._drop(_name(one))

    async def _contents(self) -> list[Seen]:
        return [one for one in await self._bucket.listed(FOLDER) if one.key.endswith(".bin")]

    async def _described(self, seen: Sequence[Seen]) -> list[SetAside]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def described_one(one: Seen) -> SetAside | None:
            async with turns:
                written = await self._bucket.get(_key(_name(one), "json"))
            return read_back(
                _name(one), written, size_bytes=one.size_bytes, changed_at=one.changed_at
            )

        found = await asyncio.gather(*(described_one(one) for one in seen))
        return [one for one in found if one is not None]

    async def _make_room(self, newest: str) -> None:
        """The descriptions are read only when there is too much."""
        seen = await self._contents()
        total = sum(one.size_bytes for one in seen)
        if len(seen) > self._most_files or total > self._most_bytes:
            bounds = {"most_files": self._most_files, "most_bytes": self._most_bytes}
            for name in list(too_many(await self._described(seen), newest, **bounds)):
                await self._drop(name)

    async def _drop(self, name: str) -> None:
        for ending in ("bin", "json"):
            await self._bucket.delete(_key(name, ending))


def _key(name: str, ending: str) -> str:
    return f"{FOLDER}/{name}.{ending}"


def _name(seen: Seen) -> str:
    return seen.key.removeprefix(f"{FOLDER}/").removesuffix(".bin")
