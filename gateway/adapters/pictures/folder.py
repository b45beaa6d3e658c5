"""Pictures in a folder of the local disk: `<root>/<first two of digest>/<digest>.<extension>`.

A picture is written under a temporary name, proven, synced and only then linked to its own
name, so that a crash at any instruction leaves either nothing that can be seen or a whole
picture. Every system call runs in threads of the store's own. Nothing here knows about HTTP.

What is not there is missing only in the store itself (`marker`). A folder below it that somebody
removed while it runs is made again when a picture has to lie in it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from uuid import uuid4

import orjson

from gateway.adapters.pictures.decoders import Inspection
from gateway.adapters.pictures.decoding import for_paid, for_unpaid
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.adapters.pictures.marker import Marker
from gateway.adapters.pictures.signatures import HEAD_BYTES, kind_of
from gateway.adapters.pictures.unfolding import codings_of, unfolded
from gateway.adapters.pictures.unproven import Unproven
from gateway.core.model import Picture
from gateway.core.picture_errors import (
    MEDIA_TYPES,
    ORDINARY,
    LinkBroken,
    NotAPicture,
    Origin,
    PictureTooLarge,
    SetAside,
    StoreAway,
    StoreFull,
)

P = ParamSpec("P")
T = TypeVar("T")
Inspect = Callable[..., Awaitable[Inspection]]
"""`Decoding.inspect` for one team."""

_BATCH_BYTES: Final = 256 * 1024  # one hop to a thread costs as much as writing about this
_FOLDER_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_MAX_PIXELS: Final = 64_000_000  # eight times the largest that upstream makes
_TROUBLE_SECONDS: Final = 120.0  # a run tries again at least every 30 s: longer, and none waits
_NAME: Final = re.compile(rf"(?P<digest>[0-9a-f]{{64}})\.({'|'.join(MEDIA_TYPES)})")


class FolderPictures:
    """The `Pictures` port on a folder. One instance per process; `open` it before use.

    All but NotAPicture and PictureTooLarge that goes wrong here comes out as StoreFull.
    """

    def __init__(
        self, root: Path, *, max_pixels: int = _MAX_PIXELS, unproven: Unproven | None = None
    ) -> None:
        self._root = root
        self._unproven = unproven or Unproven(root.parent / "unproven")
        self._scratch = root / "tmp"
        self._marker = Marker(root)
        self._trouble: tuple[str, float] | None = None
        self._max_pixels = max_pixels
        # Apart from each other, so that a look-up for a cache hit waits neither for the disk to
        # sync nor for a decoder.
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="pictures-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="pictures-read")
        # Pictures that are not paid for never wait before one that is to be kept.
        self._paid = for_paid()
        self._unpaid = for_unpaid()

    @property
    def marker(self) -> Path:
        """Where the marker lies."""
        return self._root / MARKER

    async def any_there(self, pictures: Sequence[Picture]) -> bool:
        """Whether one of them at least is there in its full size."""
        return await _in_thread(self._readers, self._has_any, pictures)

    async def found(self) -> str | None:
        """The id of the store that the folder is now, as its marker says; None without one."""
        return await _in_thread(self._readers, self._marker.read)

    async def open(self, store_id: str | None = None) -> None:
        """Makes the folders and removes what writers that are gone have left unfinished.

        With an id the folder is that store from now on, and nothing is done in any other.
        """
        await _in_thread(self._writers, self._lay_out, store_id)

    async def problem(self) -> str | None:
        """Why pictures cannot be kept now, as a sentence; None when they can."""
        try:
            await self.require()
        except StoreFull as problem:
            return str(problem)
        if self._trouble and time.monotonic() - self._trouble[1] < _TROUBLE_SECONDS:
            return self._trouble[0]
        return None

    async def require(self) -> None:
        """Raises StoreAway when the folder is not this store, StoreFull when nobody can tell."""
        await _in_thread(self._readers, self._marker.require)

    async def keep(
        self, body: AsyncIterator[bytes], *, max_bytes: int, origin: Origin | None = None
    ) -> Picture:
        """Stores a whole, proven picture durably. Keeping the same bytes twice is harmless.

        A body that breaks may have brought the whole picture first, as under a wrong length: what
        came of it is proven like any other. Raises NotAPicture, PictureTooLarge or StoreFull; what
        `body` raises comes out unchanged. After any of them, and when cancelled, no temporary file
        stays behind; of an `origin` what is no picture is set aside.
        """
        drafts = [_Draft(self._scratch)]
        arriving = _Arriving(body)
        try:
            with self._told():
                await _in_thread(self._writers, self._begin, drafts[0])
            inspect = partial(self._paid.inspect, team=origin.team if origin else "")
            picture = await self._proven(drafts, arriving, max_bytes, inspect)
            with self._told():
                publish = partial(self._publish, drafts[-1], picture.name, Known.MEND)
                await _in_thread(self._writers, publish)
        except NotAPicture as problem:
            problem.digest = drafts[0].digest
            if origin is not None and drafts[0].size_bytes:
                work = partial(self._put_aside, drafts[0], origin, problem, arriving.broken)
                problem.set_aside = await _in_thread(self._writers, work)
            if arriving.broken is None:
                raise
            arriving.broken.set_aside = problem.set_aside
            raise arriving.broken from problem
        finally:
            await self._discard(drafts)
        self._trouble = None
        return picture

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are, as `keep` tells it, and raising as it does. Nothing stays behind.

        Only the kinds that upstream takes are pictures here.
        """
        drafts = [_Draft(self._scratch)]
        try:
            await _in_thread(self._writers, self._begin, drafts[0])
            inspect = partial(self._unpaid.inspect, team=team)
            picture = await self._proven(drafts, body, max_bytes, inspect)
        finally:
            await self._discard(drafts)
        if picture.extension not in ORDINARY:
            raise NotAPicture(f"it is a picture of another kind ({picture.extension})")
        return picture

    async def describe(
        self, picture: Picture, sidecar: Mapping[str, object], *, anew: bool = False
    ) -> None:
        """Writes the picture's provenance beside it as JSON, once: the first writer wins.

        With `anew` it takes the place of what was there.
        """
        draft = _Draft(self._scratch)
        text = orjson.dumps(dict(sidecar), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        try:
            with self._told():
                await _in_thread(self._writers, self._begin, draft)
                await _in_thread(self._writers, draft.write, text)
                name, how = f"{picture.digest}.json", Known.REPLACE if anew else Known.STAYS
                await _in_thread(self._writers, self._publish, draft, name, how)
        finally:
            await self._discard([draft])

    async def readable(self, pictures: Sequence[Picture]) -> bool:
        """True when every one of them is there in its full size. One hop for all.

        Raises StoreFull when the disk cannot tell, also as `require` does.
        """
        return await _in_thread(self._readers, self._has_all, pictures)

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away for good; none there is no error.

        The bytes go first: what a crash leaves behind tells whose they were.
        Raises StoreFull when the disk cannot be written.
        """
        await _in_thread(self._writers, self._remove, picture)

    def path(self, name: str) -> Path | None:
        """Where the picture called `digest.extension` is or would be; None for any other name."""
        return self._place(name) if _NAME.fullmatch(name) else None

    async def set_aside(self, run_id: str | None = None) -> Sequence[SetAside]:
        """The bytes that are set aside, of one run or of all, newest first."""
        return await _in_thread(self._readers, self._unproven.find, run_id)

    async def set_aside_content(self, name: str) -> AsyncIterator[bytes] | None:
        """What is set aside under this name, in chunks; None when nothing is."""
        path = self._unproven.path(name)
        if path is None or await _in_thread(self._readers, _size, path) is None:
            return None
        return self._pieces(path)

    async def _pieces(self, path: Path) -> AsyncIterator[bytes]:
        at = 0
        while piece := await _in_thread(self._readers, _piece, path, at):
            yield piece
            at += len(piece)

    async def forget_set_aside(self, run_id: str) -> None:
        """Takes away what is set aside of this run; nothing there is no error."""
        await _in_thread(self._writers, self._unproven.forget, run_id)

    async def free_bytes(self) -> int:
        """The room left for more. Raises as `require` does."""
        return await _in_thread(self._readers, self._free_bytes)

    async def close(self) -> None:
        """Waits for what the threads have begun. Safe to call twice."""
        for decoding in (self._paid, self._unpaid):
            await decoding.close()
        for pool in (self._writers, self._readers):
            await asyncio.to_thread(pool.shutdown)

    def _place(self, name: str) -> Path:
        return self._root / _below(name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the disk refuses while a picture is kept is remembered for `problem`."""
        try:
            yield
        except StoreAway:
            raise  # `problem` looks for itself
        except StoreFull as error:
            self._trouble = f"a picture could not be kept: {error}", time.monotonic()
            raise

    def _has_all(self, pictures: Sequence[Picture]) -> bool:
        """What is there needs no proof. What is not is missing only in the store itself, and is
        looked for through the folder that was found to be it."""
        if all(_size(self._place(p.name)) == p.size_bytes for p in pictures):
            return True
        with self._marker.itself() as root:
            return all(_size(_below(p.name), root) == p.size_bytes for p in pictures)

    def _has_any(self, pictures: Sequence[Picture]) -> bool:
        return any(_size(self._place(p.name)) == p.size_bytes for p in pictures)

    def _free_bytes(self) -> int:
        with self._marker.itself() as root:
            return shutil.disk_usage(root).free

    def _begin(self, draft: _Draft) -> None:
        """The draft's file: only in the store itself, whose scratch folder is made if need be."""
        self._marker.require()
        try:
            draft.begin()
        except FileNotFoundError:
            self._marker.make_folder(self._scratch.name)
            draft.begin()

    def _publish(self, draft: _Draft, name: str, known: Known) -> None:
        """A draft is never of another store than its name: both are below one root."""
        place = self._place(name)
        try:
            draft.publish(place, known)
        except FileNotFoundError:
            self._marker.make_folder(place.parent.name)
            draft.publish(place, known)

    def _remove(self, picture: Picture) -> None:
        place = self._place(picture.name)
        self._marker.require()
        place.unlink(missing_ok=True)
        self._place(f"{picture.digest}.json").unlink(missing_ok=True)
        # Also when nothing was there: whoever unlinked it may have died before this line.
        with suppress(FileNotFoundError):  # nor its folder, so neither of them
            _sync_folder(place.parent)
        self._marker.require()  # in another folder nothing was removed, and nobody may think so

    def _lay_out(self, store_id: str | None) -> None:
        self._root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # All at once, so that keeping a picture never has to make a folder durable first.
        for folder in (self._scratch, *(self._root / f"{number:02x}" for number in range(256))):
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        if store_id is not None and self._marker.read() != store_id:
            self._marker.write(store_id)
        if store_id is not None:
            self._marker.expect(store_id)
        _sync_folder(self._root)
        with suppress(PermissionError):  # a parent that is not ours is not ours to sync
            _sync_folder(self._root.parent)
        for path in self._scratch.iterdir():
            _remove_abandoned(path)
        self._unproven.clean()

    async def _receive(self, draft: _Draft, body: AsyncIterator[bytes], max_bytes: int) -> None:
        """Writes the body in batches: one hop for many small chunks."""
        batch = bytearray()
        received = 0
        async for chunk in body:
            received += len(chunk)
            if received > max_bytes:
                raise PictureTooLarge(f"more than {max_bytes} bytes")
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                await _in_thread(self._writers, draft.write, batch)
                batch = bytearray()
        if received == 0:
            raise NotAPicture("there are no bytes")
        if batch:
            await _in_thread(self._writers, draft.write, batch)

    async def _proven(
        self,
        drafts: list[_Draft],
        body: AsyncIterator[bytes],
        max_bytes: int,
        inspect: Inspect,
    ) -> Picture:
        """The picture that came into the draft, decoded by `inspect`.

        Where something was coded around it, what unfolds from it goes into a further draft.
        """
        await self._receive(drafts[0], body, max_bytes)
        await _in_thread(self._writers, self._unfold, drafts, max_bytes)
        draft = drafts[-1]
        facts = await inspect(draft.path, max_pixels=self._max_pixels)
        return Picture(
            digest=draft.digest,
            extension=facts.extension,
            size_bytes=draft.size_bytes,
            width=facts.width,
            height=facts.height,
        )

    def _unfold(self, drafts: list[_Draft], max_bytes: int) -> None:
        if codings := codings_of(drafts[0].path):
            drafts.append(_Draft(self._scratch))
            drafts[-1].fill(unfolded(drafts[0].path, codings, max_bytes=max_bytes))

    def _put_aside(
        self, draft: _Draft, origin: Origin, why: NotAPicture, broken: LinkBroken | None
    ) -> bool:
        """Of what came only in part, the longest stays."""
        with draft.path.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES)) or ""
        name = f"{origin.run_id}-{origin.index}"
        known = [one for one in self._unproven.find(origin.run_id) if one.name == name]
        if broken is not None and known and known[0].size_bytes >= draft.size_bytes:
            return True
        reason = str(why) if broken is None else f"it came only in part: {broken}"
        one = SetAside(name, origin, reason, kind, draft.digest, draft.size_bytes)
        return self._unproven.put(draft.path, one)

    async def _discard(self, drafts: Sequence[_Draft]) -> None:
        # Shielded: once begun it is done, even if the caller is cancelled a second time.
        loop = asyncio.get_running_loop()
        for draft in drafts:
            await asyncio.shield(loop.run_in_executor(self._writers, draft.discard))


