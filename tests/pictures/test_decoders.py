"""The decoding processes: what they answer, what they know of us, and what their death means."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from picture_samples import KINDS, picture

from gateway.core.pictures import NotAPicture
from gateway.pictures import decoders as module
from gateway.pictures.decoders import Decoders, Inspection

LIMIT = 64_000_000
TWO_BY_ONE = '{"media_type": "image/png", "extension": "png", "width": 2, "height": 1}'


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    decoders = Decoders()
    yield decoders
    decoders.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "picture with spaces \u00fc.part"
    path.write_bytes(picture("png"))
    return path


@pytest.fixture
def fake_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of the decoding process."""

    def use(script: str) -> None:
        path = tmp_path / "interpreter"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return use


def processes() -> set[int]:
    """The living children of this process."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in children for pid in path.read_text().split()}


def test_the_answer_is_the_inspections(decoders: Decoders, file: Path) -> None:
    expected = Inspection("image/png", "png", 40, 24)
    assert decoders.inspect(file, max_pixels=LIMIT) == expected


def test_one_process_serves_one_caller_again_and_again(decoders: Decoders, file: Path) -> None:
    before = processes()
    for kind in KINDS:
        file.write_bytes(picture(kind))
        decoders.inspect(file, max_pixels=LIMIT)
        file.write_bytes(picture(kind)[:50])
        with pytest.raises(NotAPicture, match="does not decode"):
            decoders.inspect(file, max_pixels=LIMIT)
        with pytest.raises(OSError, match="No such file"):
            decoders.inspect(file.with_name("missing"), max_pixels=LIMIT)
    assert len(processes() - before) == 1


def test_the_pixel_limit_is_the_callers(decoders: Decoders, file: Path) -> None:
    with pytest.raises(NotAPicture, match="40x24 is more than 100 pixels"):
        decoders.inspect(file, max_pixels=100)


def test_many_callers_get_their_own_answers(decoders: Decoders, tmp_path: Path) -> None:
    sizes = [(width, height) for width in range(1, 9) for height in range(1, 5)]

    def inspect(size: tuple[int, int]) -> tuple[int, int]:
        path = tmp_path / f"{size}"
        path.write_bytes(picture("png", *size))
        found = decoders.inspect(path, max_pixels=LIMIT)
        return found.width, found.height

    before = processes()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(inspect, sizes)) == sizes
    assert len(processes() - before) <= 3


def test_closing_ends_the_processes(decoders: Decoders, file: Path) -> None:
    before = processes()
    decoders.inspect(file, max_pixels=LIMIT)
    decoders.close()
    decoders.close()
    assert processes() == before


def test_a_process_that_was_killed_while_idle_is_replaced(decoders: Decoders, file: Path) -> None:
    before = processes()
    decoders.inspect(file, max_pixels=LIMIT)
    [pid] = processes() - before
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert decoders.inspect(file, max_pixels=LIMIT).width == 40


@pytest.mark.parametrize("script", ["exit 1", "read line; kill -9 $$", "read line; echo -n {"])
def test_a_process_that_dies_is_not_the_pictures_fault(
    decoders: Decoders, file: Path, fake_interpreter: Callable[[str], None], script: str
) -> None:
    before = processes()
    fake_interpreter(script)
    with pytest.raises(OSError, match=r"ended|Broken pipe"):
        decoders.inspect(file, max_pixels=LIMIT)
    assert processes() == before


def test_a_process_that_hangs_is_ended(
    decoders: Decoders,
    file: Path,
    fake_interpreter: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = processes()
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    fake_interpreter("exec sleep 60")
    with pytest.raises(OSError, match="more than 0 seconds"):
        decoders.inspect(file, max_pixels=LIMIT)
    assert processes() == before


def test_the_process_gets_none_of_our_secrets(
    decoders: Decoders,
    file: Path,
    fake_interpreter: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "secret")
    seen = file.with_name("seen")
    fake_interpreter(f"env > {seen}\nread line\necho '{TWO_BY_ONE}'\nread line")
    assert decoders.inspect(file, max_pixels=LIMIT).width == 2
    assert "PYTHONPATH=" in seen.read_text()
    assert "secret" not in seen.read_text()


HOLDER = """
import os, sys
from pathlib import Path
from gateway.pictures.decoders import Decoders
decoders = Decoders()
decoders.inspect(Path(sys.argv[1]), max_pixels=10**6)
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
sys.stdin.read()
"""


def test_the_process_does_not_outlive_us(file: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        ended = select.poll()
        descriptor = os.pidfd_open(int(holder.stdout.readline()))
        ended.register(descriptor, select.POLLIN)
        assert not ended.poll(0)
        holder.kill()
        assert ended.poll(10_000)
        os.close(descriptor)
