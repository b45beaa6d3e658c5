"""`make bench`: it runs and ends, its JSON can be read, a failed request voids a window."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.load import MARK, Plan, run
from benchmarks.processors import family
from benchmarks.rows import Row, table

ROOT = Path(__file__).resolve().parent.parent
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Answers each request with the next of its answers, and the last one for ever."""

    def __init__(self) -> None:
        self.answers = [OK]
        self.came: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.came.append(await reader.readuntil(b"!"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not answer:
                    break
                for part in (answer[:30], answer[30:]):  # heads come in two parts
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with listening:
        one.port = listening.sockets[0].getsockname()[1]
        yield one


def plan(server: Server, **more: int) -> Plan:
    at = {"connections": 2, "at_most": 6, **more}
    return Plan("127.0.0.1", server.port, seconds=20, request=f"GET /{MARK} HTTP/1.1\r\n!", **at)


async def test_every_request_is_another_and_is_counted(server: Server) -> None:
    told = (await run(plan(server, first_number=7))).told()
    assert (told["requests"], told["failures"], told["failed"]) == (6, 0, "")
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert sorted(server.came) == [b"GET /%012d HTTP/1.1\r\n!" % number for number in range(7, 13)]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([OK, b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", OK], "500 Oh"),
        ([OK, b""], "closed before an answer"),
        ([OK + b"more"], "more came than was announced"),
    ],
)
async def test_a_failure_is_told(server: Server, answers: list[bytes], why: str) -> None:
    server.answers = answers
    told = (await run(plan(server))).told()
    assert told["failures"]
    assert why in told["failed"]


async def test_answers_may_be_large_empty_or_have_no_length(server: Server) -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000)
    server.answers = [large, b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n", large, OK]
    told = (await run(plan(server))).told()
    assert (told["requests"], told["failed"]) == (6, "")


def test_a_table_tells_what_is_void() -> None:
    text = table([Row("hit", "16 connections", per_second=1234.5, void=("HTTP/1.1 500 |\r\n",))])
    assert "1,234" in text
    assert "1 void: HTTP/1.1 500 /" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_it_runs_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "hit", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=90)
    assert done.returncode == 0, done.stderr
    told = json.loads(file.read_text("utf-8"))
    assert told["machine"]["processors"]
    floor, hit = told["rows"]
    assert (floor["case"], hit["case"]) == ("floor", "hit")
    assert hit["per_second"] > 0
    assert hit["ratio"] > 0
    assert not hit["void"]
    assert "| hit " in done.stdout


def test_who_ends_it_early_ends_all_of_it() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "hit", "--seconds", "30"]
    bench = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(started := family([bench.pid])[1:]) < 3:  # load, upstream, and what is measured
        assert time.monotonic() < until
        assert bench.poll() is None
        time.sleep(0.05)
    bench.send_signal(signal.SIGTERM)
    assert bench.wait(40) == 128 + signal.SIGTERM
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
