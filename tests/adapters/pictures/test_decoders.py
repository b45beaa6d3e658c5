"""The decoding processes: what they answer, what they know of us, and what their death means."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from picture_samples import KINDS, jpeg_of_many_scans, picture

from gateway.adapters.pictures import decoders as module
from gateway.adapters.pictures.cost import Cost
from gateway.adapters.pictures.decoders import Decoders, Inspection
from gateway.core.picture_errors import NotAPicture, TooCostly

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


CHEAP = Cost(cpu_seconds=0.3)


def test_a_picture_that_costs_too_much_is_told_apart(decoders: Decoders, file: Path) -> None:
    frugal = Decoders(CHEAP)
    before = processes()
    file.write_bytes(jpeg_of_many_scans(8000, 300))
    with pytest.raises(TooCostly, match=r"more than 0\.3 seconds of a processor"):
        frugal.inspect(file, max_pixels=LIMIT)
    assert processes() == before
    file.write_bytes(picture("png"))
    for _ in range(60):  # the bound is for each picture, not for all that a process does
        assert frugal.inspect(file, max_pixels=LIMIT).width == 40
    frugal.close()


def test_scans_are_counted_before_they_are_decoded(file: Path) -> None:
    patient = Decoders(Cost(cpu_seconds=60.0, scans=20))
    for scans, refused in ((12, False), (21, True), (20_000, True)):
        file.write_bytes(jpeg_of_many_scans(400, scans) + bytes(10_000))
        with pytest.raises(TooCostly, match="more than 20 scans") if refused else nullcontext():
            assert patient.inspect(file, max_pixels=LIMIT).extension == "jpg"
    patient.close()


@pytest.mark.parametrize("kind", KINDS)
def test_no_ordinary_picture_has_too_many_scans(kind: str, file: Path) -> None:
    frugal = Decoders(Cost(cpu_seconds=60.0, scans=12))
    thumbnail = b"\xff\xe1\xff\xfd" + b"\xff\xda\x00\x02" * 16382 + b"\0\0\0"
    whole = picture(kind)
    if whole.startswith(b"\xff\xd8"):
        whole = whole[:2] + thumbnail + whole[2:]  # what stands in other segments does not count
    file.write_bytes(whole + b"\xff\xda\x00\x02" * 100)  # nor what stands behind the end
    assert frugal.inspect(file, max_pixels=LIMIT).width == 40
    frugal.close()


def test_closing_breaks_off_what_has_begun(file: Path) -> None:
    decoders = Decoders(Cost(cpu_seconds=60.0))
    before = processes()
    file.write_bytes(jpeg_of_many_scans(8000, 20_000))
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(decoders.inspect, file, max_pixels=LIMIT)
        while processes() == before:
            time.sleep(0.01)
        decoders.close()
        with pytest.raises(OSError, match=r"ended|Broken pipe"):
            under_way.result(10)
    assert processes() == before


HOLDER = """
import os, sys
from pathlib import Path
from gateway.adapters.pictures.decoders import Decoders
decoders = Decoders()
decoders.inspect(Path(sys.argv[1]), max_pixels=10**6)
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
sys.stdin.read()
"""


AT_WORK = """
import os, sys, threading, time
from pathlib import Path
from gateway.adapters.pictures.cost import Cost
from gateway.adapters.pictures.decoders import Decoders
decoders = Decoders(Cost(cpu_seconds=600.0))
call = lambda: decoders.inspect(Path(sys.argv[1]), max_pixels=10**8)
threading.Thread(target=call, daemon=True).start()
while not (found := "".join(
    path.read_text() for path in Path(f"/proc/{os.getpid()}/task").glob("*/children")
)):
    time.sleep(0.01)
ticks = lambda: int(Path(f"/proc/{int(found)}/stat").read_text().rsplit(")", 1)[1].split()[11])
while ticks() < 20:
    time.sleep(0.05)
print(found, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("program", ["HOLDER", "AT_WORK"])
def test_the_process_does_not_outlive_us(file: Path, program: str) -> None:
    """Whether it waits for a picture or is at work on one that takes minutes."""
    if program == "AT_WORK":
        file.write_bytes(jpeg_of_many_scans(8000, 20_000))
    command = [sys.executable, "-c", globals()[program], str(file)]
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
