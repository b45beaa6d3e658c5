"""The folder store: what is kept, what is refused, and that nothing unfinished stays behind."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pace import slowness
from picture_samples import KINDS, jpeg_of_many_scans, picture, stream

from gateway.adapters.pictures import decoding
from gateway.adapters.pictures.cost import Cost
from gateway.adapters.pictures.disk import BATCH_BYTES
from gateway.adapters.pictures.drafts import Draft
from gateway.adapters.pictures.folder import FolderPictures
from gateway.core.model import Picture
from gateway.core.picture_errors import (
    LinkBroken,
    NotAPicture,
    Origin,
    PictureTooLarge,
    StoreFull,
    TooCostly,
    name_of,
)
from gateway.ports.pictures import Found

LIMIT = 10**8


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderPictures]:
    store = FolderPictures(tmp_path / "pictures")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], set[str]]:
    """The names of all files in the store, temporary ones included."""

    def names() -> set[str]:
        return {path.name for path in (tmp_path / "pictures").rglob("*") if path.is_file()}

    return names


async def keep(store: FolderPictures, data: bytes, chunk_bytes: int = 16 * 1024) -> Picture:
    return await store.keep(stream(data, chunk_bytes), max_bytes=LIMIT)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture_is_kept_under_its_digest(
    store: FolderPictures, tmp_path: Path, files: Callable[[], set[str]], kind: str
) -> None:
    data = picture(kind)
    kept = await keep(store, data)
    digest = hashlib.sha256(data).hexdigest()
    family = kind.partition("-")[0]
    extension = {"jpeg": "jpg"}.get(family, family)
    assert kept == Picture(digest, extension, len(data), 40, 24)
    path = store.path(kept.name)
    assert path == tmp_path / "pictures" / digest[:2] / f"{digest}.{extension}"
    assert path.read_bytes() == data
    assert files() == {kept.name}


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 65_536, 262_144, 10**7])
async def test_chunks_of_any_size_make_the_same_picture(
    store: FolderPictures, chunk_bytes: int
) -> None:
    data = picture("png", 400, 250) if chunk_bytes > 1 else picture("png")
    kept = await keep(store, data, chunk_bytes)
    assert kept.digest == hashlib.sha256(data).hexdigest()
    assert kept.size_bytes == len(data)


async def test_only_the_owner_and_the_group_may_read(store: FolderPictures, tmp_path: Path) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"prompt": "a secret"})
    root = tmp_path / "pictures"
    assert {path.stat().st_mode & 0o027 for path in [root, *root.rglob("*")]} == {0}


async def test_keeping_the_same_bytes_twice_is_harmless(
    store: FolderPictures, files: Callable[[], set[str]]
) -> None:
    data = picture("webp")
    together = await asyncio.gather(*(keep(store, data) for _ in range(20)))
    again = await keep(store, data)
    assert {*together, again} == {again}
    assert files() == {again.name}


async def test_a_damaged_file_is_mended_by_keeping_the_picture_again(store: FolderPictures) -> None:
    data = picture("png")
    kept = await keep(store, data)
    path = store.path(kept.name)
    assert path is not None
    path.write_bytes(data[:100])
    assert not await store.readable([kept])
    await keep(store, data)
    assert await store.readable([kept])
    assert path.read_bytes() == data


# --- what is refused leaves nothing behind -----------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"<html>", picture("png")[:-1], picture("jpeg")[:500]])
async def test_what_is_not_a_picture_is_refused(
    store: FolderPictures, files: Callable[[], set[str]], data: bytes
) -> None:
    with pytest.raises(NotAPicture):
        await keep(store, data)
    assert files() == set()


async def test_the_byte_limit_is_exact(
    store: FolderPictures, files: Callable[[], set[str]]
) -> None:
    data = picture("png", 400, 250)
    with pytest.raises(PictureTooLarge, match="more than"):
        await store.keep(stream(data), max_bytes=len(data) - 1)
    assert files() == set()
    await store.keep(stream(data), max_bytes=len(data))
    assert len(files()) == 1


async def test_an_endless_body_is_cut_at_the_limit(store: FolderPictures) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 65_536
            yield bytes(65_536)

    with pytest.raises(PictureTooLarge):
        await store.keep(endless(), max_bytes=10**6)
    assert taken <= 10**6 + 65_536


async def test_the_pixel_limit_is_a_setting(tmp_path: Path) -> None:
    store = FolderPictures(tmp_path / "pictures", max_pixels=900)
    await store.open()
    with pytest.raises(NotAPicture, match="900 pixels"):
        await keep(store, picture("png"))
    await store.close()


@pytest.mark.parametrize("after", [0, 1, 30])
async def test_an_error_of_the_body_comes_out_unchanged(
    store: FolderPictures, files: Callable[[], set[str]], after: int
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(after):
            yield bytes(16 * 1024)
        raise ConnectionResetError("the line broke")

    with pytest.raises(ConnectionResetError, match="the line broke"):
        await store.keep(breaking(), max_bytes=LIMIT)
    assert files() == set()


async def broken(data: bytes) -> AsyncIterator[bytes]:
    async for chunk in stream(data, 50):
        yield chunk
    raise LinkBroken("the line broke")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_picture_is_kept_though_the_line_broke_behind_it(
    store: FolderPictures, kind: str
) -> None:
    kept = await store.keep(broken(picture(kind)), max_bytes=LIMIT)
    assert kept.digest == hashlib.sha256(picture(kind)).hexdigest()


async def test_what_came_before_the_line_broke_is_set_aside_and_the_line_is_at_fault(
    store: FolderPictures, files: Callable[[], set[str]]
) -> None:
    origin = Origin("run_1", 0, "art", "evolink", "files.example", "image/png", 1.0)
    whole = picture("png")
    for size in (80, 100, 60):
        with pytest.raises(LinkBroken, match="the line broke") as problem:
            await store.keep(broken(whole[:size]), max_bytes=LIMIT, origin=origin)
        assert problem.value.set_aside
    with pytest.raises(LinkBroken) as problem:
        await store.keep(broken(b""), max_bytes=LIMIT, origin=origin)
    assert not problem.value.set_aside
    (one,) = await store.set_aside()
    assert (one.size_bytes, one.kind) == (100, "PNG")
    assert one.reason == "it came only in part: the line broke"
    assert files() == set()


@pytest.mark.parametrize("chunks", [0, 1, 20, 40])
async def test_cancelling_while_the_body_arrives_leaves_nothing(
    store: FolderPictures, files: Callable[[], set[str]], chunks: int
) -> None:
    stuck = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield bytes(16 * 1024)
        stuck.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.keep(hanging(), max_bytes=LIMIT))
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files() == set()


async def test_cancelling_at_any_moment_leaves_nothing_or_a_whole_picture(
    store: FolderPictures, files: Callable[[], set[str]]
) -> None:
    """Cancels once, and a second time while it cleans up, after ever more turns of the loop."""
    data = picture("png", 400, 250)
    digest = hashlib.sha256(data).hexdigest()
    for turns in range(0, 120, 3):
        tasks = [asyncio.create_task(keep(store, data)) for _ in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()
    assert files() <= {f"{digest}.png"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
async def test_a_disk_that_refuses_is_a_full_store(
    store: FolderPictures,
    files: Callable[[], set[str]],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
) -> None:
    kept = await keep(store, picture("webp"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(StoreFull, match=os.strerror(code)):
            await keep(store, picture("png"))
        with pytest.raises(StoreFull, match=os.strerror(code)):
            await store.describe(kept, {"n": 1})
    assert files() == {kept.name}
    await keep(store, picture("png"))


async def test_a_short_write_is_completed(
    store: FolderPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1000]))
    kept = await keep(store, picture("png"))
    monkeypatch.undo()
    assert await store.readable([kept])


def test_a_write_that_comes_after_the_end_makes_no_file(tmp_path: Path) -> None:
    """A cancelled caller gives up while a thread is only about to write."""
    draft = Draft(tmp_path)
    draft.discard()
    with pytest.raises(OSError, match="given up"):
        draft.write(b"late")
    assert list(tmp_path.iterdir()) == []


# --- the sidecar -------------------------------------------------------------------------------


async def test_the_sidecar_lies_beside_the_picture(store: FolderPictures) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"prompt": "ein Baum im März", "n": 1, "cost": {"usd": 0.013}})
    path = store.path(kept.name)
    assert path is not None
    written = json.loads(path.with_suffix(".json").read_bytes())
    assert written == {"prompt": "ein Baum im März", "n": 1, "cost": {"usd": 0.013}}


async def test_the_first_sidecar_wins(store: FolderPictures, files: Callable[[], set[str]]) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"writer": 0})
    await asyncio.gather(*(store.describe(kept, {"writer": n, "more": n}) for n in range(1, 9)))
    path = store.path(kept.name)
    assert path is not None
    assert json.loads(path.with_suffix(".json").read_bytes()) == {"writer": 0}
    assert files() == {kept.name, f"{kept.digest}.json"}


# --- looking things up -------------------------------------------------------------------------


async def test_a_removed_picture_takes_its_sidecar_along(
    store: FolderPictures, files: Callable[[], set[str]]
) -> None:
    gone, other = await keep(store, picture("png")), await keep(store, picture("webp"))
    for one in (gone, other):
        await store.describe(one, {"prompt": "a secret"})
    await store.remove(gone)
    assert files() == {other.name, f"{other.digest}.json"}
    assert not await store.readable([gone])
    assert await store.readable([other])
    await store.remove(gone)
    assert await keep(store, picture("png")) == gone
    await store.describe(gone, {"prompt": "anew"})
    assert files() == {gone.name, f"{gone.digest}.json", other.name, f"{other.digest}.json"}


async def test_a_removal_that_stopped_half_way_is_finished_by_the_next(
    store: FolderPictures, files: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"prompt": "a secret"})
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".json":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreFull, match=os.strerror(errno.EROFS)):
            await store.remove(kept)
    assert files() == {f"{kept.digest}.json"}
    await store.remove(kept)
    assert files() == set()


async def test_readable_means_all_of_them_in_full(store: FolderPictures) -> None:
    one, two = await keep(store, picture("png")), await keep(store, picture("jpeg"))
    missing = Picture("0" * 64, "png", 9, 1, 1)
    assert await store.readable([])
    assert await store.readable([one, two, one])
    assert not await store.readable([one, missing])
    path = store.path(two.name)
    assert path is not None
    path.write_bytes(b"x" * (two.size_bytes - 1))
    assert not await store.readable([one, two])
    path.unlink()
    assert not await store.readable([two])


async def test_a_disk_that_cannot_tell_is_not_a_missing_picture(
    store: FolderPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(store, picture("png"))

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", broken)
        with pytest.raises(StoreFull):
            await store.readable([kept])


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "tmp",
        "a.png",
        "../" + "a" * 64 + ".png",
        "a" * 64,
        "a" * 64 + ".json",
        "a" * 64 + ".PNG",
        "a" * 64 + ".jpeg",
        "a" * 64 + ".png\n",
        "a" * 64 + ".png/",
        "a" * 64 + ".png\0",
        "/" + "a" * 64 + ".png",
        "A" * 64 + ".png",
        "a" * 63 + ".png",
        "a" * 65 + ".png",
        "a" * 62 + "/a.png",
        "..%2f" + "a" * 59 + ".png",
        "../../../etc/passwd",
        "../" * 21 + "a.png",
        "\uff41" * 64 + ".png",
        "\u0661" * 64 + ".png",
    ],
)
def test_no_name_but_a_pictures_own_has_a_path(tmp_path: Path, name: str) -> None:
    assert FolderPictures(tmp_path).path(name) is None


def test_a_name_that_is_not_kept_has_a_path_that_is_not_there(tmp_path: Path) -> None:
    path = FolderPictures(tmp_path).path("ab" * 32 + ".webp")
    assert path == tmp_path / "ab" / ("ab" * 32 + ".webp")
    assert not path.exists()


@pytest.mark.parametrize("size", [1, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 700_000])
async def test_a_small_picture_is_read_in_the_go_that_finds_it(
    store: FolderPictures, size: int
) -> None:
    """A large one piece by piece, so that a client that is slow holds no more of it."""
    name = f"{'ab' * 32}.png"
    path = store.path(name)
    assert path is not None
    path.write_bytes(content := os.urandom(size))
    for start, stop, told in ((0, None, content), (0, 5, content[:5]), (1, None, content[1:])):
        answer = await store.read(name, start, stop)
        assert answer is not None
        found, pieces = answer
        assert (found.size_bytes, found.path) == (size, path)
        is_small = size <= BATCH_BYTES and (start, stop) == (0, None)
        assert found.whole == (content if is_small else None)
        assert b"".join([piece async for piece in pieces]) == told
    assert (await store.find(name)) == Found(size, path.stat().st_mtime, path)


async def test_an_empty_file_is_found_and_is_no_whole_picture(store: FolderPictures) -> None:
    name = f"{'ab' * 32}.png"
    path = store.path(name)
    assert path is not None
    assert await store.read(name) is None
    path.touch()
    answer = await store.read(name)
    assert answer is not None and (answer[0].size_bytes, answer[0].whole) == (0, None)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreFull):
        await store.read(name)


async def test_the_free_room_is_the_disks(store: FolderPictures, tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    assert abs(await store.free_bytes() - disk.f_bavail * disk.f_frsize) < 2**30


# --- opening and closing -----------------------------------------------------------------------


async def test_opening_removes_what_a_dead_writer_left_and_only_that(
    store: FolderPictures, tmp_path: Path, files: Callable[[], set[str]]
) -> None:
    kept = await keep(store, picture("png"))
    scratch = tmp_path / "pictures" / "tmp"
    (scratch / "dead.part").write_bytes(b"half")
    with (scratch / "living.part").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        again = FolderPictures(tmp_path / "pictures")
        await again.open()
        assert files() == {kept.name, "living.part"}
    assert await again.readable([kept])
    await again.close()


async def test_another_process_that_opens_does_not_disturb_a_picture_on_its_way(
    store: FolderPictures, tmp_path: Path
) -> None:
    data = picture("png", 400, 250)
    written, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield data[:290_000]
        written.set()
        await go_on.wait()
        yield data[290_000:]

    task = asyncio.create_task(store.keep(body(), max_bytes=LIMIT))
    await written.wait()
    again = FolderPictures(tmp_path / "pictures")
    await again.open()
    go_on.set()
    assert await again.readable([await task])
    await again.close()


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderPictures(tmp_path / "file" / "pictures")
    with pytest.raises(StoreFull, match="file"):
        await store.open()
    await store.close()


async def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    store = FolderPictures(tmp_path / "pictures")
    await store.open()
    await store.close()
    await store.close()


def test_making_the_store_touches_no_disk(tmp_path: Path) -> None:
    FolderPictures(tmp_path / "pictures")
    assert list(tmp_path.iterdir()) == []


# --- the event loop ----------------------------------------------------------------------------


def waited_seconds() -> float:
    """How long this thread has waited for a processor that others had: not our doing."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


