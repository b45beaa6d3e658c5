"""A disk that is full or will not be written to, at whichever write comes next, and descriptors
that run out: what can be answered is answered, what is paid is kept, and then all goes on."""

from __future__ import annotations

import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import httpx2 as httpx
import pytest
from house import TEAM_KEY
from siege import ASKED_FOR, besieged, within

DISK_BYTES: Final = 24 * 2**20
LIMIT: Final = "60KB"
"""Of a picture, and so the room that orders need: so little that writes fail, not orders alone."""
AUTH: Final = {"Authorization": f"Bearer {TEAM_KEY}"}


def order(client: httpx.Client, prompt: str) -> httpx.Response:
    return client.post("/v1/images/generations", json={"model": "gpt-image-1.5", "prompt": prompt})


# --- disks ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, where this machine lets us mount one."""
    place = tmp_path / "data"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root mounts a disk, and not in every container")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def full(disk: Path, spare_bytes: int) -> Iterator[None]:
    """No more than `spare_bytes` are free on it, so that one write or another is the last."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(65_536))
        file.truncate(max(0, file.tell() - spare_bytes))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def sealed(disk: Path) -> Iterator[None]:
    """No file may be made, moved or removed on it: even a gateway that runs as root cannot."""
    folders = [str(one) for one in (disk, *disk.rglob("*")) if one.is_dir()]
    if subprocess.run(["chattr", "+i", *folders], capture_output=True, check=False).returncode:
        pytest.skip("this file system cannot seal folders")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *folders], check=True)


LEFT_KIB: Final = (0, 4, 8, 16, 32, 64, 128, 300, 1000) if ASKED_FOR else (0, 64)
TROUBLES: Final[Mapping[str, Callable[[Path], AbstractContextManager[None]]]] = {
    **{f"{kib} KiB left": partial(full, spare_bytes=kib * 1024) for kib in LEFT_KIB},
    "sealed": sealed,
}


@pytest.mark.files
def test_a_disk_that_takes_no_more_costs_nobody_money(tmp_path: Path, disk: Path) -> None:
    with besieged(tmp_path, storage={"picture_limit": LIMIT}) as siege:
        siege.neighbour.leave()
        siege.may_complain = True
        with httpx.Client(base_url=siege.url, headers=AUTH, timeout=20) as client:
            for name, trouble in TROUBLES.items():
                begun = [order(client, f"{name} {i} [sandbox:delay=0.3]") for i in range(4)]
                with trouble(disk):
                    for number in range(6):
                        is_honest(order(client, f"{name}, refused {number}"))
                    time.sleep(0.6)  # meanwhile what has begun ends upstream
                    for path in ASKED:
                        is_honest(client.get(path))
                    is_honest(upload(client))
                    assert client.get("/healthz").status_code == 200
                for one in [*begun, taken(client, f"{name}, afterwards")]:
                    assert one.status_code == 200, one.text
                    completed(client, one.json()["id"])


ASKED: Final = ("/v1/tasks", "/v1/credits", "/v1/models", "/readyz", "/team/v1/orders", "/metrics")


def upload(client: httpx.Client) -> httpx.Response:
    """One that is too large for memory alone."""
    return client.post("/api/v1/files/upload/stream", files={"file": ("a.png", bytes(3_000_000))})


def is_honest(answer: httpx.Response) -> None:
    if answer.status_code >= 500:
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers or answer.url.path == "/readyz", answer.text


def taken(client: httpx.Client, prompt: str) -> httpx.Response:
    """The answer to an order once there is room again."""
    within(40, lambda: order(client, prompt).status_code == 200)
    return order(client, prompt)


def completed(client: httpx.Client, task_id: str) -> None:
    def is_done() -> bool:
        task = client.get(f"/v1/tasks/{task_id}").json()
        assert task.get("status") != "failed", task
        return bool(task.get("status") == "completed")

    within(30, is_done)


# --- descriptors ---------------------------------------------------------------------------------


def test_a_thousand_descriptors_are_enough_to_go_on_with(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with besieged(tmp_path) as siege:
            siege.neighbour.leave()
            resource.prlimit(siege.process.pid, resource.RLIMIT_NOFILE, (1000, 1000))
            with ExitStack() as crowd:
                for _ in range(1300):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", siege.port), 10))
                time.sleep(1)
            with httpx.Client(base_url=siege.url, headers=AUTH, timeout=20) as client:
                completed(client, taken(client, "afterwards").json()["id"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
