"""A gateway in a process of its own, asked by whoever means no good, and held to its promises.

Whatever comes: no answer of 5xx but a 503 that says when to try again, or what upstream or its
absence brought about; no traceback in the log; another team is served all along; afterwards its
books show exactly what upstream charged, and the audit finds nothing.

`IMAGE_GATEWAY_TEST_HOSTILE_REQUESTS` says how many requests are sent: few of them, always the
same, where it is not set; `make hostile` sends many, new ones each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2 as httpx
from house import (
    ADMIN_KEY,
    FAST,
    ORGANISATION_KEY,
    OTHER_KEY,
    PRICE_USD,
    TEAM_KEY,
    digest,
    settings_text,
)
from hypothesis import HealthCheck, Phase, settings
from processes import GATEWAY, free_port

from gateway.core.model import LIVE_STATES
from gateway.sandbox import RunningSandbox, running_sandbox

ASKED_FOR: Final = int(os.environ.get("IMAGE_GATEWAY_TEST_HOSTILE_REQUESTS", "0"))
SCRAPER_KEY: Final = "scraper-key"
NOWHERE: Final = "http://127.0.0.1:9"
T = TypeVar("T")


def share(short: int, of_a_thousand: int) -> int:
    """How many requests a test sends: `short`, or its part of what was asked for."""
    return max(short, ASKED_FOR * of_a_thousand // 1000)


def examples(count: int) -> settings:
    """So many examples, none shrunk: what failed is shown as it was sent."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=not ASKED_FOR,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


class Elsewhere:
    """An event loop in a thread of its own, for servers beside tests that are no coroutines."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def serving(self, server: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
        given = self.run(server.__aenter__())
        try:
            yield given
        finally:
            self.run(server.__aexit__(None, None, None))


@dataclass
class Neighbour:
    """A team that minds its own business: it orders and polls, and is served all along."""

    url: str
    model: str = "gpt-image-1.5"
    served: int = 0
    failed: list[str] = field(default_factory=list)
    _gone: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def about(self) -> Iterator[None]:
        self._thread = threading.Thread(target=self._orders)
        self._thread.start()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        self._gone.set()
        self._thread.join()

    def _orders(self) -> None:
        headers = {"Authorization": f"Bearer {OTHER_KEY}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=20) as client:
            while not self._gone.wait(0.2):
                try:
                    self._order(client, self.served // 5)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))

    def _order(self, client: httpx.Client, number: int) -> None:
        wish = {"model": self.model, "prompt": f"a lighthouse, number {number}"}
        answer = client.post("/v1/images/generations", json=wish)
        if answer.status_code != 200:
            self.failed.append(answer.text)
        self.served += 1


@dataclass
class Siege:
    """A running gateway, and what watches it."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    sandbox: RunningSandbox | None
    neighbour: Neighbour
    may_complain: bool = False
    """Whether its log may have errors: where the machine fails it, an operator has to know."""
    complaint: str | None = None
    """An error that its log may have for the same reason, by its event."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "process.log").read_text("utf-8", "replace")

    @property
    def operator(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def settled(self, seconds: float = 60) -> None:
        """Returns once the neighbour is gone and no run is live."""
        self.neighbour.leave()
        live = {f'{{state="{state.value}"}}' for state in LIVE_STATES}

        def left() -> dict[str, float]:
            runs = self.metrics("gateway_runs")
            return {state: runs[state] for state in live if runs[state]}

        end = time.monotonic() + seconds
        while runs := left():
            assert time.monotonic() < end, runs
            time.sleep(0.02)

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of one metric by their labels."""
        with self.operator as client:
            lines = client.get("/metrics").text.splitlines()
        found = (line.removeprefix(name).rsplit(" ", 1) for line in lines if _is_of(line, name))
        return {labels: float(value) for labels, value in found}

    def spent_usd_micros(self) -> int:
        """By every team that there is or was."""
        return sum(round(one * 1e6) for one in self.metrics("gateway_spend_usd_total").values())


def _is_of(line: str, name: str) -> bool:
    return line.startswith((name + "{", name + " "))


def _charged_usd_micros(sandbox: RunningSandbox) -> int:
    pictures = sum(one.pictures for one in sandbox.state.tasks.values())
    return round(pictures * PRICE_USD * 1e6)


def _settings(base_url: str, folder: Path, **changes: Any) -> str:
    """Two teams, keys for everybody, and nobody outside this machine to call."""
    away = {"proxy": NOWHERE, "allow_private_addresses": False}
    given: dict[str, Any] = {
        "server": {"metrics_keys": [digest(SCRAPER_KEY)]},
        "callbacks": {"proxy": NOWHERE, "retries": ["10ms"], "timeout": "1s"},
        "alerts": away,
        "references": away,
        **changes,
    }
    return settings_text(base_url, folder, **given)


@contextlib.contextmanager
def besieged(folder: Path, **changes: Any) -> Iterator[Siege]:
    """A gateway in front of a sandbox, proven afterwards."""
    elsewhere = Elsewhere()
    try:
        with (
            elsewhere.serving(running_sandbox(FAST)) as sandbox,
            attacked(folder, sandbox.base_url, sandbox, **changes) as siege,
        ):
            yield siege
    finally:
        elsewhere.end()


@contextlib.contextmanager
def attacked(
    folder: Path,
    upstream: str,
    sandbox: RunningSandbox | None = None,
    *,
    neighbours_model: str = "gpt-image-1.5",
    **changes: Any,
) -> Iterator[Siege]:
    """A gateway in front of whatever is at `upstream`, proven afterwards."""
    config = folder / "config.yaml"
    config.write_text(_settings(upstream, folder / "data", **changes))
    with _serving(config, folder) as (process, port):
        neighbour = Neighbour(f"http://127.0.0.1:{port}", neighbours_model)
        siege = Siege(port, process, folder, sandbox, neighbour)
        with neighbour.about():
            yield siege
        _prove(siege)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    wrong = [line for line in siege.log.splitlines() if "Traceback" in line]
    if not siege.may_complain:
        errors = [line for line in siege.log.splitlines() if '"level":"error"' in line]
        wrong += [line for line in errors if f'"event":"{siege.complaint}"' not in line]
    assert wrong == [], "\n".join(wrong[:3])
    audit = [*GATEWAY, "audit", "--config", str(config)]
    done = subprocess.run(audit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _serving(config: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    command = [*GATEWAY, "serve", "--config", str(config), "--port", str(port)]
    with (folder / "process.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert b"ready" in line, (folder / "process.log").read_text()
            yield process, port
        finally:
            process.kill()


def _prove(siege: Siege) -> None:
    assert siege.process.poll() is None, siege.log[-3000:]
    assert siege.neighbour.failed == [], siege.neighbour.failed[:3]
    siege.settled()
    if siege.sandbox is not None:
        assert siege.spent_usd_micros() == _charged_usd_micros(siege.sandbox)


def within(seconds: float, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


AUTHORIZED: Final = {TEAM_KEY, OTHER_KEY, ADMIN_KEY, SCRAPER_KEY, ORGANISATION_KEY}