class _Arriving:
    """A body that ends where it breaks, once something of it has come; `broken` is how."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._has_come = False
        self.broken: LinkBroken | None = None

    def __aiter__(self) -> _Arriving:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._body)
        except LinkBroken as problem:
            if not self._has_come:
                raise
            self.broken = problem
            raise StopAsyncIteration from problem
        self._has_come = self._has_come or bool(chunk)
        return chunk


class Known(Enum):
    """What becomes of a file that has the name already."""

    STAYS = "stays"
    MEND = "mend"  # it stays unless its size is wrong
    REPLACE = "replace"


class _Draft:
    """A file on its way to its name. Its methods block and may be called from any thread.

    They exclude each other, because a cancelled caller discards while a thread still writes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid4().hex}.part"
        self.size_bytes = 0
        self._sum = hashlib.sha256()
        self._descriptor: int | None = None
        self._is_discarded = False
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    def begin(self) -> None:
        """Makes the file, so that it is known where the draft lies before there are bytes."""
        with self._lock:
            self._opened()

    def write(self, batch: bytes | bytearray) -> None:
        with self._lock:
            descriptor = self._opened()
            rest = memoryview(batch)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            self._sum.update(batch)
            self.size_bytes += len(batch)

    def fill(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self.write(block)

    def publish(self, place: Path, known: Known) -> None:
        """Makes the draft durable, then visible at `place`, then its name durable."""
        with self._lock:
            os.fsync(self._opened())
            try:
                os.link(self.path, place)
            except FileExistsError:
                is_wrong = known is Known.MEND and _size(place) != self.size_bytes
                if is_wrong or known is Known.REPLACE:
                    self.path.replace(place)
            # Also when it was there: whoever linked it may have died before this line.
            _sync_folder(place.parent)

    def discard(self) -> None:
        """Removes the temporary name. Nothing can be written afterwards."""
        with self._lock:
            self._is_discarded = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with suppress(OSError):  # what stays behind is removed at the next start
                    self.path.unlink(missing_ok=True)
                with suppress(OSError):
                    os.close(descriptor)

    def _opened(self) -> int:
        if self._is_discarded:
            raise OSError(errno.ECANCELED, "the picture was given up")
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._descriptor = os.open(self.path, flags, _FILE_MODE)
            # Held until we close it or die: it tells `open` that somebody still writes.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._descriptor


def _below(name: str) -> Path:
    """Where the file of this name lies below the root."""
    return Path(name[:2], name)


def _size(path: Path, root: int | None = None) -> int | None:
    """The size of the file; with `root`, of the one at `path` below that open folder."""
    try:
        return os.stat(path, dir_fd=root).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _piece(path: Path, at: int) -> bytes:
    """Opened for each, so that nothing stays open when the reader goes away meanwhile."""
    with path.open("rb") as file:
        file.seek(at)
        return file.read(_BATCH_BYTES)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Removes a temporary file, unless a living writer holds its lock."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


async def _in_thread(
    pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Runs blocking work in a pool and translates what the machine may refuse."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(pool, partial(work, *args, **kwargs))
    except (OSError, MemoryError) as error:
        raise StoreFull(f"the picture store cannot do it now: {error}") from error
