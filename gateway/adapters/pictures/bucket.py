"""Pictures in an S3-compatible bucket, laid out as `core.buckets` says.

A body is received and proven in a scratch folder of this machine, and only then put under its
name, unless it is there already; it counts when the bucket shows it in its full size. A picture
that is not found is missing only in a bucket that has just shown its marker. Every wait has its
end (`bucket_client`), and the event loop never waits at all.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.pictures.bucket_client import Bucket
from gateway.adapters.pictures.bucket_marker import BucketMarker
from gateway.adapters.pictures.bucket_unkept import BucketUnkept
from gateway.adapters.pictures.bucket_unproven import BucketUnproven
from gateway.adapters.pictures.disk import in_thread
from gateway.adapters.pictures.drafts import Draft, remove_abandoned
from gateway.adapters.pictures.intake import MAX_PIXELS, Intake, IntakeDeps, StoreTrouble
from gateway.adapters.pictures.setting_aside import Bytes
from gateway.adapters.pictures.sidecars import written_out
from gateway.core.buckets import MARKER, picture_key, provenance_key
from gateway.core.model import Picture
from gateway.core.picture_errors import (
    LinkBroken,
    NotAPicture,
    Origin,
    SetAside,
    StoreAway,
    StoreFull,
)
from gateway.core.picture_names import is_picture_name, media_type_of
from gateway.core.picture_signatures import HEAD_BYTES
from gateway.ports.pictures import Beside, Found, StoreWords

log = structlog.get_logger("gateway.pictures")

SIGNED_SECONDS: Final = 300.0
FOLDER_MODE: Final = 0o750
FOR_EVER: Final = "public, max-age=31536000, immutable"
WORDS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Serving:
    """Whether clients are sent elsewhere for the bytes, and the address of a CDN that has them."""

    redirects: bool = False
    cdn: str | None = None


class BucketPictures:
    """The `Pictures` port on a bucket. One instance per process; `open` it before use.

    All but NotAPicture and PictureTooLarge that goes wrong here comes out as StoreFull.
    """

    def __init__(
        self,
        bucket: Bucket,
        scratch: Path,
        *,
        serving: Serving | None = None,
        unproven: BucketUnproven | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._bucket = bucket
        self._scratch = scratch
        self._serving = serving or Serving()
        self._unproven = unproven or BucketUnproven(bucket)
        self._marker = BucketMarker(bucket)
        self._unkept = BucketUnkept(bucket, self._marker)
        self._trouble = StoreTrouble()
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="pictures-write")
        self._intake = Intake(
            IntakeDeps(
                scratch=scratch,
                writers=self._writers,
                begin=self._begin,
                set_aside=self._set_aside,
                trouble=self._trouble,
                max_pixels=max_pixels,
            )
        )

    @property
    def words(self) -> StoreWords:
        """How an operator is told of a bucket that may be another store's."""
        place = shlex.quote(f"{self._bucket.place}/{MARKER}")
        return StoreWords(
            what=f"bucket {self._bucket.place}",
            doubt="It may be another bucket, or another part of it, than it should be.",
            mends="Name the right one in storage.pictures, or carry pictures and marker over.",
            adopt=f"echo adopt | aws s3 cp - {place} (or write that object with any S3 tool)",
        )

    async def any_there(self, pictures: Sequence[Picture]) -> bool:
        """Whether one of them at least is there in its full size."""
        return any(await self._sized(pictures))

    async def found(self) -> str | None:
        """The id of the store that the bucket is now; None without a marker.

        Raises StoreFull, with what is wrong, when the bucket cannot be had.
        """
        await self._bucket.open()
        return await self._marker.read()

    async def open(self, store_id: str | None = None) -> str | None:
        """Makes the scratch folder; with an id the bucket is that store from now on.

        Returns the id that it has: of several that begin at the same time the first one's.
        Raises StoreFull when the bucket cannot be written.
        """
        await self._bucket.open()
        await in_thread(self._writers, self._lay_out)
        if store_id is None:
            return None
        became = await self._marker.claim(store_id)
        self._marker.expect(became)
        await self._try_writing(became)
        return became

    async def expect(self, store_id: str) -> None:
        """From now on the bucket has to be this store; it is neither opened nor made."""
        await self._bucket.open()
        self._marker.expect(store_id)

    async def problem(self) -> str | None:
        """Why pictures cannot be kept now, as a sentence; None when they can."""
        return await self._marker.problem() or self._trouble.words or self._unkept.words

    async def require(self) -> None:
        """Raises StoreAway when the bucket is not this store, StoreFull when nobody can tell."""
        self._marker.require_no_silence()
        await self._marker.require()

    async def keep(
        self,
        body: AsyncIterator[bytes],
        *,
        max_bytes: int,
        origin: Origin | None = None,
        beside: Beside | None = None,
    ) -> Picture:
        """Stores a whole, proven picture, and then its provenance. Keeping the same bytes twice is
        harmless.

        Raises as `Intake.proven` does. Nothing stays behind on this machine.
        """
        await self.require()
        async with self._intake.proven(body, max_bytes=max_bytes, origin=origin) as (
            picture,
            draft,
        ):
            key = picture_key(picture.name)
            async with self._unkept.noted(key, draft.size_bytes):
                attributes = {
                    "Content-Type": media_type_of(picture.name),
                    "Cache-Control": FOR_EVER,
                }
                await self._put(key, draft.path, attributes, draft.size_bytes)
        if beside is not None:
            with suppress(StoreFull):  # the bytes are there: whoever owns them tells of them again
                await self.describe(picture, beside(picture))
        self._trouble.over()
        return picture

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are, as `keep` tells it; nothing of them stays behind.

        Only the kinds that upstream takes are pictures here.
        """
        return await self._intake.prove(body, max_bytes=max_bytes, team=team)

    async def describe(
        self, picture: Picture, sidecar: Mapping[str, object], *, anew: bool = False
    ) -> None:
        """Writes the picture's provenance as JSON, once: the first writer wins, unless `anew`."""
        key, content = provenance_key(picture.digest), written_out(sidecar)
        await self.require()
        async with self._unkept.noted(key):
            try:
                await self._bucket.put(key, content, WORDS, anew=anew)
            except StoreAway:
                raise
            except StoreFull:  # it may have been written all the same
                if anew or await self._bucket.head(key) is None:
                    raise

    async def readable(self, pictures: Sequence[Picture], *, told: bool = False) -> bool:
        """True when every one of them is there in its full size; `told`: and with its provenance.

        Raises StoreFull when the bucket cannot tell, also as `require` does.
        """
        if all(await self._sized(pictures, told=told)):
            return True
        await self._marker.require_from_now()
        return all(await self._sized(pictures, told=told))

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away; none there is no error.

        The bytes go first: what a crash leaves behind tells whose they were. A bucket that keeps
        versions keeps them all the same. Raises StoreFull when the bucket cannot be written.
        """
        await self._marker.require_from_now()
        with self._doubting():
            await self._bucket.delete(picture_key(picture.name))
            await self._bucket.delete(provenance_key(picture.digest))
        await self._marker.require_from_now()  # in another bucket nothing was removed

    async def find(self, name: str) -> Found | None:
        """What is kept under this name; None when nothing is, and for what is no name.

        Raises StoreFull when the bucket cannot tell.
        """
        if not is_picture_name(name):
            return None
        self._marker.require_no_silence()
        seen = await self._bucket.head(picture_key(name))
        if seen is None:
            await self._marker.require_from_now()
            return None
        return Found(seen.size_bytes, seen.changed_at)

    async def read(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[Found, AsyncGenerator[bytes]] | None:
        """What `find` says, and the bytes from `start` up to `stop`. Raises as it does."""
        if not is_picture_name(name):
            return None
        self._marker.require_no_silence()
        opened = await self._bucket.read(picture_key(name), start, stop)
        if opened is None:
            await self._marker.require_from_now()
            return None
        seen, content = opened
        return Found(seen.size_bytes, seen.changed_at), content

    async def address(self, name: str) -> str | None:
        """Where clients fetch the picture of this name themselves; None when we send it."""
        if not (self._serving.redirects and is_picture_name(name)):
            return None
        if self._serving.cdn is not None:
            return f"{self._serving.cdn}/{name[:2]}/{name}"
        return await self._bucket.signed(picture_key(name), SIGNED_SECONDS)

    async def set_aside(self, run_id: str | None = None) -> Sequence[SetAside]:
        """The bytes that are set aside, of one run or of all, newest first."""
        return await self._unproven.find(run_id)

    async def set_aside_content(self, name: str) -> AsyncIterator[bytes] | None:
        """What is set aside under this name, in chunks; None when nothing is."""
        return await self._unproven.content(name)

    async def forget_set_aside(self, run_id: str) -> None:
        """Takes away what is set aside of this run; nothing there is no error."""
        await self._unproven.forget(run_id)

    async def free_bytes(self) -> int:
        """The room left for pictures on their way: in the scratch folder, on this machine."""
        return await in_thread(self._writers, self._free_bytes)

    async def close(self) -> None:
        """Waits for what the threads have begun. Safe to call twice."""
        await self._unkept.close()
        await self._marker.close()
        await self._intake.close()

    # --- inside --------------------------------------------------------------------------------

    async def _try_writing(self, store_id: str) -> None:
        """Keys that may not write are told now; what may be over by itself stops nobody."""
        try:
            if await self._marker.is_first_kept(store_id):
                return
            reason = "it writes over what is there although asked not to: the last writer wins"
        except StoreAway:
            raise
        except StoreFull as problem:
            reason = str(problem)
        log.warning("the bucket may not keep pictures", bucket=self._bucket.where, reason=reason)

    async def _put(
        self, key: str, path: Path, attributes: Mapping[str, str], size_bytes: int
    ) -> None:
        """The object is there in its full size afterwards, whoever put it there."""
        try:
            await self._bucket.put(key, path, attributes)
        except StoreAway:
            raise
        except StoreFull:  # it may have arrived all the same
            if await self._size(key) != size_bytes:
                raise
            return
        if await self._size(key) != size_bytes:  # somebody's damaged one: bytes never change
            await self._bucket.put(key, path, attributes, anew=True)
            if await self._size(key) != size_bytes:
                raise StoreFull(f"{self._bucket.where} does not show what was written there")

    async def _size(self, key: str) -> int | None:
        seen = await self._bucket.head(key)
        return None if seen is None else seen.size_bytes

    async def _sized(self, pictures: Sequence[Picture], *, told: bool = False) -> list[bool]:
        """Of each whether it is there in its full size, and of what is `told` beside each whether
        it is there; all are asked after side by side."""
        self._marker.require_no_silence()
        beside = [provenance_key(one.digest) for one in pictures] if told else []
        keys = [*(picture_key(one.name) for one in pictures), *beside]
        with self._doubting():
            sizes = await asyncio.gather(*(self._size(key) for key in keys))
        whole = [size == one.size_bytes for size, one in zip(sizes, pictures, strict=False)]
        return [*whole, *(size is not None for size in sizes[len(pictures) :])]

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """After a failure the bucket has to show itself before it is believed again."""
        try:
            yield
        except StoreFull:
            self._marker.doubt()
            raise

    async def _set_aside(
        self, draft: Draft, origin: Origin, why: NotAPicture, broken: LinkBroken | None
    ) -> bool:
        head = await in_thread(self._writers, _head, draft.path)
        content = Bytes(head, draft.digest, draft.size_bytes)
        return await self._unproven.keep((draft.path, content), origin, why, broken)

    def _begin(self, draft: Draft) -> None:
        try:
            draft.begin()
        except FileNotFoundError:
            self._lay_out()
            draft.begin()

    def _free_bytes(self) -> int:
        self._scratch.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        return shutil.disk_usage(self._scratch).free

    def _lay_out(self) -> None:
        self._scratch.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for path in self._scratch.iterdir():
            remove_abandoned(path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
