"""`make bench`: it runs and ends, its JSON can be read, a failed request voids a window."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import aims, installation, record
from benchmarks.__main__ import main
from benchmarks.load import MARK, Plan, run
from benchmarks.processors import family
from benchmarks.rows import Row, table
from gateway.adapters.ledger.audit import violations

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


@pytest.mark.parametrize("runs", [53, 2_000])
def test_a_filled_ledger_is_as_large_as_it_says_and_adds_up(tmp_path: Path, runs: int) -> None:
    ledger, now = tmp_path / "data" / "ledger.sqlite3", time.time()
    installation.fill(ledger, now=now, size=installation.Size(runs, refusals=runs))
    with closing(sqlite3.connect(ledger)) as db:
        assert list(violations(db, now, ())) == []
        counts = "SELECT count(*), count(DISTINCT {}) FROM {}"
        for table, key in (("runs", "fingerprint"), ("pictures", "digest"), ("jobs", "id")):
            found, different = db.execute(counts.format(key, table)).fetchone()
            assert found == different
            assert found > runs * (9 if table == "jobs" else 0.9), table


@pytest.mark.slow
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
    assert hit["rate"] > 0
    assert not hit["void"]
    assert "| hit " in done.stdout


@pytest.mark.slow
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
    until = time.monotonic() + 10  # whose parent is gone is buried by the machine, a moment later
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--only", "nothing"], ["--rounds", "0"], ["--rounds", "1.5"], ["--connections", "-1"]),
        *(["--seconds", "nan"], ["--seconds", "1e9"], ["--page"], ["--json", "/nowhere/at/all"]),
        *(["--against", "/nowhere"], ["--against", str(ROOT), str(ROOT)]),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as told:
        main(arguments)
    assert told.value.code == 2
    assert arguments[0] in capsys.readouterr().err


MACHINE = {
    "processors": 2,
    "model": "some",
    "system": "Linux",
    "python": "3",
    "gateway": "1",
    "sqlite": "3",
    "packages": {"uvloop": "1"},
    "pinning": "none",
    "load_average": 0.1,
}


def test_the_record_keeps_the_cases_that_were_not_measured_again(tmp_path: Path) -> None:
    file, order = tmp_path / "bench.json", ("hit", "poll", "ledger")
    former = [Row("ledger, hit", "old"), Row("poll", "old"), Row("page", "kept"), Row("hit", "old")]
    record.kept(file, former, MACHINE, order)
    record.kept(file, [Row("ledger, 304", "new"), Row("hit", "new", void=("why",))], MACHINE, order)
    told = [(row["case"], row["what"]) for row in json.loads(file.read_text("utf-8"))["rows"]]
    assert told == [("hit", "new"), ("poll", "old"), ("ledger, 304", "new"), ("page", "kept")]
    record.kept(file, [Row("hit", "alone")], {**MACHINE, "model": "another"}, order)
    assert len(json.loads(file.read_text("utf-8"))["rows"]) == 1
    file.write_text("[")
    record.kept(file, [Row("hit", "anew")], MACHINE, order)
    assert "anew" in file.read_text("utf-8")


def test_the_page_has_the_tables_between_its_marks(tmp_path: Path) -> None:
    file, page = tmp_path / "bench.json", tmp_path / "page.md"
    page.write_text(f"above\n{record.BEGIN}old\n{record.END}below\n")
    rows = [Row("hit", "16 connections", cpu_us=100.0), Row("page", "left out")]
    record.kept(file, rows, MACHINE, ())
    for _ in range(2):
        record.show(file, page)
        text = page.read_text("utf-8")
        assert text.startswith(f"above\n{record.BEGIN}2 processors, some")
        assert text.endswith(f"|\n{record.END}below\n")
        assert "| hits | 430,000,000 | 430,000,000 |  |" in text  # half a day of 0.1 ms each
        assert "left out" not in text
        assert "old" not in text


def test_an_aim_is_told_beside_its_row_and_whether_it_is_missed() -> None:
    at = "16 connections"
    rows = [Row("hit", at, rate=0.29), Row("hit", at, rate=0.3, note="so"), Row("hit", "1", rate=0)]
    rows += [Row("submit", at, p50_ms=1, p99_ms=6, rate=0.7, beside="floor"), Row("start", at)]
    rows += [Row("ledger, hit", at, cost=1.3)]
    aims.compared(rows)
    assert [row.note for row in rows] == [
        *("aim rate ≥ 0.3: missed", "so; aim rate ≥ 0.3", ""),
        *("aim rate ≥ 0.6; aim p99 of p50 ≤ 5: missed", "", "aim cost ≤ 1.2: missed"),
    ]
