"""The part of an audit that looks at pictures in a bucket: by lists, and each object when deep.

What is there is asked for shard by shard: the names and sizes of everything cost one request for a
thousand of them. What lies in an object is read only when the audit is deep.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.core.model import Picture
from gateway.ports.picture_places import DIGESTS, Lying, PicturePlace

if TYPE_CHECKING:
    from gateway.ports.ledger import Upkeep

AT_ONCE: Final = 8
PAGE: Final = 1000
SIDECAR: Final = ".json"


@dataclass(slots=True)
class Looked:
    """Sentences: what is lost, what lacks provenance, what has other bytes or another size."""

    lost: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)

    def cut(self, most: int) -> None:
        for said in (self.lost, self.bare, self.misnamed, self.unlike):
            del said[most:]


async def look(ledger: Upkeep, place: PicturePlace, *, deep: bool, most: int) -> Looked:
    """Holds what is on record against what is there. Raises `StoreFull` when nobody can tell."""
    looked, slots = Looked(), asyncio.Semaphore(AT_ONCE)
    async for shard, named in _by_shard(ledger):
        found = await place.lying(shard)
        for picture in named:
            _compare(place, picture, found, looked)
        _strays(place, found, {one.digest for one in named}, looked)
        if deep:
            known = {one.name: one for one in named}
            reading = (_read(place, name, known.get(name), slots, looked) for name in sorted(found))
            await asyncio.gather(*reading)
        looked.cut(most)
    return looked


async def _by_shard(ledger: Upkeep) -> AsyncIterator[tuple[str, list[Picture]]]:
    """Every shard, with those of its pictures that are on record: they come by digest."""
    page: list[Picture] = []
    after, is_last = "", False
    for shard in DIGESTS:
        named: list[Picture] = []
        while True:
            if not page and not is_last:
                page = list(await ledger.pictures(after=after, limit=PAGE))
                is_last, after = not page, page[-1].digest if page else after
            mine = [one for one in page if one.digest[:2] == shard]
            named += mine
            page = page[len(mine) :]
            if page or is_last:
                break
        yield shard, named


def _compare(
    place: PicturePlace, picture: Picture, found: Mapping[str, Lying], looked: Looked
) -> None:
    there = found.get(picture.name)
    if there is None or there.size_bytes != picture.size_bytes:
        has = "is not there" if there is None else f"has {there.size_bytes:,} bytes"
        looked.lost.append(
            f"{picture.name} {has} in {place.where}; it should have {picture.size_bytes:,} bytes."
        )
    if f"{picture.digest}{SIDECAR}" not in found:
        looked.bare.append(f"{picture.digest}{SIDECAR} is not there in {place.where}.")


def _strays(
    place: PicturePlace, found: Mapping[str, Lying], on_record: set[str], looked: Looked
) -> None:
    """A provenance file says what its picture was: without one it is a tale of nothing."""
    pictures = {name[:64] for name in found if not name.endswith(SIDECAR)} | on_record
    for name in sorted(found):
        if name.endswith(SIDECAR) and name[:64] not in pictures:
            looked.bare.append(f"{name} is there in {place.where}, and its picture is not.")


async def _read(
    place: PicturePlace,
    name: str,
    picture: Picture | None,
    slots: asyncio.Semaphore,
    looked: Looked,
) -> None:
    async with slots:
        pieces = await place.read(name)
        if pieces is None:
            return
        content = b"".join([piece async for piece in pieces])
    if name.endswith(SIDECAR):
        _provenance(name, content, looked)
        return
    digest = hashlib.sha256(content).hexdigest()
    if digest != name[:64]:
        looked.misnamed.append(f"{name} has the digest {digest}.")
    elif picture is not None:
        _measure(picture, content, looked)


def _provenance(name: str, content: bytes, looked: Looked) -> None:
    try:
        of_it = str(json.loads(content)["picture"]).startswith(name[:64])
    except (ValueError, KeyError, TypeError):
        looked.bare.append(f"{name} cannot be read.")
        return
    if not of_it:
        looked.bare.append(f"{name} tells of another picture.")


def _measure(picture: Picture, content: bytes, looked: Looked) -> None:
    """As wide and as high as its record says."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return
    if (width, height) != (picture.width, picture.height):
        looked.unlike.append(
            f"{picture.name} is {width}x{height} large; its record says"
            f" {picture.width}x{picture.height}."
        )
