"""Pictures in a folder of the local disk: `<root>/<first two of digest>/<digest>.<extension>`.

A picture is written under a temporary name, proven, synced and only then linked to its own
name, so that a crash at any instruction leaves either nothing that can be seen or a whole
picture. Every system call runs in threads of the store's own. Nothing here knows about HTTP.

What is not there is missing only in the store itself (`marker`). A folder below it that somebody
removed while it runs is made again when a picture has to lie in it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.adapters.pictures.disk import BATCH_BYTES, in_thread, pieces, refused, size_of, sync
from gateway.adapters.pictures.drafts import Draft, Known, remove_abandoned
from gateway.adapters.pictures.intake import MAX_PIXELS, Intake, IntakeDeps, StoreTrouble
from gateway.adapters.pictures.marker import FOLDER_MODE, Marker
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.adapters.pictures.sidecars import written_out
from gateway.adapters.pictures.unproven import Unproven
from gateway.core.model import Picture
from gateway.core.picture_errors import LinkBroken, NotAPicture, Origin, SetAside, StoreFull
from gateway.core.picture_names import is_picture_name
from gateway.ports.pictures import Beside, Found, StoreWords
from gateway.process.together import Together


class FolderPictures:
    """The `Pictures` port on a folder. One instance per process; `open` it before use.

    All but NotAPicture and PictureTooLarge that goes wrong here comes out as StoreFull.
    """

    def __init__(
        self, root: Path, *, max_pixels: int = MAX_PIXELS, unproven: Unproven | None = None
    ) -> None:
        self._root = root
        self._unproven = unproven or Unproven(root.parent / "unproven")
        self._scratch = root / "tmp"
        self._marker = Marker(root)
        self._trouble = StoreTrouble()
        # Apart from each other, so that a look-up for a cache hit waits neither for the disk to
        # sync nor for a decoder.
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="pictures-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="pictures-read")
        self._looks = Together(self._readers, self._look)
        self._intake = Intake(
            IntakeDeps(
                scratch=self._scratch,
                writers=self._writers,
                begin=self._begin,
                set_aside=self._set_aside,
                trouble=self._trouble,
                max_pixels=max_pixels,
            )
        )

    @property
    def words(self) -> StoreWords:
        """How an operator is told of a folder that may be another store's."""
        root, marker = shlex.quote(str(self._root)), shlex.quote(str(self._root / MARKER))
        make = "" if self._root.exists() else f"mkdir -p {root} && "
        return StoreWords(
            what=f"folder {self._root}",
            doubt="Its disk may not be mounted, or another one is.",
            mends="Mount the right folder, or put it back from a backup together with its marker.",
            adopt=f"{make}echo adopt > {marker}",
        )

    async def any_there(self, pictures: Sequence[Picture]) -> bool:
        """Whether one of them at least is there in its full size."""
        return await in_thread(self._readers, self._has_any, pictures)

    async def found(self) -> str | None:
        """The id of the store that the folder is now, as its marker says; None without one."""
        return await in_thread(self._readers, self._marker.read)

    async def open(self, store_id: str | None = None) -> str | None:
        """Makes the folders and removes what writers that are gone have left unfinished.

        With an id the folder is that store from now on, and nothing is done in any other.
        """
        await in_thread(self._writers, self._lay_out, store_id)
        return store_id

    async def expect(self, store_id: str) -> None:
        """From now on the folder has to be this store; it is neither opened nor made."""
        self._marker.expect(store_id)

    async def problem(self) -> str | None:
        """Why pictures cannot be kept now, as a sentence; None when they can."""
        try:
            await self.require()
        except StoreFull as problem:
            return str(problem)
        return self._trouble.words

    async def require(self) -> None:
        """Raises StoreAway when the folder is not this store, StoreFull when nobody can tell."""
        if (problem := await self._looks.ask(None)) is not None:
            raise problem.with_traceback(None)  # others are told it too

    async def keep(
        self,
        body: AsyncIterator[bytes],
        *,
        max_bytes: int,
        origin: Origin | None = None,
        beside: Beside | None = None,
    ) -> Picture:
        """Stores a whole, proven picture durably, and its provenance in the same hop. Keeping the
        same bytes twice is harmless.

        Raises as `Intake.proven` does. After an error, and when cancelled, no temporary file stays
        behind.
        """
        async with self._intake.proven(body, max_bytes=max_bytes, origin=origin) as (
            picture,
            draft,
        ):
            told = None if beside is None else written_out(beside(picture))
            with self._trouble.noted():
                await in_thread(self._writers, self._publish_picture, draft, picture, told)
        self._trouble.over()
        return picture

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are, as `keep` tells it, and raising as it does. Nothing stays behind.

        Only the kinds that upstream takes are pictures here.
        """
        return await self._intake.prove(body, max_bytes=max_bytes, team=team)

    async def describe(
        self, picture: Picture, sidecar: Mapping[str, object], *, anew: bool = False
    ) -> None:
        """Writes the picture's provenance beside it as JSON, once: the first writer wins.

        With `anew` it takes the place of what was there.
        """
        with self._trouble.noted():
            name, how = _beside(picture), Known.REPLACE if anew else Known.STAYS
            await in_thread(self._writers, self._describe, written_out(sidecar), name, how)
        self._trouble.over()

    async def readable(self, pictures: Sequence[Picture], *, told: bool = False) -> bool:
        """True when every one of them is there in its full size; `told`: and with its provenance.
        One hop for all.

        Raises StoreFull when the disk cannot tell, also as `require` does.
        """
        return await in_thread(self._readers, self._has_all, pictures, told=told)

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away for good; none there is no error.

        The bytes go first: what a crash leaves behind tells whose they were.
        Raises StoreFull when the disk cannot be written.
        """
        await in_thread(self._writers, self._remove, picture)

    async def find(self, name: str) -> Found | None:
        """What is kept under this name; None when nothing is, and for what is no name.

        Raises StoreFull when the disk cannot tell, also as `require` does.
        """
        path = self.path(name)
        return None if path is None else await in_thread(None, self._find, path)

    async def read(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[Found, AsyncGenerator[bytes]] | None:
        """What `find` says, and the bytes from `start` up to `stop`. Raises as it does."""
        path = self.path(name)
        if path is None:
            return None
        is_all = start == 0 and stop is None
        found = await in_thread(None, self._find, path, BATCH_BYTES if is_all else 0)
        if found is None:
            return None
        if found.whole is not None:
            return found, _one(found.whole)
        end = found.size_bytes if stop is None else min(stop, found.size_bytes)
        return found, pieces(self._readers, path, start, end)

    async def address(self, name: str) -> str | None:
        """Nobody else has it."""
        return None

    def path(self, name: str) -> Path | None:
        """Where the picture called `digest.extension` is or would be; None for any other name."""
        return self._place(name) if is_picture_name(name) else None

    async def set_aside(self, run_id: str | None = None) -> Sequence[SetAside]:
        """The bytes that are set aside, of one run or of all, newest first."""
        return await in_thread(self._readers, self._unproven.find, run_id)

    async def set_aside_content(self, name: str) -> AsyncIterator[bytes] | None:
        """What is set aside under this name, in chunks; None when nothing is."""
        path = self._unproven.path(name)
        if path is None or await in_thread(self._readers, size_of, path) is None:
            return None
        return pieces(self._readers, path)

    async def forget_set_aside(self, run_id: str) -> None:
        """Takes away what is set aside of this run; nothing there is no error."""
        if self._unproven.may_have(run_id):
            await in_thread(self._writers, self._unproven.forget, run_id)

    async def free_bytes(self) -> int:
        """The room left for more. Raises as `require` does."""
        return await in_thread(self._readers, self._free_bytes)

    async def close(self) -> None:
        """Waits for what the threads have begun. Safe to call twice."""
        await self._intake.close()
        await asyncio.to_thread(self._readers.shutdown)

    async def _set_aside(
        self, draft: Draft, origin: Origin, why: NotAPicture, broken: LinkBroken | None
    ) -> bool:
        return await in_thread(self._writers, self._unproven.keep, draft, origin, why, broken)

    def _place(self, name: str) -> Path:
        return self._root / _below(name)

    def _find(self, path: Path, whole_up_to: int = 0) -> Found | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return _found(path, whole_up_to)
        self._marker.require()
        with suppress(FileNotFoundError, NotADirectoryError):
            return _found(path, whole_up_to)  # it may have come back in between
        return None

    def _has_all(self, pictures: Sequence[Picture], *, told: bool) -> bool:
        """What is there needs no proof. What is not is missing only in the store itself, and is
        looked for through the folder that was found to be it."""

        def has(one: Picture, root: int | None) -> bool:
            place = _below if root is not None else self._place
            is_there = size_of(place(one.name), root) == one.size_bytes
            return is_there and (not told or size_of(place(_beside(one)), root) is not None)

        if all(has(one, None) for one in pictures):
            return True
        with self._marker.itself() as root:
            return all(has(one, root) for one in pictures)

    def _look(self, asked: Sequence[None]) -> Sequence[StoreFull | None]:
        """One look for all who wait for one, none of which began before they asked."""
        try:
            self._marker.require()
        except StoreFull as problem:
            return [problem] * len(asked)
        except (OSError, MemoryError) as error:
            return [refused(error)] * len(asked)
        return [None] * len(asked)

    def _has_any(self, pictures: Sequence[Picture]) -> bool:
        return any(size_of(self._place(p.name)) == p.size_bytes for p in pictures)

    def _free_bytes(self) -> int:
        with self._marker.itself() as root:
            return shutil.disk_usage(root).free

    def _begin(self, draft: Draft) -> None:
        """The draft's file: only in the store itself, whose scratch folder is made if need be."""
        self._marker.require()
        try:
            draft.begin()
        except FileNotFoundError:
            self._marker.make_folder(self._scratch.name)
            draft.begin()

    def _publish_picture(self, draft: Draft, picture: Picture, told: bytes | None) -> None:
        """Its own name goes in the same hop: each costs about 70 µs of the loop."""
        if told is None:
            self._publish((draft, picture.name, Known.MEND))
        else:
            with self._written(told) as beside:
                self._publish(
                    (draft, picture.name, Known.MEND),
                    (beside, _beside(picture), Known.STAYS),
                )
        draft.discard()

    def _describe(self, content: bytes, name: str, known: Known) -> None:
        self._marker.require()
        with self._written(content) as draft:
            self._publish((draft, name, known))

    def _publish(self, *drafts: tuple[Draft, str, Known]) -> None:
        """One after the other; all names lie in one folder, which is synced once.

        A draft is never of another store than its name: both are below one root.
        """
        folder = self._place(drafts[0][1]).parent
        try:
            self._link(drafts)
        except FileNotFoundError:
            self._marker.make_folder(folder.name)
            self._link(drafts)
        # Also where they were there: whoever linked them may have died before this line.
        sync(folder)

    def _link(self, drafts: Sequence[tuple[Draft, str, Known]]) -> None:
        for draft, name, known in drafts:
            draft.link(self._place(name), known)

    @contextmanager
    def _written(self, content: bytes) -> Iterator[Draft]:
        draft = Draft(self._scratch)
        try:
            self._begin(draft)
            draft.write(content)
            yield draft
        finally:
            draft.discard()

    def _remove(self, picture: Picture) -> None:
        place = self._place(picture.name)
        self._marker.require()
        place.unlink(missing_ok=True)
        self._place(_beside(picture)).unlink(missing_ok=True)
        # Also when nothing was there: whoever unlinked it may have died before this line.
        with suppress(FileNotFoundError):  # nor its folder, so neither of them
            sync(place.parent)
        self._marker.require()  # in another folder nothing was removed, and nobody may think so

    def _lay_out(self, store_id: str | None) -> None:
        self._root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # All at once, so that keeping a picture never has to make a folder durable first.
        for folder in (self._scratch, *(self._root / f"{number:02x}" for number in range(256))):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if store_id is not None and self._marker.read() != store_id:
            self._marker.write(store_id)
        if store_id is not None:
            self._marker.expect(store_id)
        sync(self._root)
        with suppress(PermissionError):  # a parent that is not ours is not ours to sync
            sync(self._root.parent)
        for path in self._scratch.iterdir():
            remove_abandoned(path)
        self._unproven.clean()


def _beside(picture: Picture) -> str:
    return f"{picture.digest}.json"


def _found(path: Path, whole_up_to: int) -> Found:
    """With the bytes of one that is no larger: a hop to a thread costs as much as reading them."""
    if not whole_up_to:
        stat = path.stat()
        return Found(stat.st_size, stat.st_mtime, path)
    file = os.open(path, os.O_RDONLY)
    try:
        stat = os.fstat(file)
        whole = os.read(file, stat.st_size) if stat.st_size <= whole_up_to else b""
    finally:
        os.close(file)
    return Found(
        stat.st_size, stat.st_mtime, path, whole if len(whole) == stat.st_size > 0 else None
    )


async def _one(piece: bytes) -> AsyncGenerator[bytes]:
    yield piece


def _below(name: str) -> Path:
    """Where the file of this name lies below the root."""
    return Path(name[:2], name)
