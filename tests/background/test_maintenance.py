"""What maintenance throws away: by the settings in force, until nothing old is left."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import pytest
from core_samples import a_policy, some_rules

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.adapters.pictures.folder import FolderPictures
from gateway.background.maintenance import ACCOUNTS_KEPT_SECONDS, PRUNE_ROWS, Maintenance
from gateway.core.catalog import Team
from gateway.core.kinds import Kind
from gateway.core.model import Claim, Run, Upload
from gateway.core.money.accounts import Account, AccountKey, Amounts, Window, Windows
from gateway.core.policy import Current, Policy
from gateway.core.transaction import Keys, View, Writes
from gateway.ports.ledger import Old

NOW = 1_760_000_000.0
DAY = 86_400.0
POLICY = a_policy(cache_ttl_seconds=3 * DAY, claims_retention_seconds=2 * DAY)


class Watched(SqliteLedger):
    """Tells when a pruning has left nothing to do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=lambda: NOW)
        self.clean = asyncio.Event()

    async def prune(self, old: Old, *, limit: int) -> int:
        pruned = await super().prune(old, limit=limit)
        if pruned < limit:
            self.clean.set()
        return pruned


class Clean(Protocol):
    async def __call__(self, writes: Writes, policy: Policy = POLICY) -> SqliteLedger: ...


@pytest.fixture
async def cleaned(tmp_path: Path) -> AsyncIterator[Clean]:
    """Gives ledgers with some records, each after the first round of maintenance."""
    opened: list[Watched] = []

    async def clean(writes: Writes, policy: Policy = POLICY) -> SqliteLedger:
        folder = tmp_path / str(len(opened))
        ledger, pictures = Watched(folder / "ledger.db"), FolderPictures(folder)
        opened.append(ledger)
        await ledger.open()
        await pictures.open()
        await ledger.transact(Keys(), lambda _: (None, writes))
        maintenance = Maintenance(
            ledger,
            pictures,
            current=Current(policy, lambda: NOW),
            clock=lambda: NOW,
            checked=lambda _: None,
        )
        await maintenance.start()
        async with asyncio.timeout(5):
            await ledger.clean.wait()
        await maintenance.stop()
        await pictures.close()
        return ledger

    yield clean
    for ledger in opened:
        await ledger.close()


async def look(ledger: SqliteLedger, keys: Keys) -> View:
    return await ledger.transact(keys, lambda view: (view, Writes()))


def claim(key: str, age_seconds: float) -> Claim:
    return Claim("alpha", key, "digest", "task", NOW - age_seconds)


async def test_idempotency_keys_are_kept_for_as_long_as_the_settings_say(cleaned: Clean) -> None:
    writes = Writes(claims=(claim("old", 2 * DAY + 1), claim("new", 2 * DAY - 1)))
    ledger = await cleaned(writes)
    assert (await look(ledger, Keys(claim=("alpha", "old")))).claim is None
    assert (await look(ledger, Keys(claim=("alpha", "new")))).claim is not None
    ledger = await cleaned(writes, replace(POLICY, claims_retention_seconds=DAY))
    assert (await look(ledger, Keys(claim=("alpha", "new")))).claim is None


async def test_a_link_names_its_file_for_as_long_as_the_cache_answers(cleaned: Clean) -> None:
    uploads = [
        Upload(f"file-{age}", "alpha", "evolink", "d", "a.png", 1, (f"u{age}",), NOW, NOW - age)
        for age in (3 * DAY + 1, 3 * DAY - 1)
    ]
    ledger = await cleaned(Writes(uploads=tuple(uploads)))
    urls = [upload.urls[0] for upload in uploads]
    assert await ledger.digests("alpha", urls) == {urls[1]: "d"}


async def test_short_accounts_go_when_their_week_is_over(cleaned: Clean) -> None:
    ends = int(NOW - ACCOUNTS_KEPT_SECONDS)
    keys = [
        AccountKey("alpha", Window.MINUTE, start, start + 60) for start in (ends - 60, ends + 60)
    ]
    accounts = [Account(key, spent=Amounts(1, 1, 1)) for key in keys]
    ledger = await cleaned(Writes(accounts=tuple(accounts)))
    assert await ledger.accounts(keys) == {keys[0]: Account(keys[0]), keys[1]: accounts[1]}


