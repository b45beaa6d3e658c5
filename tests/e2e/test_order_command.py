"""`image-gateway order` against a running gateway: what it saves, says, and survives."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from house import ADMIN_KEY, TEAM_KEY, House, until
from structlog.testing import capture_logs

from gateway.cli import main, saved_pictures
from gateway.cli.team_connection import TeamConnection

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Seat:
    """Where a team's member types `order`."""

    def __init__(self, house: House, folder: Path) -> None:
        self.folder = folder
        self._house = house

    async def order(self, *words: str, key: str = TEAM_KEY, said: str | None = None) -> Result:
        environ = {"GATEWAY_URL": self._house.http.base_url, "GATEWAY_KEY": key, "COLUMNS": "80"}
        given = ["order", *words, "--output", str(self.folder)]
        result = await asyncio.to_thread(CliRunner().invoke, main, given, env=environ, input=said)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def seat(shared_house: House, tmp_path: Path) -> Iterator[Seat]:
    # The gateway runs in this process: its log would stand in what the command prints.
    with capture_logs():
        yield Seat(shared_house, tmp_path)


async def test_an_order_is_made_saved_and_then_answered_from_the_cache(seat: Seat) -> None:
    made = await seat.order("A red Bicycle", "--quality", "low", "--n", "2")
    assert made.exit_code == 0, made.stderr
    assert "gpt-image-1.5, 2 pictures: a new one, at most $0.10." in made.stderr
    paths = made.stdout.splitlines()
    assert [Path(path).parent for path in paths] == [seat.folder] * 2
    assert all(Path(path).name.startswith("a-red-bicycle-") for path in paths)
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in paths)
    again = await seat.order("A red Bicycle", "--quality", "low", "--n", "2", "--json")
    told = json.loads(again.stdout)
    assert (told["status"], told["verdict"]) == ("completed", "hit")
    assert [one["path"] for one in told["pictures"]] == paths, "the same files, not others"
    assert "from the cache, for nothing" in again.stderr
    fetched = await seat.order("--task", told["task"])
    assert (fetched.exit_code, len(fetched.stdout.splitlines())) == (0, 2)


async def test_nothing_is_overwritten(seat: Seat) -> None:
    first = Path((await seat.order("a boat")).stdout.strip())
    first.write_bytes(b"my own")
    second = Path((await seat.order("a boat")).stdout.strip())
    assert (first.read_bytes(), second.name) == (b"my own", f"{first.stem}-2.png")


@pytest.mark.parametrize(
    "prompt", ["say \"hi\"\nand 'bye'", "\U0001f98a", "../../etc/passwd", "-", "\u732b " * 99]
)
async def test_any_prompt_makes_a_harmless_name(seat: Seat, prompt: str) -> None:
    made = await seat.order("-", said=prompt)
    assert made.exit_code == 0, made.stderr
    [name] = seat.names()
    assert "/" not in name and not name.startswith((".", "-")) and len(name.encode()) < 200


async def test_a_dry_run_orders_nothing(seat: Seat) -> None:
    told = await seat.order("never made", "--dry-run")
    assert (told.exit_code, seat.names()) == (0, [])
    assert told.stdout.startswith("gpt-image-1.5, 1 picture: a new one, at most $0.05")
    as_json = await seat.order("never made", "--dry-run", "--json")
    assert json.loads(as_json.stdout)["verdict"] == "start"


async def test_references_are_files_or_links(seat: Seat) -> None:
    picture = (await seat.order("a model")).stdout.strip()
    assert (await seat.order("at night", "--image", picture)).exit_code == 0
    missing = await seat.order("at night", "--image", "nowhere.png")
    assert missing.exit_code == 2 and "'nowhere.png' is no file" in missing.stderr


async def test_a_failure_is_told_in_the_gateways_words(seat: Seat) -> None:
    failed = await seat.order("[sandbox:fail=content_policy_violation] x")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "Error: Content policy violation." in failed.stderr
    refused = await seat.order("x", "--quality", "hihg")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "'quality' must be one of" in refused.stderr
    gone = await seat.order("--task", "task-unified-1-aaaaaaaa")
    assert gone.exit_code == 1 and "goes on" not in gone.stderr


