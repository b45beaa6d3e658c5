"""`backup` and `restore` on an installation that nobody runs: what is in it, refused, cut, gone on.

With a gateway that runs: tests/e2e/test_backups.py.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from former_versions import LATEST, OLDEST, told
from operate_page import blocks, commands, typed

from gateway.adapters.backup import files
from gateway.adapters.ledger.connections import connect
from gateway.adapters.ledger.migrations import migrate
from gateway.cli import main

FIRST, SECOND = LATEST.pictures


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As this version keeps it."""
    folder = LATEST.unpack(tmp_path / "data")
    with closing(connect(folder / "ledger.sqlite3", read_only=False, busy_seconds=1)) as db:
        migrate(db)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def backup(data: Path, kept: Path, *more: str) -> Result:
    return run("backup", "--data-dir", data, kept, *more)


def restore(kept: Path, data: Path, *more: str) -> Result:
    return run("restore", kept, "--data-dir", data, *more)


def backed_up(data: Path, kept: Path, *more: str) -> None:
    result = backup(data, kept, *more)
    assert result.exit_code == 0, result.output


def restored(kept: Path, data: Path) -> None:
    result = restore(kept, data)
    assert result.exit_code == 0, result.output
    assert run("audit", "--data-dir", data, "--deep").exit_code == 0


def picture(folder: Path, name: str = FIRST) -> Path:
    return folder / "pictures" / name[:2] / name


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def change(data: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data / "ledger.sqlite3")) as db, db:
        db.execute(statement, values)


# --- what is in it -------------------------------------------------------------------------------