async def test_accounts_of_a_zone_that_is_new_in_force_are_made(cleaned: Clean) -> None:
    """So that no order, and no reading of the metrics, has to add up a month."""
    run = Run(
        id="run", fingerprint="f", team="alpha", model="m", quality="", n=1, request="{}",
        upstream="u", upstream_model="m", price_usd_micros=5, windows=Windows(0, 0, 0, 0, 0),
        hold=Amounts(5, 1, 1), created_at=NOW, deadline_at=NOW, due_at=NOW,
    )  # fmt: skip
    policy = replace(POLICY, teams={run.team: Team(run.team)}, zone=ZoneInfo("Asia/Kathmandu"))
    ledger = await cleaned(Writes(runs=(run,)), policy)
    made = (await look(ledger, Keys(counted=(run.team, NOW)))).accounts
    assert {key: one.held for key, one in made.items()} == dict.fromkeys(
        policy.account_keys(run.team, NOW), run.hold
    )


async def test_pruning_goes_on_until_nothing_old_is_left(cleaned: Clean) -> None:
    claims = [claim(f"key-{n}", 9 * DAY) for n in range(2 * PRUNE_ROWS)]
    ledger = await cleaned(Writes(claims=tuple(claims)))
    for last in (claims[0], claims[-1]):
        assert (await look(ledger, Keys(claim=(last.team, last.key)))).claim is None


class Answers:
    """A spool on a disk of its own."""

    async def run_ids(self) -> tuple[str, ...]:
        return ()

    async def remove(self, run_id: str) -> None: ...

    def __init__(self) -> None:
        self.is_writable = True

    async def free_bytes(self) -> int:
        if not self.is_writable:
            raise OSError(errno.EROFS, "Read-only file system")
        return 5


@pytest.mark.parametrize("is_used", [True, False])
async def test_the_disk_of_paid_answers_counts_while_some_may_come(
    tmp_path: Path, *, is_used: bool
) -> None:
    rules = {"whole": some_rules(kind=Kind("whole", is_whole=True))} if is_used else {}
    policy = a_policy(rules=rules, free_space_floor_bytes=6, picture_limit_bytes=1)
    ledger, pictures = Watched(tmp_path / "ledger.db"), FolderPictures(tmp_path / "pictures")
    await ledger.open()
    await pictures.open()
    maintenance = Maintenance(
        ledger,
        pictures,
        current=Current(policy, lambda: NOW),
        clock=lambda: NOW,
        checked=lambda _: None,
    )
    answers = Answers()
    maintenance.watch(answers)
    await maintenance.start()
    assert maintenance.has_space() is not is_used
    assert (maintenance.free_bytes == 5) is is_used
    lack = "free disk space is below storage.free_space_floor"
    assert maintenance.lack() == (lack if is_used else None)
    await maintenance.stop()
    answers.is_writable = False
    await maintenance.start()
    lack = "the spool cannot be written: Read-only file system"
    assert maintenance.lack() == (lack if is_used else None)
    await maintenance.stop()
    await pictures.close()
    await ledger.close()


class Disk(FolderPictures):
    """One that has so much room as a test says."""

    free = 0

    async def free_bytes(self) -> int:
        return self.free


@pytest.mark.parametrize(
    ("floor", "free", "lack"),
    [
        (0, 0, "free disk space is below storage.picture_limit, which a picture may take"),
        (0, 63, "free disk space is below storage.picture_limit, which a picture may take"),
        (0, 64, None),
        (9, 63, "free disk space is below storage.picture_limit, which a picture may take"),
        (9, 8, "free disk space is below storage.free_space_floor"),
        (100, 99, "free disk space is below storage.free_space_floor"),
        (100, 100, None),
    ],
)
async def test_there_is_no_room_where_a_picture_may_find_none(
    tmp_path: Path, floor: int, free: int, lack: str | None
) -> None:
    ledger, disk = Watched(tmp_path / "ledger.db"), Disk(tmp_path / "pictures")
    disk.free = free
    policy = a_policy(free_space_floor_bytes=floor, picture_limit_bytes=64)
    await ledger.open()
    await disk.open()
    maintenance = Maintenance(
        ledger,
        disk,
        current=Current(policy, lambda: NOW),
        clock=lambda: NOW,
        checked=lambda _: None,
    )
    await maintenance.start()
    assert (maintenance.lack(), maintenance.enough()) == (lack, lack is None)
    await maintenance.stop()
    await disk.close()
    await ledger.close()
