"""Pictures carried from one place to another, shard by shard; what is there and proven stays.

A picture counts as carried when the target has given its bytes back and they have the digest that
names them. What was proven is kept in a record, so that a run that was cut does not read all of it
again. What was erased meanwhile is taken away in the target too, and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from gateway.adapters.pictures.places import PICTURE, digest_of
from gateway.core.model import Picture
from gateway.errors import Unavailable
from gateway.ports.picture_places import ASIDE, SHARDS, Lying, PicturePlace

AT_ONCE: Final = 8
"""A bucket answers each within some milliseconds, and many beside each other."""

NOTED_AT_ONCE: Final = 200
"""What a run that is cut may have to prove again."""

MOST_TOLD: Final = 100

Tell = Callable[[str, int, int], None]


class KnownToLedger(Protocol):
    """What the ledger knows of the pictures of a shard, and the record of what was proven."""

    def on_record(self, shard: str) -> Sequence[Picture]:
        """Not erased."""

    def erased(self, shard: str) -> frozenset[str]:
        """Digests of which every record is erased."""

    def proven(self, shard: str) -> Mapping[str, str]:
        """Version by name."""

    def note(self, shard: str, proven: Iterable[tuple[str, str]]) -> None: ...

    def totals(self) -> tuple[int, int]:
        """How many are on record, and their bytes."""


@dataclass(slots=True)
class PicturesCarried:
    """What is in the target now (`pictures`), and what this run did for it."""

    pictures: int = 0
    picture_bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    set_aside: int = 0
    removed: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def problems(self) -> Sequence[str]:
        """What the ledger names and the target has not, in sentences."""
        said = [f"The picture {name} is not there." for name in self.missing[:MOST_TOLD]]
        if len(self.missing) > MOST_TOLD:
            said.append(f"Nor are {len(self.missing) - MOST_TOLD:,} more.")
        return [*said, *self.damaged[:MOST_TOLD]]


class PictureMove:
    """From `source` to `target`; `open` it, `carry` as often as there may be more."""

    def __init__(self, source: PicturePlace, target: PicturePlace, *, tell: Tell) -> None:
        self._source = source
        self._target = target
        self._tell = tell
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def open(self, store_id: str) -> None:
        """Raises `Unavailable` where one of the two is not, or cannot become, that store."""
        await self._source.open()
        await self._target.open()
        if await self._source.found() != store_id:
            raise Unavailable(
                f"{_upper(self._source.where)} is not the one that belongs to the ledger: is its"
                " disk mounted?"
            )
        found = await self._target.found()
        if found == store_id:
            return
        if found is not None:
            raise Unavailable(
                f"{_upper(self._target.where)} has another installation's pictures: name another"
                " place."
            )
        if not await self._target.is_empty():
            raise Unavailable(
                f"{_upper(self._target.where)} is not empty, and has no marker that says whose it"
                " is: name another place."
            )
        await self._target.become(store_id)

    async def carry(self, known: KnownToLedger) -> PicturesCarried:
        carried = PicturesCarried()
        total = known.totals()[1]
        for at in range(0, len(SHARDS), AT_ONCE):
            shards = SHARDS[at : at + AT_ONCE]
            lists = await asyncio.gather(
                *(place.lying(one) for one in shards for place in (self._source, self._target))
            )
            for shard, here, there in zip(shards, lists[::2], lists[1::2], strict=True):
                await self._shard(shard, (here, dict(there)), known, carried)
            self._tell("bytes of pictures", min(carried.picture_bytes, total), total)
        return carried

    async def close(self) -> None:
        await self._source.close()
        await self._target.close()

    # --- one shard ---------------------------------------------------------------------------

    async def _shard(
        self,
        shard: str,
        lying: tuple[Mapping[str, Lying], dict[str, Lying]],
        known: KnownToLedger,
        carried: PicturesCarried,
    ) -> None:
        here, there = lying
        proven = known.proven(shard)
        wanted = [
            one for name, one in sorted(here.items()) if not _is_there(one, there.get(name), proven)
        ]
        for at in range(0, len(wanted), NOTED_AT_ONCE):
            part = wanted[at : at + NOTED_AT_ONCE]
            done = await asyncio.gather(*(self._one(one, there, carried) for one in part))
            known.note(shard, [(one.name, one.version) for one in done if one is not None])
            there.update({one.name: one for one in done if one is not None})
            self._tell("pictures", at + len(part), len(wanted))
        erased = known.erased(shard) if shard != ASIDE else frozenset()
        for name in sorted(there.keys() - here.keys()):
            if shard == ASIDE or name[:64] in erased:
                await self._target.remove(name)
                del there[name]
                carried.removed += 1
        self._count(shard, known, there, carried)

    async def _one(
        self, one: Lying, there: Mapping[str, Lying], carried: PicturesCarried
    ) -> Lying | None:
        """Carried and proven; None when it is not there any more, or damaged."""
        async with self._slots:
            is_picture = PICTURE.fullmatch(one.name) is not None
            same_size = one.name in there and there[one.name].size_bytes == one.size_bytes
            if is_picture and same_size and await self._reads(one.name) == one.name[:64]:
                return one  # a run that was cut had carried it
            with tempfile.TemporaryDirectory(prefix="image-gateway-") as folder:
                file = Path(folder) / "carried"
                digest = await self._fetched(one.name, file)
                if digest is None:
                    return None
                if is_picture and digest != one.name[:64]:
                    carried.damaged.append(
                        f"The picture {one.name} is damaged in {self._source.where}."
                    )
                    return None
                await self._target.put(one.name, file)
            if await self._reads(one.name) != digest:
                raise Unavailable(
                    f"{_upper(self._target.where)} does not give back what was written: {one.name}."
                )
            carried.new += is_picture
            carried.new_bytes += one.size_bytes
            return one

    async def _fetched(self, name: str, file: Path) -> str | None:
        """Its digest, once it is in the file."""
        pieces = await self._source.read(name)
        if pieces is None:
            return None
        digest = hashlib.sha256()
        with file.open("wb") as target:
            async for piece in pieces:
                digest.update(piece)
                target.write(piece)
        return digest.hexdigest()

    async def _reads(self, name: str) -> str | None:
        pieces = await self._target.read(name)
        return None if pieces is None else await digest_of(pieces)

    @staticmethod
    def _count(
        shard: str, known: KnownToLedger, there: Mapping[str, Lying], carried: PicturesCarried
    ) -> None:
        if shard == ASIDE:
            carried.set_aside = sum(name.endswith(".bin") for name in there)
            return
        for picture in known.on_record(shard):
            found = there.get(picture.name)
            if found is None or found.size_bytes != picture.size_bytes:
                carried.missing.append(picture.name)
        pictures = [one for one in there.values() if PICTURE.fullmatch(one.name)]
        carried.pictures += len(pictures)
        carried.picture_bytes += sum(one.size_bytes for one in pictures)


def _is_there(wanted: Lying, there: Lying | None, proven: Mapping[str, str]) -> bool:
    """As it is here, and proven: a picture has one version for ever."""
    if there is None or there.size_bytes != wanted.size_bytes or wanted.name not in proven:
        return False
    return bool(PICTURE.fullmatch(wanted.name)) or proven[wanted.name] == wanted.version


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
