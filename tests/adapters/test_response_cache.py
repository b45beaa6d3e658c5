"""The response cache: disposable, bounded, and never a way into the process."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cache_builders import a_done_run

from gateway.adapters.response_cache import (
    MAX_USED,
    MAX_WAITING,
    DiskResponseCache,
    NoCache,
    response_cache,
)
from gateway.core.codec import FORMAT, decode_run, encode_run
from gateway.core.model import Failure, FailureKind, RunState

LIMIT = 2_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
async def cache(folder: Path) -> AsyncIterator[DiskResponseCache]:
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await cache.open()
    yield cache
    await cache.close()


def by_hand(folder: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as db:
        assert db.execute(sql, values).rowcount == 1


# --- what it is for ------------------------------------------------------------------------------


async def test_a_run_comes_back_whole(cache: DiskResponseCache) -> None:
    run = a_done_run("f")
    assert await cache.get("f") is None
    await cache.put(run, ttl_seconds=60)
    assert await cache.get("f") == run
    assert cache.failures == 0


async def test_a_large_run_goes_through_a_file(cache: DiskResponseCache, folder: Path) -> None:
    run = replace(a_done_run("f"), request="x" * 100_000)
    await cache.put(run, ttl_seconds=60)
    assert len(list(folder.rglob("*.val"))) == 1
    assert await cache.get("f") == run


async def test_the_newer_run_replaces_the_older(cache: DiskResponseCache) -> None:
    newer = replace(a_done_run("f"), id="newer")
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.put(newer, ttl_seconds=60)
    assert await cache.get("f") == newer
    assert (await cache.size())[0] == 1


async def known(cache: DiskResponseCache) -> None:
    async with asyncio.timeout(10):
        while not cache._possible.is_known:
            await asyncio.sleep(0.01)


async def test_what_was_stored_before_a_restart_is_found_while_it_is_learnt_and_after(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.response_cache.disk_cache.LEARNT_AT_ONCE", 7)
    names = [f"f{number}" for number in range(40)]
    for again in range(2):
        cache = DiskResponseCache(folder, size_limit_bytes=LIMIT)
        await cache.open()
        if not again:
            await asyncio.gather(*(cache.put(a_done_run(one), ttl_seconds=60) for one in names))
        assert all(await asyncio.gather(*(cache.get(one) for one in names)))
        await known(cache)
        cache._lately.clear()
        assert all(await asyncio.gather(*(cache.get(one) for one in names)))
        await cache.close()


async def test_what_is_stored_behind_a_clearance_is_found(cache: DiskResponseCache) -> None:
    """Asked for together, it is stored in what was emptied."""
    await known(cache)
    await asyncio.gather(cache.clear(), cache.put(a_done_run("f"), ttl_seconds=60))
    cache._lately.clear()
    assert await cache.get("f") == a_done_run("f")


async def test_what_cannot_be_there_takes_no_look(cache: DiskResponseCache) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await known(cache)
    cache._read = lambda _: pytest.fail("it was looked for")  # type: ignore[method-assign]
    absent = [f"absent-{number}" for number in range(100)]
    taken = [one for one in absent if cache._possible.may_have(one)]  # by chance one at most
    assert len(taken) <= 1
    assert {await cache.get(one) for one in absent if one not in taken} == {None}


async def test_where_its_keys_cannot_be_told_each_is_looked_for(folder: Path) -> None:
    first = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await first.open()
    await first.put(a_done_run("f"), ttl_seconds=60)
    await first.close()
    by_hand(folder, "INSERT INTO Cache (key, raw, store_time) VALUES (7, 1, 0)")
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await cache.open()
    assert await cache.get("f") == a_done_run("f")
    assert not cache._possible.is_known
    await cache.close()


async def test_a_deleted_run_is_gone(cache: DiskResponseCache) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.delete("f")
    await cache.delete("never there")
    assert await cache.get("f") is None


async def test_a_cleared_cache_has_nothing_and_goes_on(
    cache: DiskResponseCache, folder: Path
) -> None:
    for number in range(30):
        await cache.put(a_done_run(f"f{number}"), ttl_seconds=60)
    await cache.put(replace(a_done_run("large"), request="x" * 100_000), ttl_seconds=60)
    assert await cache.get("f1") is not None
    await asyncio.gather(cache.clear(), *(cache.get(f"f{number}") for number in range(30)))
    assert (await cache.size())[0] == 0
    assert await cache.get("f1") is None
    assert list(folder.rglob("*.val")) == []
    await cache.put(a_done_run("f1"), ttl_seconds=60)
    assert await cache.get("f1") == a_done_run("f1")
    assert cache.failures == 0
    await cache.close()
    await cache.clear()


async def test_it_lives_no_longer_than_it_may(folder: Path) -> None:
    now = [0.0]
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.put(a_done_run("g"), ttl_seconds=0)
    by_hand(folder, "UPDATE Cache SET expire_time = expire_time - 59.5 WHERE key = 'f'")
    assert await cache.get("f") is not None
    by_hand(folder, "UPDATE Cache SET expire_time = expire_time - 1.0 WHERE key = 'f'")
    now[0] += 0.5  # what was read may be told again for as long as it had left, and no longer
    assert await cache.get("f") is None
    assert await cache.get("g") is None
    await cache.close()


async def test_what_was_read_within_the_second_is_not_read_again(folder: Path) -> None:
    now = [0.0]
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") is not None
    by_hand(folder, "DELETE FROM Cache")
    assert await cache.get("f") is not None
    now[0] += 1.0
    assert await cache.get("f") is None
    await cache.close()


@pytest.mark.parametrize("change", ["delete", "forget", "clear", "follow", "put"])
async def test_what_was_read_is_forgotten_with_its_entry(
    cache: DiskResponseCache, change: str
) -> None:
    former, newer = a_done_run("f"), replace(a_done_run("f"), id="run-2")
    await cache.put(former, ttl_seconds=60)
    reading = asyncio.gather(*(cache.get("f") for _ in range(20)))
    changes = {
        "delete": lambda: cache.delete("f"),
        "forget": lambda: cache.forget(["f"]),
        "clear": cache.clear,
        "follow": lambda: cache.follow(7),
        "put": lambda: cache.put(newer, ttl_seconds=60),
    }
    await changes[change]()
    await reading
    assert await cache.get("f") == (newer if change == "put" else None)


async def test_it_survives_a_restart(cache: DiskResponseCache, folder: Path) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.close()
    await cache.close()
    assert await cache.get("f") is None
    again = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await again.open()
    assert await again.get("f") == a_done_run("f")
    await again.close()


async def test_the_size_bound_holds_and_the_used_stay(folder: Path) -> None:
    """A use is written down once a second, so a second passes between any two of these."""
    seconds = count()
    cache = DiskResponseCache(
        folder, size_limit_bytes=LIMIT, monotonic=lambda: float(next(seconds))
    )
    await cache.open()
    hot = a_done_run("hot")
    await cache.put(hot, ttl_seconds=600)
    for number in range(600):
        run = replace(a_done_run(f"f{number}"), request="x" * 8_000)
        await cache.put(run, ttl_seconds=600)
        assert await cache.get("hot") == hot
    entries, size_bytes = await cache.size()
    assert size_bytes < LIMIT + 200_000
    assert 100 < entries < 300
    assert cache.failures == 0
    await cache.close()


async def test_the_settings_of_now_are_those_that_count(
    cache: DiskResponseCache, folder: Path
) -> None:
    await cache.close()
    by_hand(folder, "UPDATE Settings SET value = 'none' WHERE key = 'eviction_policy'")
    by_hand(folder, "UPDATE Settings SET value = 1 WHERE key = 'statistics'")
    again = DiskResponseCache(folder, size_limit_bytes=LIMIT // 2)
    await again.open()
    await again.close()
    with closing(sqlite3.connect(folder / "cache.db")) as db:
        settings = dict(db.execute("SELECT key, value FROM Settings"))
    assert settings["eviction_policy"] == "least-recently-used"
    assert settings["size_limit"] == LIMIT // 2
    assert settings["statistics"] == 0


async def test_the_folder_is_the_operators_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await cache.open()
    assert folder.stat().st_mode & 0o777 == 0o700
    await cache.close()


async def test_many_at_once_are_bounded(cache: DiskResponseCache) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    found = await asyncio.gather(*(cache.get("f") for _ in range(MAX_WAITING + 50)))
    assert sum(run is None for run in found) == 50
    assert await cache.get("f") is not None


# --- entries it cannot have written --------------------------------------------------------------


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


async def test_a_pickle_is_never_opened(
    cache: DiskResponseCache, folder: Path, tmp_path: Path
) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    by_hand(folder, "UPDATE Cache SET mode = 4, value = ?", bomb)
    assert await cache.get("f") is None
    assert cache.failures == 1
    (folder / "bomb.val").write_bytes(bomb)
    by_hand(folder, "UPDATE Cache SET mode = 4, value = NULL, filename = 'bomb.val'")
    assert await cache.get("f") is None
    assert not (tmp_path / "boom").exists()
    pickle.loads(bomb)
    assert (tmp_path / "boom").exists()


async def test_a_pickled_key_is_never_opened(
    cache: DiskResponseCache, folder: Path, tmp_path: Path
) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    by_hand(folder, "UPDATE Cache SET raw = 0, key = ?", bomb)
    assert await cache.get("f") is None
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") is not None
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("kind", ["above", "absolute", "symlink"])
async def test_no_file_outside_is_read_or_removed(
    cache: DiskResponseCache, folder: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside.val"
    outside.write_bytes(encode_run(a_done_run("f")))
    (folder / "link").symlink_to(tmp_path)
    filename = {
        "above": "../outside.val",
        "absolute": str(outside),
        "symlink": "link/outside.val",
    }[kind]
    await cache.put(a_done_run("f"), ttl_seconds=60)
    by_hand(folder, "UPDATE Cache SET mode = 2, value = NULL, filename = ?", filename)
    assert await cache.get("f") is None
    assert cache.failures == 1
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.delete("f")
    assert outside.exists()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":%d}' % FORMAT,
        encode_run(a_done_run("f")).replace(b'"format":%d' % FORMAT, b'"format":1'),
        encode_run(a_done_run("f")).replace(b'"state":"done"', b'"state":"gone"'),
        encode_run(a_done_run("f")).replace(b'"hold":[0,0,0]', b'"hold":[0,0,0,0]'),
        encode_run(a_done_run("another")),
        encode_run(replace(a_done_run("f"), state=RunState.RUNNING)),
        "text",
        7,
    ],
)
async def test_nonsense_is_a_miss_and_is_replaced(
    cache: DiskResponseCache, folder: Path, value: object
) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    by_hand(folder, "UPDATE Cache SET value = ?", value)
    assert await cache.get("f") is None
    assert cache.failures == 1
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") == a_done_run("f")


def test_a_run_comes_through_the_codec_unchanged() -> None:
    failure = Failure(FailureKind.REFUSED, "code", "ünïcode", status=422, body='{"x":1}')
    run = replace(
        a_done_run("f"), failure=failure, tried=("a/b",), lease_owner="w", lease_until=1.5
    )
    for one in (run, a_done_run("f"), replace(run, kept=(), links=(), joins=())):
        assert decode_run(encode_run(one)) == one
    with pytest.raises(ValueError, match="not a run"):
        decode_run(b"{}")


# --- a store that fails --------------------------------------------------------------------------


async def test_a_damaged_folder_is_rebuilt_at_the_opening(
    cache: DiskResponseCache, folder: Path
) -> None:
    await cache.put(replace(a_done_run("f"), request="x" * 100_000), ttl_seconds=60)
    await cache.close()
    (folder / "cache.db").write_bytes(b"nonsense" * 10_000)
    (folder / "mine.txt").write_text("not the cache's")
    again = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await again.open()
    assert again.failures == 1
    assert await again.get("f") is None
    await again.put(a_done_run("f"), ttl_seconds=60)
    assert await again.get("f") == a_done_run("f")
    assert not list(folder.rglob("*.val"))
    assert (folder / "mine.txt").exists()
    await again.close()


async def test_damage_while_it_runs_is_misses_until_it_is_rebuilt(folder: Path) -> None:
    now = [0.0]
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    for number in range(200):
        await cache.put(a_done_run(f"f{number}"), ttl_seconds=60)
    await cache.close()
    content = bytearray((folder / "cache.db").read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    (folder / "cache.db").write_bytes(content)
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    for number in range(200):
        assert await cache.get(f"f{number}") is None
    assert cache.failures >= 1
    now[0] += 6.0
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") == a_done_run("f")
    await cache.close()


async def test_a_lock_of_another_process_stops_no_read_and_makes_a_pause(folder: Path) -> None:
    now = [0.0]
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    await cache.put(a_done_run("f"), ttl_seconds=60)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await cache.get("f") == a_done_run("f")
        await cache.put(a_done_run("g"), ttl_seconds=60)
        assert cache.failures == 1
        assert await cache.get("f") is None
        await cache.put(a_done_run("g"), ttl_seconds=60)
        assert cache.failures == 1
    assert await cache.get("f") is None
    now[0] += 6.0
    assert await cache.get("f") == a_done_run("f")
    assert await cache.get("g") is None
    await cache.close()


async def test_what_is_cleared_during_a_pause_does_not_come_back(folder: Path) -> None:
    now = [0.0]
    cache = DiskResponseCache(folder, size_limit_bytes=LIMIT, monotonic=lambda: now[0])
    await cache.open()
    await cache.put(a_done_run("f"), ttl_seconds=60)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await cache.put(a_done_run("g"), ttl_seconds=60)
    assert cache.failures == 1
    await cache.clear()
    now[0] += 6.0
    assert await cache.get("f") is None
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") == a_done_run("f")
    await cache.close()


async def test_uses_are_written_even_when_nothing_is_stored(
    cache: DiskResponseCache, folder: Path
) -> None:
    await cache.put(a_done_run("f"), ttl_seconds=60)
    await cache.put(a_done_run("g"), ttl_seconds=60)
    by_hand(folder, "UPDATE Cache SET access_time = 1.0 WHERE key = 'f'")
    for number in range(MAX_USED):
        await cache.put(a_done_run(f"f{number}"), ttl_seconds=60)
    assert await cache.get("f") is not None
    for number in range(MAX_USED):
        assert await cache.get(f"f{number}") is not None
    by_hand(folder, "UPDATE Cache SET tag = 'used' WHERE key = 'f' AND access_time > 1.0")


async def test_a_folder_that_cannot_be_made_leaves_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskResponseCache(tmp_path / "file" / "cache", size_limit_bytes=LIMIT)
    await cache.open()
    assert cache.failures == 1
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") is None
    assert await cache.size() == (0, 0)
    await cache.delete("f")
    await cache.clear()
    await cache.close()


async def test_without_a_size_there_is_no_cache(folder: Path) -> None:
    cache = response_cache(folder, size_limit_bytes=0)
    assert isinstance(cache, NoCache)
    await cache.open()
    await cache.put(a_done_run("f"), ttl_seconds=60)
    assert await cache.get("f") is None
    await cache.delete("f")
    await cache.clear()
    assert await cache.size() == (0, 0)
    await cache.close()
    assert not folder.exists()


async def test_what_was_stored_goes_once_there_is_no_cache(folder: Path) -> None:
    former = DiskResponseCache(folder, size_limit_bytes=LIMIT)
    await former.open()
    await former.put(replace(a_done_run("f"), request="a secret wish " * 10_000), ttl_seconds=60)
    await former.close()
    assert any(b"a secret wish" in one.read_bytes() for one in folder.rglob("*") if one.is_file())
    await response_cache(folder, size_limit_bytes=0).open()
    assert not any(one.is_file() for one in folder.rglob("*"))