async def worst_lag_seconds(work: Awaitable[object]) -> float:
    """The longest that the loop did not come round while `work` was going on."""
    task = asyncio.ensure_future(work)
    worst = 0.0
    while not task.done():
        start, waited = time.perf_counter(), waited_seconds()
        await asyncio.sleep(0.0005)
        own = time.perf_counter() - start - 0.0005 - (waited_seconds() - waited)
        worst = max(worst, own)
    await task
    return worst


@pytest.mark.parametrize(("kind", "size"), [("png", (900, 740)), ("webp", (1500, 1400))])
async def test_keeping_pictures_never_holds_the_event_loop(
    store: FolderPictures, kind: str, size: tuple[int, int]
) -> None:
    data = picture(kind, *size)

    async def eight() -> None:
        await asyncio.gather(*(keep(store, data) for _ in range(8)))

    # The best of some rounds, because a busy machine may stop the other threads as well.
    rounds = [await worst_lag_seconds(eight())]
    longest = 0.010 * slowness()
    while min(rounds) >= longest and len(rounds) < 8:
        rounds.append(await worst_lag_seconds(eight()))
    assert min(rounds) < longest, rounds


async def test_a_paid_picture_that_costs_too_much_is_no_fault_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PAID", Cost(cpu_seconds=0.3))
    store = FolderPictures(tmp_path / "pictures")
    await store.open()
    with pytest.raises(TooCostly) as problem:
        await keep(store, jpeg_of_many_scans(8000, 300))
    assert isinstance(problem.value, NotAPicture) and name_of(problem.value) == "NotAPicture"
    assert (await keep(store, picture("png"))).width == 40
    await store.close()


@pytest.mark.alone
async def test_slow_decodings_of_one_team_hold_up_neither_another_nor_what_is_paid(
    store: FolderPictures,
) -> None:
    slow = jpeg_of_many_scans(8000, 90)  # some seconds of a processor

    async def keep_for(data: bytes, team: str) -> None:
        origin = Origin("run-1", 0, team, "evolink", "files.test", "image/jpeg", 0.0)
        await store.keep(stream(data), max_bytes=LIMIT, origin=origin)

    async def prove_for(data: bytes, team: str) -> None:
        await store.prove(stream(data), max_bytes=LIMIT, team=team)

    for use in (keep_for, prove_for):
        begun = [asyncio.create_task(use(slow, "art")) for _ in range(6)]
        await asyncio.sleep(0.5)
        for call in (keep_for, prove_for):
            for team in ("bob", "carol"):
                await call(picture("png"), team)
        assert not any(task.done() for task in begun)
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