def test_a_backup_is_a_whole_installation(data: Path, kept: Path, tmp_path: Path) -> None:
    (data / "credits.json").write_text("{}")
    (data / "unproven").mkdir()
    (data / "unproven" / "run_1-0.bin").write_bytes(b"paid")
    (data / "cache").mkdir()
    (data / "cache" / "cache.db").write_bytes(b"disposable")
    result = backup(data, kept)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 pictures (8.3 kB), and a ledger of 1 run (")
    assert f"Restore it with: image-gateway restore {kept}" in result.stdout
    assert "1 file of bytes set aside" in result.stdout
    assert not any(name.startswith("cache") for name in names(kept))
    assert run("audit", "--data-dir", kept, "--deep").exit_code == 0
    back = tmp_path / "back"
    restored(kept, back)
    assert told(back / "ledger.sqlite3") == told(data / "ledger.sqlite3")
    for name in ("callback.key", "credits.json", "unproven/run_1-0.bin", "pictures/.store-id"):
        assert (back / name).read_bytes() == (data / name).read_bytes()
    assert picture(back).read_bytes() == picture(data).read_bytes()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_reads_it(data: Path, kept: Path, tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        backed_up(data, kept)
        restored(kept, tmp_path / "back")
    finally:
        os.umask(former)
    assert mode(kept) == 0o700
    for folder in (kept, tmp_path / "back"):
        assert mode(folder / "ledger.sqlite3") == 0o600
        assert mode(folder / "callback.key") == 0o600
        assert mode(picture(folder).parent) == 0o750


def test_pictures_are_linked_and_the_ledger_never(data: Path, kept: Path, tmp_path: Path) -> None:
    backed_up(data, kept)
    restored(kept, tmp_path / "back")
    assert picture(data).samefile(picture(kept))
    for name in ("ledger.sqlite3", "callback.key"):
        for folder in (data, kept, tmp_path / "back"):
            assert (folder / name).stat().st_nlink == 1


def test_where_nothing_can_be_linked_it_is_copied(
    data: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    picture(data).chmod(0o444)
    monkeypatch.setattr(files.os, "link", refused)
    backed_up(data, kept)
    assert picture(kept).stat().st_nlink == 1
    assert picture(kept).read_bytes() == picture(data).read_bytes()
    assert mode(picture(kept)) == 0o444
    again = json.loads(backup(data, kept, "--json").stdout)
    assert (again["new_pictures"], again["new_bytes"]) == (0, 0)


@pytest.fixture
def another_device(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second device here")
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def test_onto_another_device_and_back(data: Path, another_device: Path, tmp_path: Path) -> None:
    backed_up(data, another_device / "kept")
    assert not picture(data).samefile(picture(another_device / "kept"))
    restored(another_device / "kept", tmp_path / "back")


def test_a_folder_behind_links_and_a_relative_one(
    data: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "pictures").rename(tmp_path / "disk")
    (data / "pictures").symlink_to(tmp_path / "disk")
    (tmp_path / "link").symlink_to(data)
    moved = picture(data)
    moved.rename(tmp_path / "elsewhere.png")
    moved.symlink_to(tmp_path / "elsewhere.png")
    monkeypatch.chdir(tmp_path)
    backed_up(Path("link"), Path("kept"))
    assert picture(kept).is_file()
    assert not picture(kept).is_symlink()
    restored(Path("kept"), Path("back"))


def test_odd_files_are_left_out_and_told(data: Path, kept: Path) -> None:
    odd = [picture(data).parent / "notes.txt", picture(data).with_name("\udcff\n.png")]
    for path in odd:
        path.write_bytes(b"odd")
    picture(data).with_name(f"{'0' * 64}.png").mkdir()
    result = backup(data, kept)
    assert result.exit_code == 0, result.output
    assert "notice: What is no picture of the gateway was left out: " in result.stderr
    assert len([name for name in names(kept) if name.startswith("pictures/")]) == 5
    assert backup(data, kept, "--quiet").stdout == ""


def test_what_the_page_says_to_type(data: Path, tmp_path: Path) -> None:
    lines = [*commands("Back up"), *commands("Restore")]
    assert [line[0] for line in lines] == ["backup", "audit", "restore"]
    for line, folder in zip(lines, (data, data, tmp_path / "back"), strict=True):
        result = typed(line, folder)
        assert result.exit_code == 0, result.output
    assert picture(tmp_path / "back").exists()


def test_the_timer_of_the_page_is_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    service, timer = blocks("Back up", "ini")
    service = service.replace("/opt/image-gateway/bin/image-gateway", "/bin/true")
    service = service.replace("User=image-gateway", "User=root")
    paths = [tmp_path / f"image-gateway-backup.{kind}" for kind in ("service", "timer")]
    for path, text in zip(paths, (service, timer), strict=True):
        path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, paths)],
        capture_output=True, check=False, encoding="utf-8", timeout=60,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "image-gateway-backup" in line]
    assert (done.returncode, told) == (0, []), done.stderr


def test_generations_that_are_linked_stay_as_they_are(data: Path, kept: Path) -> None:
    """As `cp -al` makes them."""
    backed_up(data, kept)
    monday = kept.with_name("monday")
    shutil.copytree(kept, monday, copy_function=os.link)
    before = {name: (monday / name).read_bytes() for name in names(monday)}
    change(data, "UPDATE runs SET quality = 'high'")
    picture(data).with_suffix(".json").unlink()
    backed_up(data, kept)
    assert (kept / "ledger.sqlite3").read_bytes() != before["ledger.sqlite3"]
    assert {name: (monday / name).read_bytes() for name in names(monday)} == before


# --- again ---------------------------------------------------------------------------------------


def test_the_second_one_adds_what_is_new(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    former = picture(kept).stat().st_ino
    fresh = b"fresh"
    digest = files.hashlib.sha256(fresh).hexdigest()
    place = picture(data, f"{digest}.png")
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(fresh)
    answer = json.loads(backup(data, kept, "--json").stdout)
    assert (answer["ok"], answer["new_pictures"], answer["pictures"]) == (True, 1, 3)
    assert picture(kept).stat().st_ino == former
    assert picture(kept, place.name).read_bytes() == fresh


def test_an_erased_picture_leaves_with_the_next_one(data: Path, kept: Path, tmp_path: Path) -> None:
    backed_up(data, kept)
    change(
        data, "UPDATE pictures SET prompt = '', searched = '', erased_at = 1, removed_at = ?"
        " WHERE digest = ?", None, FIRST[:64],
    )  # fmt: skip
    backed_up(data, kept)  # intended only: its bytes are there still
    assert not picture(kept).exists()
    assert not picture(kept).with_suffix(".json").exists()
    assert picture(kept, SECOND).exists()


def test_an_answer_that_is_the_only_copy_comes_along(
    data: Path, kept: Path, tmp_path: Path
) -> None:
    """Of a run that was paid, and keeps its pictures out of the spool just then. (It is made one
    here, of a run that has ended, so that the books do not add up.)"""
    with closing(sqlite3.connect(data / "ledger.sqlite3")) as db:
        live, *ended = [row[0] for row in db.execute("SELECT id FROM runs WHERE state = 'done'")]
    change(data, "UPDATE runs SET state = 'keeping' WHERE id = ?", live)
    spool = data / "spool"
    spool.mkdir(mode=0o700)
    for run_id in (live, *ended, "run_of_nobody"):
        (spool / f"{run_id}-1.answer").write_bytes(b"paid")
        (spool / f"{run_id}-2.part").write_bytes(b"half")
    assert backup(data, kept).exit_code == 1
    assert names(kept / "spool") == {f"{live}-1.answer"}
    assert restore(kept, tmp_path / "again").exit_code in (0, 1)
    again = tmp_path / "again" / "spool"
    assert (again / f"{live}-1.answer").read_bytes() == b"paid" and mode(again) == 0o700
    change(data, "UPDATE runs SET state = 'done' WHERE id = ?", live)
    backed_up(data, kept)
    assert names(kept / "spool") == set()


def test_a_new_secret_does_not_make_it_another_installation(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    (data / "callback.key").write_bytes(os.urandom(32))
    backed_up(data, kept)
    assert (kept / "callback.key").read_bytes() == (data / "callback.key").read_bytes()


def test_a_new_tale_of_a_picture_takes_the_place_of_the_former(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    tale = picture(data).with_suffix(".json")
    draft = tale.with_suffix(".new")
    draft.write_bytes(tale.read_bytes().replace(b"a red bicycle", b"a red BICYCLE"))
    draft.replace(tale)
    backed_up(data, kept)
    assert b"BICYCLE" in picture(kept).with_suffix(".json").read_bytes()


def test_what_the_folder_has_lost_stays_in_the_backup(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    picture(data).unlink()
    result = backup(data, kept)
    assert result.exit_code == 0
    assert "1 picture on record is in the backup alone" in result.stderr
    assert picture(kept).exists()


def test_what_is_nowhere_is_told_and_the_rest_is_there(
    data: Path, kept: Path, tmp_path: Path
) -> None:
    picture(data).unlink()
    spoiled = picture(data, SECOND)
    spoiled.write_bytes(bytes(spoiled.stat().st_size))
    result = backup(data, kept)
    assert result.exit_code == 1
    assert f"The picture {FIRST} is not there." in result.stderr
    assert f"{spoiled} has the digest " in result.stderr
    assert not picture(kept, SECOND).exists()
    again = restore(kept, tmp_path / "back")
    assert again.exit_code == 1
    assert f"The picture {FIRST} is not there." in again.stderr
    assert (tmp_path / "back" / "ledger.sqlite3").exists()


def test_only_a_full_one_reads_what_is_there(
    data: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.Carrier, "_link", lambda *_: False)
    backed_up(data, kept)
    whole = picture(kept).read_bytes()
    picture(kept).write_bytes(bytes(len(whole)))
    backed_up(data, kept)
    assert picture(kept).read_bytes() != whole
    backed_up(data, kept, "--verify", "full")
    assert picture(kept).read_bytes() == whole


def test_a_ledger_that_does_not_add_up_is_told(data: Path, kept: Path) -> None:
    change(data, "UPDATE accounts SET spent_usd_micros = spent_usd_micros + 1")
    result = backup(data, kept, "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The ledger does not add up: " in result.stderr
    assert (kept / "backup.json").exists()


# --- refused -------------------------------------------------------------------------------------


def something_else(_: Path, kept: Path) -> Path:
    kept.mkdir()
    (kept / "thesis.txt").write_text("precious")
    return kept


def another_installation(data: Path, kept: Path) -> Path:
    backed_up(OLDEST.unpack(data.with_name("other")), kept)
    return kept


def more_runs(data: Path, kept: Path) -> Path:
    backed_up(data, kept)
    told = json.loads((kept / "backup.json").read_text())
    (kept / "backup.json").write_text(json.dumps({**told, "runs": 9_000}))
    return kept


def other_runs(data: Path, kept: Path) -> Path:
    backed_up(data, kept)
    with closing(sqlite3.connect(kept / "ledger.sqlite3")) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("UPDATE runs SET id = 'run_of_yesterday'")
    return kept


def newer_format(data: Path, kept: Path) -> Path:
    backed_up(data, kept)
    told = json.loads((kept / "backup.json").read_text())
    (kept / "backup.json").write_text(json.dumps({**told, "format": 99, "version": "7.0"}))
    return kept


def unmounted(data: Path, kept: Path) -> Path:
    backed_up(data, kept)
    (data / "pictures").rename(data / "away")
    (data / "pictures").mkdir()
    return kept


def damaged(data: Path, kept: Path) -> Path:
    backed_up(data, kept)
    with (data / "ledger.sqlite3").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 200_000)
    return kept


def newer_schema(data: Path, kept: Path) -> Path:
    change(data, "INSERT INTO schema_version VALUES (9999, 'of_tomorrow')")
    return kept


def a_file(data: Path, kept: Path) -> Path:
    kept.write_text("in the way")
    return kept


def a_circle(data: Path, kept: Path) -> Path:
    kept.symlink_to(kept)
    return kept


REFUSED = [
    (something_else, "holds something else ('thesis.txt', for one)"),
    (lambda data, _: data, "of which it is to be a backup"),
    (lambda data, _: data / "pictures" / "kept", "of which it is to be a backup"),
    (lambda data, _: data.parent, "holds something else ('data', for one)"),
    (another_installation, "is the backup of another installation"),
    (more_runs, "knows of 9,000 runs and this ledger of 1: it is older"),
    (other_runs, "knows of the run run_of_yesterday and this ledger does not: it went on from an"),
    (newer_format, "it was made by a newer version of the gateway (7.0)"),
    (unmounted, "has no .store-id"),
    (damaged, "damaged"),
    (newer_schema, "was written by a newer version of the gateway (schema 9999"),
    (a_file, "is no folder"),
    (a_circle, "leads nowhere"),
    (lambda _, kept: kept / "gateway", "Is its disk mounted?"),
]


@pytest.mark.parametrize(("prepare", "why"), REFUSED)
def test_what_is_refused_leaves_all_as_it_was(
    data: Path, kept: Path, prepare: Callable[[Path, Path], Path], why: str
) -> None:
    folder = prepare(data, kept)
    before = {name: (data.parent / name).read_bytes() for name in names(data.parent)}
    result = backup(data, folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("no backup was made: ")
    assert why in result.stderr
    after = {name: (data.parent / name).read_bytes() for name in names(data.parent)}
    assert {name: text for name, text in after.items() if not name.endswith("-shm")} | before == (
        before | {name: b"" for name in after if name.endswith((".lock", "-wal"))}
    )


def test_without_a_ledger_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    result = backup(tmp_path / "nowhere", tmp_path / "kept")
    assert result.exit_code == 2
    assert "there is no " in result.stderr
    assert "--data-dir" in result.stderr
    assert not (tmp_path / "kept").exists()


def test_a_file_system_without_modes_and_owners(
    data: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a stick: the backup is made, and whoever made it is told who may read it."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    kept.mkdir(0o755)
    with monkeypatch.context() as patch:
        for name in ("link", "chmod", "fchmod", "chown"):
            patch.setattr(files.os, name, refused)
        result = backup(data, kept)
    assert result.exit_code == 0, result.output
    assert f"notice: {kept} may be read by others" in result.stderr


def test_who_cuts_it_is_told_that_it_goes_on(
    data: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gateway.wiring.backups.carry_set_aside", cut_off)
        result = backup(data, kept)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no backup was made: it was cut; run again, it goes on." in result.stderr
    backed_up(data, kept)


def test_two_at_once_into_one_folder(data: Path, kept: Path, tmp_path: Path) -> None:
    backed_up(data, kept)
    with (kept / "backup.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for result in (backup(data, kept), restore(kept, tmp_path / "back")):
            assert result.exit_code == 2
            assert f"Another backup or restore uses {kept} now." in result.stderr


def test_who_comes_second_leaves_the_drafts_of_the_first(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    draft = kept / "ledger.sqlite3.new"
    draft.write_text("of the first")
    with (kept / "backup.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert backup(data, kept).exit_code == 2
    assert draft.read_text() == "of the first"


def test_a_decided_backup_that_is_cut_keeps_its_ledger(
    data: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(data, kept)
    change(data, "PRAGMA user_version = 7")
    replace = Path.replace

    def cut_before_the_ledger(path: Path, target: Path) -> Path:
        if path.name == "ledger.sqlite3.new":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_before_the_ledger)
        assert backup(data, kept).exit_code != 0
    result = restore(kept, tmp_path / "back")
    assert result.exit_code == 0, result.output
    with closing(sqlite3.connect(tmp_path / "back" / "ledger.sqlite3")) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(7,)]


@pytest.mark.parametrize("what", ["the ledger", "a picture", "a folder"])
def test_a_full_disk_leaves_the_former_one_whole(
    data: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    backed_up(data, kept)
    shutil.rmtree(picture(kept).parent)
    former = (kept / "ledger.sqlite3").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if what == "the ledger":
            patch.setattr("gateway.adapters.ledger.ledger_file._alone", _tiny)
        else:
            patch.setattr(files.os, "link" if what == "a picture" else "fsync", full)
            patch.setattr(files.os, "fdopen", full)
        result = backup(data, kept)
    assert result.exit_code == 2
    assert "no room" in result.stderr or "No space left on device" in result.stderr
    assert (kept / "ledger.sqlite3").read_bytes() == former
    backed_up(data, kept)
    restored(kept, tmp_path / "back")


def _tiny(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA max_page_count = 2")
    return db


# --- restoring -----------------------------------------------------------------------------------


def not_there(kept: Path, _: Path) -> None:
    shutil.rmtree(kept)


def never_finished(kept: Path, _: Path) -> None:
    (kept / "backup.json").unlink()


def no_backup(kept: Path, _: Path) -> None:
    shutil.rmtree(kept)
    kept.mkdir()


def other_ledger(kept: Path, _: Path) -> None:
    with (kept / "ledger.sqlite3").open("ab") as file:
        file.write(b"more")


def without_key(kept: Path, _: Path) -> None:
    (kept / "callback.key").unlink()


def no_manifest(kept: Path, _: Path) -> None:
    (kept / "backup.json").write_text("{}")


def deep_manifest(kept: Path, _: Path) -> None:
    (kept / "backup.json").write_text("[" * 100_000)


def odd_manifest(kept: Path, _: Path) -> None:
    told = json.loads((kept / "backup.json").read_text())
    (kept / "backup.json").write_text(json.dumps({**told, "sums": [1]}))


def manifest_of_elsewhere(kept: Path, _: Path) -> None:
    told = json.loads((kept / "backup.json").read_text())
    told["sums"]["../letters"] = told["sums"]["ledger.sqlite3"]
    (kept / "backup.json.new").write_text(json.dumps(told))
    kept.with_name("letters.new").write_text("not of the backup")


def in_use(_: Path, back: Path) -> None:
    back.mkdir()
    (back / "letters").write_text("precious")


def apart(_: Path, back: Path) -> None:
    back.symlink_to(back.with_name("kept"))


UNRESTORED = [
    (not_there, "There is no folder "),
    (never_finished, "was never finished: it has no backup.json. Run 'image-gateway backup'"),
    (no_backup, "is no backup: it has no backup.json"),
    (other_ledger, "ledger.sqlite3 is not as backup.json says"),
    (without_key, "callback.key is not there"),
    (no_manifest, "it is damaged"),
    (deep_manifest, "it is damaged"),
    (odd_manifest, "it is damaged"),
    (manifest_of_elsewhere, "it is damaged"),
    (in_use, "is not empty ('letters' is there, for one), and a restore overwrites nothing"),
    (apart, "must be apart"),
]


@pytest.mark.parametrize(("spoil", "why"), UNRESTORED)
def test_what_is_not_restored(
    data: Path, kept: Path, tmp_path: Path, spoil: Callable[[Path, Path], None], why: str
) -> None:
    backed_up(data, kept)
    spoil(kept, tmp_path / "back")
    result = restore(kept, tmp_path / "back")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("not restored: ")
    assert why in result.stderr
    assert not (tmp_path / "back" / "ledger.sqlite3").exists() or spoil is apart


def test_a_gateway_that_runs_is_not_restored_over(data: Path, kept: Path) -> None:
    backed_up(data, kept)
    with (data / "ledger.sqlite3.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = restore(kept, data)
    assert result.exit_code == 2
    assert "Another gateway uses the ledger" in result.stderr


def test_into_an_empty_folder_in_which_a_disk_is_mounted(
    data: Path, kept: Path, tmp_path: Path
) -> None:
    backed_up(data, kept)
    (tmp_path / "back" / "pictures" / "lost+found").mkdir(parents=True)
    (tmp_path / "back" / "lost+found").mkdir()
    restored(kept, tmp_path / "back")


def test_of_an_older_schema_the_next_start_is_told(tmp_path: Path, kept: Path) -> None:
    data = OLDEST.unpack(tmp_path / "data")
    before = told(shutil.copytree(data, tmp_path / "copy") / "ledger.sqlite3")
    backed_up(data, kept)
    result = restore(kept, tmp_path / "back")
    assert result.exit_code == 0, result.output
    assert "The next start brings the ledger up to date" in result.stdout
    assert told(tmp_path / "back" / "ledger.sqlite3") == before


def test_another_restore_was_cut_here(data: Path, kept: Path, tmp_path: Path) -> None:
    backed_up(data, kept)
    back = tmp_path / "back"
    back.mkdir()
    (back / "restoring.json").write_text("{}")
    result = restore(kept, back)
    assert result.exit_code == 2
    assert "A restore of another backup into" in result.stderr


# --- cut -----------------------------------------------------------------------------------------

STEPS = ("link", "replace", "unlink", "mkdir")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies loses nothing that it has written; a machine would."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _counted(
    do: Callable[..., object], *args: object, left: Iterator[int], **more: object
) -> object:
    if next(left, None) is None:
        os._exit(9)
    return do(*args, **more)


def cut(words: list[str], step: int) -> bool:
    """Runs a command in a process that dies before its step of that number; False: it had fewer."""
    child = os.fork()
    if child == 0:
        left = step
        left = iter(range(step))
        for name in STEPS:
            setattr(os, name, partial(_counted, getattr(os, name), left=left))
        try:
            os._exit(CliRunner().invoke(main, words).exit_code)
        finally:
            os._exit(77)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


@pytest.mark.usefixtures("quick")
def test_a_backup_that_dies_at_any_step_leaves_a_whole_one(data: Path, tmp_path: Path) -> None:
    """The former one or the new one; and the next one goes on."""
    former = told(data / "ledger.sqlite3")
    step = 0
    while True:
        kept, back, work = (tmp_path / f"{name}-{step}" for name in ("kept", "back", "work"))
        shutil.copytree(data, work)
        backed_up(work, kept)
        picture(work).unlink()
        picture(work).with_suffix(".json").unlink()
        change(work, "UPDATE pictures SET prompt = '', searched = '', erased_at = 1,"
               " removed_at = 2 WHERE digest = ?", FIRST[:64])  # fmt: skip
        (work / "credits.json").write_text("{}")
        new = told(work / "ledger.sqlite3")
        died = cut(["backup", "--data-dir", str(work), str(kept)], step)
        assert restore(kept, back).exit_code == 0
        found = told(back / "ledger.sqlite3")
        assert found in (former, new)
        assert (back / "credits.json").exists() == (found == new)
        assert picture(back).exists() or found == new
        backed_up(work, kept)
        assert not picture(kept).exists()
        assert not [name for name in names(kept) if name.endswith((".part", ".new"))]
        if not died:
            break
        step += 1
    assert step > 5


@pytest.mark.usefixtures("quick")
def test_a_first_backup_that_dies_is_none_and_the_next_goes_on(data: Path, tmp_path: Path) -> None:
    step = 0
    while True:
        kept, back = tmp_path / f"kept-{step}", tmp_path / f"back-{step}"
        died = cut(["backup", "--data-dir", str(data), str(kept)], step)
        code = restore(kept, back).exit_code
        assert code == (0 if (kept / "backup.json").exists() else 2)
        backed_up(data, kept)
        if not died:
            break
        step += 3
    assert step > 5


@pytest.mark.usefixtures("quick")
def test_a_restore_that_dies_at_any_step_goes_on(data: Path, kept: Path, tmp_path: Path) -> None:
    backed_up(data, kept)
    step = 0
    while True:
        back = tmp_path / f"back-{step}"
        died = cut(["restore", str(kept), "--data-dir", str(back)], step)
        if died:
            assert not (back / "ledger.sqlite3").exists() or (back / "restoring.json").exists()
            restored(kept, back)
            assert names(back) == names(tmp_path / "back-0")
        else:
            break
        step += 1
    assert step > 5
