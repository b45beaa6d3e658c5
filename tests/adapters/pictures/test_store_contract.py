"""What every picture store does, on a folder and on a real S3 server alike."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import shared_servers
from homes import BucketHome, FolderHome, Home, Store
from picture_samples import picture, stream

from gateway.core.model import Picture
from gateway.core.picture_errors import (
    LinkBroken,
    NotAPicture,
    Origin,
    PictureTooLarge,
    StoreAway,
)

LIMIT = 10**8
MISSING = Picture("ab" * 32, "webp", 9, 1, 1)


@pytest.fixture(params=["folder", "bucket"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "folder":
        return FolderHome(tmp_path)
    return BucketHome(shared_servers.s3(), tmp_path)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    store = home.store()
    assert await store.found() is None
    await store.open("this-store")
    yield store
    await store.close()


async def keep(store: Store, data: bytes) -> Picture:
    return await store.keep(stream(data), max_bytes=LIMIT)


async def part(store: Store, name: str, start: int = 0, stop: int | None = None) -> bytes:
    opened = await store.read(name, start, stop)
    assert opened is not None
    return b"".join([piece async for piece in opened[1]])


# --- kept --------------------------------------------------------------------------------------


async def test_a_picture_is_kept_found_and_read(home: Home, store: Store) -> None:
    data = picture("png", 800, 500)
    kept = await keep(store, data)
    assert kept == Picture(hashlib.sha256(data).hexdigest(), "png", len(data), 800, 500)
    assert home.read(kept.name) == data
    assert home.names() == {kept.name}
    found = await store.find(kept.name)
    assert found is not None and found.size_bytes == len(data) > 600_000
    assert await part(store, kept.name) == data
    for start, stop in ((0, 1), (5, 10), (len(data) - 3, len(data)), (300_000, None), (7, 10**9)):
        assert await part(store, kept.name, start, stop) == data[start:stop]
    assert await store.readable([kept])


async def test_keeping_the_same_bytes_twice_is_harmless(home: Home, store: Store) -> None:
    data = picture("webp")
    together = await asyncio.gather(*(keep(store, data) for _ in range(8)))
    again = await keep(store, data)
    assert {*together, again} == {again}
    assert home.names() == {again.name}


async def test_a_damaged_one_is_mended_by_keeping_it_again(home: Home, store: Store) -> None:
    data = picture("png")
    kept = await keep(store, data)
    home.write(kept.name, data[:100])
    assert not await store.readable([kept])
    await keep(store, data)
    assert await store.readable([kept])
    assert home.read(kept.name) == data


async def test_readable_means_all_of_them(store: Store) -> None:
    one, two = await keep(store, picture("png")), await keep(store, picture("jpeg"))
    assert await store.readable([])
    assert await store.readable([one, two, one])
    assert not await store.readable([one, MISSING])
    assert await store.any_there([MISSING, two])
    assert not await store.any_there([MISSING])


@pytest.mark.parametrize(
    "name",
    [MISSING.name, "", "..", "a.png", "a" * 64, "a" * 64 + ".json", "../" * 21 + "a.png", "\0"],
)
async def test_what_is_not_kept_is_not_found(store: Store, name: str) -> None:
    assert await store.find(name) is None
    assert await store.read(name) is None


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"<html>", picture("png")[:-1]])
async def test_what_is_not_a_picture_leaves_nothing(home: Home, store: Store, data: bytes) -> None:
    with pytest.raises(NotAPicture):
        await keep(store, data)
    assert home.names() == set()


async def test_the_byte_limit_is_exact(home: Home, store: Store) -> None:
    data = picture("png", 400, 250)
    with pytest.raises(PictureTooLarge, match="more than"):
        await store.keep(stream(data), max_bytes=len(data) - 1)
    assert home.names() == set()
    assert await store.keep(stream(data), max_bytes=len(data))


async def test_an_error_of_the_body_comes_out_unchanged(home: Home, store: Store) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield picture("png")[:100]
        raise ConnectionResetError("the line broke")

    with pytest.raises(ConnectionResetError, match="the line broke"):
        await store.keep(breaking(), max_bytes=LIMIT)
    assert home.names() == set()


async def test_cancelling_at_any_moment_leaves_nothing_or_a_whole_picture(
    home: Home, store: Store
) -> None:
    data = picture("png", 400, 250)
    for turns in range(0, 160, 16):
        tasks = [asyncio.create_task(keep(store, data)) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    name = f"{hashlib.sha256(data).hexdigest()}.png"
    assert home.names() <= {name}
    if home.names():
        assert home.read(name) == data


async def test_proving_keeps_nothing(home: Home, store: Store) -> None:
    proved = await store.prove(stream(picture("png")), max_bytes=LIMIT, team="art")
    assert (proved.width, home.names()) == (40, set())
    assert not await store.readable([proved])


# --- provenance --------------------------------------------------------------------------------


async def test_the_first_words_about_a_picture_stay_unless_they_are_written_anew(
    home: Home, store: Store
) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"prompt": "ein Baum im März", "writer": 0})
    await asyncio.gather(*(store.describe(kept, {"writer": n}) for n in range(1, 6)))
    name = f"{kept.digest}.json"
    assert json.loads(home.read(name)) == {"prompt": "ein Baum im März", "writer": 0}
    await store.describe(kept, {"writer": "anew"}, anew=True)
    assert json.loads(home.read(name)) == {"writer": "anew"}
    assert home.names() == {kept.name, name}


async def test_a_picture_is_kept_with_what_is_written_beside_it(home: Home, store: Store) -> None:
    for writer in range(2):
        kept = await store.keep(
            stream(picture("png")),
            max_bytes=LIMIT,
            beside=lambda one, writer=writer: {"width": one.width, "writer": writer},
        )
    name = f"{kept.digest}.json"
    assert json.loads(home.read(name)) == {"width": 40, "writer": 0}
    assert home.names() == {kept.name, name}


async def test_whether_a_picture_is_told_of_is_seen(home: Home, store: Store) -> None:
    """An erasure may take what is told while the bytes are written anew."""
    bare = await keep(store, picture("png"))
    assert await store.readable([bare]) and not await store.readable([bare], told=True)
    await store.describe(bare, {"writer": 0})
    assert await store.readable([bare], told=True)
    other = await keep(store, picture("webp"))
    assert not await store.readable([bare, other], told=True)
    await store.remove(bare)
    assert not await store.readable([bare], told=True)


async def test_a_removed_picture_takes_its_words_along(home: Home, store: Store) -> None:
    gone, other = await keep(store, picture("png")), await keep(store, picture("webp"))
    for one in (gone, other):
        await store.describe(one, {"prompt": "a secret"})
    for _ in range(2):
        await store.remove(gone)
        assert home.names() == {other.name, f"{other.digest}.json"}
    assert await store.find(gone.name) is None
    assert not await store.readable([gone])
    assert await keep(store, picture("png")) == gone


# --- set aside ---------------------------------------------------------------------------------


async def refuse(store: Store, data: bytes, origin: Origin) -> bool:
    with pytest.raises(NotAPicture) as problem:
        await store.keep(stream(data), max_bytes=LIMIT, origin=origin)
    assert problem.value.digest == hashlib.sha256(data).hexdigest()
    return problem.value.set_aside


def origin(run: str, *, index: int = 0, team: str = "art", at: float = 1.0) -> Origin:
    return Origin(run, index, team, "evolink", "files.example.org", "image/png", at)


async def test_paid_bytes_are_set_aside_as_they_came_until_they_are_forgotten(
    store: Store,
) -> None:
    page, half = b"<html>no picture</html>", picture("png", 800, 500)[:-100]
    assert await refuse(store, page, origin("run_1"))
    assert await refuse(store, half, origin("run_2", index=3, at=2.0))
    assert await refuse(store, page, origin("run_22", at=3.0))
    found = await store.set_aside()
    assert [one.name for one in found] == ["run_22-0", "run_2-3", "run_1-0"]
    (one,) = await store.set_aside("run_2")
    assert (one.size_bytes, one.kind, one.origin.index) == (len(half), "PNG", 3)
    content = await store.set_aside_content("run_2-3")
    assert content is not None
    assert b"".join([piece async for piece in content]) == half
    await store.forget_set_aside("run_2")
    assert [one.name for one in await store.set_aside()] == ["run_22-0", "run_1-0"]
    for name in ("run_2-3", "run_1-9", "../run_1-0", "", "run_1-0.bin"):
        assert await store.set_aside_content(name) is None


async def test_a_page_replaces_nothing_that_begins_like_a_picture(store: Store) -> None:
    assert await refuse(store, picture("png")[:-1], origin("run_1"))
    assert await refuse(store, b"<html>", origin("run_1"))
    (one,) = await store.set_aside("run_1")
    assert one.kind == "PNG"


async def test_of_what_came_in_part_the_longest_stays(store: Store) -> None:
    whole = picture("png")

    async def broken(size: int) -> AsyncIterator[bytes]:
        yield whole[:size]
        raise LinkBroken("the line broke")

    for size in (80, 100, 60):
        with pytest.raises(LinkBroken) as problem:
            await store.keep(broken(size), max_bytes=LIMIT, origin=origin("run_1"))
        assert problem.value.set_aside
    (one,) = await store.set_aside("run_1")
    assert (one.size_bytes, one.reason) == (100, "it came only in part: the line broke")


async def test_what_is_set_aside_has_bounds(home: Home) -> None:
    store = home.store(most_files=4, most_bytes=1_000)
    await store.open()
    for number in range(6):
        await refuse(store, b"%d" % number + bytes(99), origin(f"run_a{number}", at=number))
    await refuse(store, b"b" * 100, origin("run_b", team="other", at=0.0))
    held = [one.name for one in await store.set_aside()]
    assert held == ["run_a5-0", "run_a4-0", "run_a3-0", "run_b-0"]
    assert not await refuse(store, bytes(1_001), origin("run_c"))
    await store.close()


# --- whose store it is -------------------------------------------------------------------------


async def test_the_marker_outlives_the_process_and_an_operator_may_write_it(
    home: Home, store: Store
) -> None:
    again = home.store()
    assert await again.found() == "this-store"
    assert await again.open("this-store") == "this-store"
    home.mark("adopt\n")
    assert await again.found() == "adopt"
    await again.open("this-store")
    assert await again.found() == "this-store"
    await again.close()


@pytest.mark.parametrize("marker", [None, "another-store\n", ""])
async def test_in_another_store_nothing_is_missing_written_or_removed(
    home: Home, store: Store, marker: str | None
) -> None:
    kept = await keep(store, picture("png"))
    home.mark(marker)
    later = home.store()
    await later.expect("this-store")
    assert await later.readable([kept])  # what is there needs no proof
    for asked in (
        later.require(),
        later.readable([MISSING]),
        later.find(MISSING.name),
        later.read(MISSING.name),
        keep(later, picture("webp")),
        later.describe(kept, {"n": 1}),
        later.remove(kept),
    ):
        with pytest.raises(StoreAway):
            await asked
    assert await later.problem() is not None
    assert home.names() == {kept.name}
    home.mark("this-store\n")
    while await later.problem() is not None:
        await asyncio.sleep(0.01)
    assert not await later.readable([MISSING])
    await keep(later, picture("webp"))
    await later.close()


async def test_the_room_is_that_of_this_machines_disk(home: Home, store: Store) -> None:
    assert await store.free_bytes() > 0
    await store.close()
    await store.close()
