"""A part of a bucket as a move reads and writes it: the same names as in a folder, other places."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from gateway.adapters.pictures.bucket import FOR_EVER, WORDS
from gateway.adapters.pictures.bucket_client import Bucket, Seen
from gateway.adapters.pictures.bucket_marker import BucketMarker
from gateway.adapters.pictures.places import OURS, PICTURE
from gateway.core.buckets import picture_key, provenance_key
from gateway.core.picture_names import media_type_of
from gateway.ports.picture_places import ASIDE, Lying

_BYTES: Final = {"Content-Type": "application/octet-stream", "Cache-Control": "no-store"}


class PicturesInBucket:
    """See `PicturePlace`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._marker = BucketMarker(bucket)

    @property
    def where(self) -> str:
        return self._bucket.where

    async def open(self) -> None:
        await self._bucket.open()

    async def found(self) -> str | None:
        return await self._marker.read()

    async def become(self, store_id: str) -> None:
        await self._marker.claim(store_id)

    async def is_empty(self) -> bool:
        """Also of what no gateway would have put there: a marker is not written over it."""
        return not await self._bucket.listed(most=1)

    async def lying(self, shard: str) -> Mapping[str, Lying]:
        prefixes = [ASIDE] if shard == ASIDE else [f"pictures/{shard}", f"provenance/{shard}"]
        found = [_lying(one) for prefix in prefixes for one in await self._bucket.listed(prefix)]
        return {one.name: one for one in found if OURS.fullmatch(one.name)}

    async def read(self, name: str) -> AsyncIterator[bytes] | None:
        opened = await self._bucket.read(_key(name))
        return None if opened is None else opened[1]

    async def put(self, name: str, file: Path) -> None:
        if PICTURE.fullmatch(name):
            attributes = {"Content-Type": media_type_of(name), "Cache-Control": FOR_EVER}
        else:
            attributes = WORDS if name.endswith(".json") else _BYTES
        await self._bucket.put(_key(name), file, attributes, anew=True)

    async def remove(self, name: str) -> None:
        await self._bucket.delete(_key(name))

    async def close(self) -> None:
        await self._marker.close()


def _key(name: str) -> str:
    if name.startswith(f"{ASIDE}/"):
        return name
    return provenance_key(name[:64]) if name.endswith(".json") else picture_key(name)


def _lying(one: Seen) -> Lying:
    last = one.key.rpartition("/")[2]
    name = f"{ASIDE}/{last}" if one.key.startswith(f"{ASIDE}/") else last
    version = f"{one.size_bytes}-{one.tag or one.changed_at}"
    return Lying(name, one.size_bytes, version, one.changed_at)
