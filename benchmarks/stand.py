"""What is measured and what measures it, each a process of its own on a free port of loopback.

A stand is a context: whatever was started in it has ended when it is left.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster.gateways import PROXIES, Replica
from cluster.ports import free_ports
from cluster.programs import DIRECT, Program

from benchmarks import installation, machine, nginx
from benchmarks.load import Plan
from benchmarks.processors import family, processor_seconds
from gateway.wiring import LEDGER_NAME

ROOT: Final = Path(__file__).resolve().parent.parent
OPEN: Final = "SELECT count(*) FROM runs WHERE state NOT IN ('done', 'failed')"
ENDED: Final = "SELECT count(*) FROM runs WHERE state = ?"
SETTLE_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Server:
    """One that is measured: where it listens and which processes are its."""

    name: str
    port: int
    pid: int

    @property
    def pids(self) -> list[int]:
        return family([self.pid])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Load:
    """The process that asks; a plan at a time."""

    def __init__(self) -> None:
        with machine.pinned(machine.LOAD):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.load"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def ask(self, plan: Plan) -> Mapping[str, Any]:
        """What came of it, as `load.Outcome` tells it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(plan)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that asks has ended")
        found: Mapping[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass
class Stand:
    """The parts that run, and a place for their files."""

    folder: Path
    ends: ExitStack
    load: Load
    upstream: Server | None = None
    numbers: int = 0
    failed_before: dict[str, int] = field(default_factory=dict)

    def fresh(self, count: int = 10_000_000) -> int:
        """So many numbers that no request had before; the first of them."""
        self.numbers += count
        return self.numbers - count

    def start(
        self, name: str, *command: str, port: int, cores: tuple[int, ...] = machine.SERVER
    ) -> Server:
        """A program that listens on the port when it is ready."""
        folder = self.folder / name
        folder.mkdir()
        environment = {"PYTHONPATH": str(ROOT), **_without_proxies()}
        program = Program(name, command, folder / "log", environment=environment)
        with machine.pinned(cores):
            program.start(lambda: listens(port))
        self.ends.callback(program.stop)
        assert program.pid is not None
        return Server(name, port, program.pid)

    def module(self, name: str, *words: str, cores: tuple[int, ...] = machine.SERVER) -> Server:
        """A module of this package, whose arguments have the port in the place of PORT."""
        (port,) = free_ports(1)
        arguments = [str(port) if word == "PORT" else word for word in words]
        command = (sys.executable, "-m", f"benchmarks.{name}", *arguments)
        told = " ".join((name, *words[: words.index("PORT")]))
        return self.start(told, *command, port=port, cores=cores)

    def add_upstream(self) -> Server:
        self.upstream = self.module("upstream", "PORT", cores=machine.LOAD)
        return self.upstream

    def add_gateway(
        self,
        name: str = "gateway",
        *,
        tree: Path = ROOT,
        teams: int = installation.TEAMS,
        server: Mapping[str, object] | None = None,
    ) -> Server:
        """As `serve` runs it; `server` is more of that section of its settings."""
        assert self.upstream is not None
        folder = self.folder / name
        text = installation.settings(self.upstream.url, folder / "data", teams=teams)
        settings = json.loads(text)
        settings["server"] |= server or {}
        (port,) = free_ports(1)
        one = Replica(name, port, folder, settings, {"PYTHONPATH": str(tree)})
        with machine.pinned(machine.SERVER):
            one.start()
        self.ends.callback(one.stop)
        assert one.pid is not None
        found = Server(name, port, one.pid)
        self.failed_before[name] = count(self.ledger_of(found), ENDED, "failed")
        return found

    def add_nginx(self, files: Path) -> Server | None:
        """With sendfile; None where it is not installed."""
        return self._add_nginx("nginx", lambda port: nginx.of_files(port, files))

    def add_nginx_in_front(self, gateway: Server) -> Server | None:
        """Which sends the gateway's pictures from their files; None where it is not installed."""
        pictures = self.folder / gateway.name / "data" / "pictures"
        return self._add_nginx(
            f"nginx before {gateway.name}",
            lambda port: nginx.in_front(port, gateway.port, pictures),
        )

    def _add_nginx(self, name: str, inside: Callable[[int], str]) -> Server | None:
        program = nginx.program()
        if program is None:
            return None
        (port,) = free_ports(1)
        file = nginx.written(self.folder / f"{name} conf", inside(port))
        return self.start(name, program, "-c", str(file), "-e", "stderr", port=port)

    def release(self) -> None:
        """What upstream holds is done."""
        assert self.upstream is not None
        call(f"{self.upstream.url}/release", method="POST")

    def settled(self, server: Server, *, seconds: float = SETTLE_SECONDS) -> str:
        """Waits until no run is open there. Says what is wrong, if something is."""
        until = time.monotonic() + seconds
        while count(self.ledger_of(server), OPEN):
            if time.monotonic() > until:
                return "a run did not end"
            time.sleep(0.1)
        failed = count(self.ledger_of(server), ENDED, "failed") - self.failed_before[server.name]
        return f"{failed} runs failed" if failed else ""

    def ledger_of(self, server: Server) -> Path:
        return self.folder / server.name / "data" / LEDGER_NAME


@contextmanager
def stand() -> Iterator[Stand]:
    with ExitStack() as ends:
        folder = installation.folder()
        load = Load()
        ends.callback(load.end)
        one = Stand(folder, ends, load)
        one.add_upstream()
        yield one


def idle_share(server: Server, seconds: float) -> float:
    """What it takes of a core while nobody asks."""
    before = processor_seconds(server.pids)
    time.sleep(seconds)
    return (processor_seconds(server.pids) - before) / seconds


def count(ledger: Path, query: str, *values: object) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        return int(db.execute(query, values).fetchone()[0])


def call(url: str, body: object = None, *, method: str | None = None, **headers: str) -> Any:
    """One request of the first team's, outside of any window; its JSON or its text."""
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {installation.TEAM_KEY}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        method=method,
    )
    with DIRECT.open(request, timeout=90) as answer:
        content = answer.read()
    return json.loads(content) if content[:1] in b"{[" else content.decode("latin")


def _without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
