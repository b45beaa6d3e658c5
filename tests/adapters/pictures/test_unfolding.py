"""Codings around a picture: the bytes decide, within the limit, and raw bytes are never lost."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from picture_samples import picture, stream

from gateway.adapters.pictures import arrival
from gateway.adapters.pictures.folder import FolderPictures
from gateway.adapters.pictures.unproven import Unproven
from gateway.core.picture_errors import NotAPicture, Origin, PictureTooLarge, TooCostly, Undecodable

LIMIT = 4_000_000
PNG = picture("png")
ORIGIN = Origin("run_1", 0, "blue", "evolink", "files.test", "image/png", 1.0)


def raw_deflate(data: bytes) -> bytes:
    folder = zlib.compressobj(wbits=-15)
    return folder.compress(data) + folder.flush()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderPictures]:
    one = FolderPictures(tmp_path / "pictures")
    await one.open()
    yield one
    await one.close()


@pytest.mark.parametrize(
    "fold",
    [
        gzip.compress,
        zlib.compress,
        raw_deflate,
        lambda data: gzip.compress(gzip.compress(data)),
        lambda data: zlib.compress(gzip.compress(data)),
        lambda data: gzip.compress(data)[:-8],  # without its own checksum
        lambda data: gzip.compress(data) + b"trailing",
    ],
    ids=["gzip", "zlib", "deflate", "twice", "both", "no checksum", "a tail"],
)
async def test_what_is_folded_is_kept_unfolded(
    store: FolderPictures, fold: Callable[[bytes], bytes]
) -> None:
    kept = await store.keep(stream(fold(PNG)), max_bytes=LIMIT)
    place = store.path(kept.name)
    assert place is not None and place.read_bytes() == PNG
    assert kept.size_bytes == len(PNG)


async def test_a_bomb_is_bounded(store: FolderPictures, tmp_path: Path) -> None:
    bomb = gzip.compress(PNG + bytes(300_000_000))
    with pytest.raises(PictureTooLarge, match="unfolded"):
        await store.keep(stream(bomb), max_bytes=LIMIT)
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("at", ["codings_of", "unfolded"])
@pytest.mark.parametrize("times", [1, 2])
async def test_who_goes_in_the_middle_leaves_nothing(
    store: FolderPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, times: int
) -> None:
    """Just as the second draft is about to be made, or is written; also who is cancelled twice."""
    is_there, may_go_on, work = threading.Event(), threading.Event(), getattr(arrival, at)

    def waiting(*args: Any, **kwargs: Any) -> Any:
        found = work(*args, **kwargs)
        is_there.set()
        may_go_on.wait(5)
        return found

    monkeypatch.setattr(arrival, at, waiting)
    proving = asyncio.create_task(store.prove(stream(gzip.compress(PNG)), max_bytes=LIMIT))
    await asyncio.to_thread(is_there.wait, 5)
    for _ in range(times):
        proving.cancel()
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await proving
    await store.close()
    assert list(tmp_path.rglob("*.part")) == []
    opened = [one.resolve() for one in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if tmp_path in path.parents]


NO_PICTURES = {
    "page": gzip.compress(b"<html>"),
    "cut": gzip.compress(PNG[:-20]),
    "head": b"\x1f\x8b?",
}


@pytest.mark.parametrize("data", NO_PICTURES.values(), ids=list(NO_PICTURES))
async def test_what_is_no_picture_once_it_is_unfolded(store: FolderPictures, data: bytes) -> None:
    with pytest.raises(NotAPicture) as problem:
        await store.keep(stream(data), max_bytes=LIMIT, origin=ORIGIN)
    assert problem.value.set_aside and problem.value.digest
    (found,) = await store.set_aside()
    content = await store.set_aside_content(found.name)
    assert content is not None and b"".join([piece async for piece in content]) == data


async def test_a_kind_that_upstream_takes_none_of_is_no_reference(store: FolderPictures) -> None:
    with pytest.raises(NotAPicture, match="gif"):
        await store.prove(stream(picture("gif")), max_bytes=LIMIT)
    assert (await store.prove(stream(picture("webp")), max_bytes=LIMIT)).extension == "webp"
    assert await store.set_aside() == []


async def test_a_decoding_that_costs_too_much_is_the_bytes_fault(
    store: FolderPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_costly(*_: object, **__: object) -> None:
        raise TooCostly("it takes more than 30 seconds of a processor")

    monkeypatch.setattr(store._intake._paid._decoders, "inspect", too_costly)
    with pytest.raises(Undecodable, match="30 seconds"):
        await store.keep(stream(PNG), max_bytes=LIMIT, origin=ORIGIN)
    assert [one.kind for one in await store.set_aside()] == ["PNG"]


# --- what is set aside ---------------------------------------------------------------------------


async def refuse(store: FolderPictures, data: bytes, origin: Origin) -> bool:
    with pytest.raises(NotAPicture) as problem:
        await store.keep(stream(data), max_bytes=LIMIT, origin=origin)
    return problem.value.set_aside


def of(run: str, index: int = 0, team: str = "blue", at: float = 1.0) -> Origin:
    return Origin(run, index, team, "evolink", "files.test", "text/html", at)


async def test_bytes_are_set_aside_for_their_owner_alone(
    store: FolderPictures, tmp_path: Path
) -> None:
    await refuse(store, PNG[:100], of("run_1"))
    folder = tmp_path / "unproven"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["run_1-0.bin", "run_1-0.json"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (one,) = await store.set_aside("run_1")
    assert (one.kind, one.size_bytes, one.origin) == ("PNG", 100, of("run_1"))
    assert "does not decode" in one.reason


async def test_a_page_never_replaces_what_begins_like_a_picture(store: FolderPictures) -> None:
    await refuse(store, b"<html>", of("run_1"))
    assert (await store.set_aside())[0].kind == ""
    await refuse(store, PNG[:100], of("run_1"))
    await refuse(store, b"<html>", of("run_1"))
    (one,) = await store.set_aside()
    assert one.kind == "PNG"
    await refuse(store, PNG[:90], of("run_1"))
    assert [one.size_bytes for one in await store.set_aside()] == [90]


async def test_what_is_set_aside_is_bounded_and_no_team_takes_anothers_room(tmp_path: Path) -> None:
    aside = Unproven(tmp_path / "unproven", most_files=4, most_bytes=1_000)
    store = FolderPictures(tmp_path / "pictures", unproven=aside)
    await store.open()
    await refuse(store, b"first", of("run_green", team="green", at=0.0))
    for number in range(9):
        await refuse(store, b"x" * 10, of(f"run_{number}", at=float(number)))
    names = [one.name for one in await store.set_aside()]
    assert names == ["run_8-0", "run_7-0", "run_6-0", "run_green-0"]
    await refuse(store, b"y" * 900, of("run_large", at=20.0))
    assert {one.name for one in await store.set_aside()} >= {"run_large-0", "run_green-0"}
    assert not await refuse(store, b"z" * 1_001, of("run_too_large", at=30.0))
    await store.close()


async def test_what_a_former_process_set_aside_is_forgotten_as_well(tmp_path: Path) -> None:
    for run in ("run_1", "run_2"):
        store = FolderPictures(tmp_path / "pictures")
        await store.open()
        await refuse(store, b"<html>", of(run))
        await store.close()
    store = FolderPictures(tmp_path / "pictures")
    await store.open()
    await store.forget_set_aside("run_1")
    assert [one.origin.run_id for one in await store.set_aside()] == ["run_2"]
    await store.forget_set_aside("run_2")
    assert not await store.set_aside()
    await store.close()


async def test_a_folder_that_takes_nothing_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "unproven").write_text("in the way")
    store = FolderPictures(tmp_path / "pictures")
    await store.open()
    assert not await refuse(store, b"<html>", of("run_1"))
    assert (await store.keep(stream(PNG), max_bytes=LIMIT)).extension == "png"
    await store.close()


async def test_a_run_is_forgotten_alone(store: FolderPictures) -> None:
    for run in ("run_1", "run_11"):
        await refuse(store, b"<html>", of(run))
        await refuse(store, b"<html>", of(run, index=1))
    await store.forget_set_aside("run_1")
    await store.forget_set_aside("run_1")
    await store.forget_set_aside("*")
    assert {one.origin.run_id for one in await store.set_aside()} == {"run_11"}


async def test_bytes_without_their_description_are_still_found(
    store: FolderPictures, tmp_path: Path
) -> None:
    await refuse(store, b"<html>", of("run_1"))
    (tmp_path / "unproven" / "run_1-0.json").unlink()
    (tmp_path / "unproven" / "left.part").write_bytes(b"cut")
    (one,) = await store.set_aside("run_1")
    assert (one.name, one.size_bytes, one.origin.run_id) == ("run_1-0", 6, "run_1")
    again = FolderPictures(tmp_path / "pictures")
    await again.open()
    assert not (tmp_path / "unproven" / "left.part").exists()
    await again.close()


@pytest.mark.parametrize("name", ["", "..", "run_1-0.json", "../pictures/x", "run_1", "run_9-0"])
async def test_only_what_is_set_aside_is_given_out(store: FolderPictures, name: str) -> None:
    await refuse(store, b"<html>", of("run_1"))
    assert await store.set_aside_content(name) is None
