"""`make cluster`: the story of three gateways is told to its end, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from cluster import balancer, postgres, s3
from deployed import DEPLOY, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not (postgres.wheel_programs() and s3.is_available() and balancer.is_available()),
        reason="there are no packages of PostgreSQL, S3 server and Caddy for this platform",
    ),
]


@contextmanager
def running(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The command as make starts it, and what it says; killed at the end if it still runs."""
    one = subprocess.Popen(
        [sys.executable, "-m", "cluster", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(DEPLOY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert one.stdout is not None
    try:
        with one.stdout as said:
            yield one, said
    finally:
        one.kill()
        one.wait()


def is_left_behind(pid: int) -> bool:
    """One that has ended and that nobody has asked about yet (a zombie) is not."""
    asked = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


def require_nothing_left(said: str) -> None:
    """Of what the command has told about itself: its processes and its folder."""
    folder = re.search(r"in\s+(/\S*image-gateway-cluster-\w+)", said)
    assert folder is not None and not Path(folder[1]).exists()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert [line for line in listed.stdout.splitlines() if folder[1] in line] == []
    table = re.findall(r"127\.0\.0\.1:\d+ +(\d+) ", said)
    pids = {int(pid) for pid in [*table, *re.findall(r"process (\d+)", said)]}
    assert [pid for pid in pids if is_left_behind(pid)] == []


@pytest.mark.long
def test_it_is_told_to_its_end() -> None:
    own = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_SESSION_TOKEN": "of-the-user"}
    with running("--once", **own, PGSSLMODE="verify-full", PGOPTIONS="-c no=such") as (one, lines):
        said = lines.read()
        assert one.wait(20) == 0, said
    for proved in (
        "18 of 18 are done",
        "$0.00 held, $1.08 spent: 18 times $0.06",
        "Three tasks, one run",
        "Audit: ",
    ):
        assert proved in said
    titles = re.findall(r"^\d  ([\w ]+) ─", said, re.MULTILINE)
    assert titles == [
        "Orders", "One gateway is killed", "Nothing is lost", "It comes back",
        "The same order at all three", "The books",
    ]  # fmt: skip
    assert len(re.findall(r"127\.0\.0\.1:\d+ +\d+ ", said)) == 7
    assert "only-on-loopback" not in said, "the ledger's password"
    require_nothing_left(said)


def said_until(word: str, lines: IO[str]) -> str:
    """What it says up to that word, behind its first lines."""
    said = ""
    while word not in said.partition("\n\n")[2]:
        line = lines.readline()
        assert line, said
        said += line
    return said


@pytest.mark.parametrize("word", ["PostgreSQL", "A team orders"])
def test_killed_it_leaves_nothing_behind_either(word: str) -> None:
    with running() as (one, lines):
        said = said_until(word, lines)
        one.kill()
        said += lines.read()  # until the last that holds its output has ended
    assert "The cluster was killed" in said
    require_nothing_left(said)


def test_a_time_that_is_none_is_refused() -> None:
    for written in ("-1", "nan", "soon"):
        with running("--seconds", written) as (one, lines):
            assert "argument --seconds: must be a number from 0 to 600" in lines.read()
            assert one.wait(20) == 2


def test_interrupted_at_its_start_it_ends_what_it_has_begun() -> None:
    with running() as (one, lines):
        said = said_until("PostgreSQL", lines)
        one.send_signal(signal.SIGTERM)
        said += lines.read()
        assert one.wait(20) == 128 + signal.SIGTERM, said
    assert "All processes are ended" in said
    require_nothing_left(said)