async def test_a_key_of_the_wrong_kind_is_told(seat: Seat) -> None:
    wrong = await seat.order("x", key=ADMIN_KEY)
    assert wrong.exit_code == 1
    assert "An admin key orders nothing" in wrong.stderr
    none = await seat.order("x", key="")
    assert none.exit_code == 2 and "set GATEWAY_KEY" in none.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "the prompt is empty"),
        (["  \n"], "the prompt is empty"),
        ([], "a PROMPT, or --task ID"),
        (["x", "--task", "y"], "a PROMPT, or --task ID"),
        (["x", "--n", "0"], "0 is not in the range"),
        (["x\udcff"], "is no valid UTF-8"),
    ],
)
async def test_mistakes_cost_nothing(seat: Seat, words: list[str], said: str) -> None:
    wrong = await seat.order(*words)
    assert (wrong.exit_code, seat.names()) == (2, [])
    assert said in wrong.stderr


async def test_where_nothing_can_be_saved_nothing_is_ordered(seat: Seat) -> None:
    seat.folder = seat.folder / "file"
    seat.folder.write_text("")
    wrong = await seat.order("never paid")
    assert wrong.exit_code == 2 and "is a file: name a folder" in wrong.stderr
    seat.folder = Path("/proc/nowhere")
    assert (await seat.order("never paid")).exit_code == 2


async def test_a_full_disk_loses_no_link(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gateway.cli.order.save", full)
    result = await seat.order("too large")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be saved: No space left on device. It stays there." in result.stderr
    assert "/pictures/" in result.stderr


async def test_half_a_picture_is_taken_away_again(tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"half"
        raise OSError

    with pytest.raises(OSError):
        saved_pictures.save(tmp_path, "x", "0123456789abcdef.png", cut())
    assert list(tmp_path.iterdir()) == []


async def test_pictures_come_from_the_address_that_was_given(
    seat: Seat, shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """server.public_url may lead nowhere from here."""
    ended = TeamConnection.ended

    def elsewhere(*given: Any, **more: Any) -> Any:
        task = ended(*given, **more)
        names = [link.rpartition("/")[2] for link in task["results"]]
        return {**task, "results": [f"https://images.invalid/x/pictures/{one}" for one in names]}

    monkeypatch.setattr(TeamConnection, "ended", elsewhere)
    made = await seat.order("from elsewhere")
    assert made.exit_code == 0 and len(seat.names()) == 1
    assert "https://images.invalid/x/pictures/" in made.stderr


async def test_a_gateway_that_is_away_for_a_while_is_waited_for(
    seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.cli.connection import Cut, Unanswered

    task, times = TeamConnection.task, [0]

    def away(*given: Any) -> Any:
        times[0] += 1
        if times[0] < 3:
            raise (Unanswered if times[0] == 1 else Cut)("nobody")
        return task(*given)

    monkeypatch.setattr("gateway.cli.team_connection.BETWEEN_SECONDS", 0.01)
    monkeypatch.setattr(TeamConnection, "task", away)
    made = await seat.order("while it was away")
    assert made.exit_code == 0 and "asking on" in made.stderr

    times[0] = -10_000
    monkeypatch.setattr(TeamConnection, "away_seconds", 0.05)
    gone = await seat.order("gone for good")
    assert gone.exit_code == 2
    assert "goes on without us" in gone.stderr and "order --task task-unified-" in gone.stderr


async def test_a_lost_answer_is_asked_for_again_and_not_paid_twice(
    seat: Seat, shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.cli.connection import Cut

    opened, lost = TeamConnection.opened, threading.Event()

    def losing(self: TeamConnection, method: str, path: str, **more: Any) -> Any:
        if path == "/v1/images/generations" and not lost.is_set():
            lost.set()
            with opened(self, method, path, **more) as response:
                response.read()
            raise Cut("the answer was lost")
        return opened(self, method, path, **more)

    monkeypatch.setattr(TeamConnection, "opened", losing)
    made = await seat.order("lost on the way")
    assert made.exit_code == 0, made.stderr
    assert "sent again" in made.stderr and "not paid again" in made.stderr
    runs = (await shared_house.admin("GET", "runs")).json()["data"]
    assert [run["prompt"] for run in runs].count("lost on the way") == 1


async def test_an_interrupt_says_how_to_go_on(seat: Seat, shared_house: House) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "order", "[sandbox:delay=5] slow"),
        *("--url", shared_house.http.base_url, "--key", TEAM_KEY, "--output", str(seat.folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"a new one" in await process.stderr.readline()
    await until(lambda: shared_house.waiters == 1)  # it knows its task, and waits for it
    process.send_signal(signal.SIGINT)
    out, errors = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert b"goes on without us" in errors and b"Traceback" not in errors
    task_id = errors.decode().rpartition("--task ")[2].strip()
    assert (await shared_house.ended(task_id))["status"] == "completed"
