"""Files on disk for the length of a request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.web.spool import BATCH_BYTES, make_empty, read_pieces, spooled


async def content(path: Path) -> bytes:
    return b"".join([piece async for piece in read_pieces(path)])


async def test_files_come_out_as_they_went_in_and_are_gone_afterwards(tmp_path: Path) -> None:
    wanted = [b"", b"x", bytes(range(256)) * 8192, b"last"]
    assert len(wanted[2]) > BATCH_BYTES
    async with spooled(tmp_path, "these files") as spool:
        paths = []
        for one in wanted:
            paths.append(await spool.begin())
            for at in range(0, len(one), 60_001):
                await spool.add(one[at : at + 60_001])
        await spool.flush()
        assert [await content(path) for path in paths] == wanted
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_left_by_a_request_that_is_cancelled(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def request() -> None:
        async with spooled(tmp_path, "these files") as spool:
            await spool.begin()
            begun.set()
            while True:
                await spool.add(bytes(BATCH_BYTES))

    running = asyncio.ensure_future(request())
    await begun.wait()
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert list(tmp_path.iterdir()) == []


async def test_what_a_killed_process_left_is_gone_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "forms"
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "1").write_bytes(b"x")
    await make_empty(folder)
    assert list(folder.iterdir()) == []


async def test_a_disk_that_takes_nothing_is_told_in_the_words_of_the_reader(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no room for these files just now"):
        async with spooled(tmp_path / "missing", "these files"):
            pass
