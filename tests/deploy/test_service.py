"""The systemd unit: well formed, shut tight, and the gateway lives in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from deployed import DEPLOY, tool
from processes import GATEWAY
from sdk import drawn

from gateway.cli import main as cli
from gateway.config.sandbox import TEAM_KEY
from gateway.config.schema import ServerSettings

UNIT = DEPLOY / "image-gateway.service"
TEXT = UNIT.read_text("utf-8")
PROGRAM = "/opt/image-gateway/bin/image-gateway"
MOST_EXPOSED = 20
"""Of 100, where systemd's own words are: up to 20 is nearly all that can be shut."""


def told(name: str) -> list[str]:
    """What a directive says, each time that it stands there."""
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit where the program that it names is not installed: systemd looks whether it is."""
    path = tmp_path / UNIT.name
    path.write_text(TEXT.replace(PROGRAM, sys.executable))
    return path


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        [tool("systemd-analyze"), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_it_without_a_word(unit: Path) -> None:
    assert analyze("verify", "--man=no", str(unit)) == ""


def test_it_is_shut_tight(unit: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSED}"
    assert "Overall exposure" in analyze("security", "--offline=true", threshold, str(unit))


def command_named(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def test_its_commands_are_the_programs() -> None:
    (before,), (start,), (reload,) = told("ExecStartPre"), told("ExecStart"), told("ExecReload")
    for command in (before, start):
        program, name, *options = command.split()
        assert program == PROGRAM
        assert "--config" in options
        known = {one for param in command_named(name).params for one in param.opts}
        assert {one for one in options if one.startswith("--")} <= known
    assert reload == "/bin/kill -HUP $MAINPID"


def test_its_times_and_numbers_leave_room_for_the_settings() -> None:
    server = ServerSettings()
    assert int(told("TimeoutStopSec")[0]) > server.drain_seconds + server.shutdown_grace_seconds
    assert int(told("LimitNOFILE")[0]) > 2 * server.max_waiters
    assert told("StateDirectory") == [Path(told("WorkingDirectory")[0]).name] == ["image-gateway"]


# --- living in it --------------------------------------------------------------------------------


def calls(words: Sequence[str]) -> set[str]:
    """The system calls that these names and groups stand for."""
    found: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        listed = analyze("syscall-filter", word).splitlines()[1:]
        found |= calls([one.strip() for one in listed if one.strip() and "#" not in one])
    return found


def allowed() -> set[str]:
    """What the unit's filters come to, in their order."""
    left = calls(["@default"])
    for line in told("SystemCallFilter"):
        named = calls(line.removeprefix("~").split())
        left = left - named if line.startswith("~") else left | named
    return left


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A gateway under the unit's limits."""
    (tmp_path / "calls").write_text("\n".join(sorted(allowed())))
    hardened = [sys.executable, str(Path(__file__).parent / "hardened.py"), str(tmp_path / "calls")]
    serve = [*GATEWAY, "serve", "--sandbox", "--port", "0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*hardened, *serve], cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    with process.stdout as lines:
        ready = next((line for line in lines if "is ready on" in line), "")
        assert ready, (tmp_path / "log").read_text()
        yield ready.rstrip().rpartition(" ")[2]
        process.terminate()
        lines.read()
    assert process.wait(20) == 0, (tmp_path / "log").read_text()


def post(address: str, path: str, body: bytes, kind: str) -> Any:
    headers = {"Authorization": f"Bearer {TEAM_KEY}", "Content-Type": kind, "Prefer": "wait=30"}
    request = urllib.request.Request(f"{address}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=40) as answer:
        return json.loads(answer.read())


def test_pictures_are_made_and_looked_at_within_its_limits(address: str) -> None:
    """With a file that is decoded in a process of its own, and a scrape that reads the process."""
    wish = {"model": "gpt-image-1.5", "prompt": "a red bicycle", "quality": "low"}
    task = post(address, "/v1/images/generations", json.dumps(wish).encode(), "application/json")
    assert task["status"] == "completed", task
    head = 'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = b"--x\r\n%s%s\r\n--x--\r\n" % (head.encode(), drawn("red"))
    path, kind = "/api/v1/files/upload/stream", "multipart/form-data; boundary=x"
    assert post(address, path, body, kind)["success"] is True
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        scraped = answer.read().decode()
    (start,) = re.findall(r"^process_start_time_seconds (\S+)", scraped, re.MULTILINE)
    assert abs(time.time() - float(start)) < 600
