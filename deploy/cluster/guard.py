"""Ends what a cluster has started when the cluster itself was killed and could end nothing.

A process of its own that waits for its standard input to end. The cluster alone holds the other
end: it says so before it ends in good order; killed (SIGKILL), it can say nothing any more.

    python -m cluster.guard /tmp/image-gateway-cluster-…
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_DISMISSED: Final = b"dismissed"
_PATIENCE_SECONDS: Final = 3.0
"""So long they have to end by themselves: PostgreSQL gives its shared memory back."""
_GIVEN_UP_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.2
_QUIET_LOOKS: Final = 5
"""None is seen so often: one that starts another just then is not missed."""


class Guard:
    """Holds the other end, for as long as a cluster lives in `folder`; as a context."""

    def __init__(self, folder: Path) -> None:
        self._command = (sys.executable, "-m", "cluster.guard", str(folder))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent,
            start_new_session=True,  # what ends the cluster's group leaves it
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate(_DISMISSED)


def end_all(folder: Path) -> None:
    """Ends every process whose command names the folder, and takes the folder away."""
    began = time.monotonic()
    looks = 0
    while looks < _QUIET_LOOKS and time.monotonic() < began + _GIVEN_UP_SECONDS:
        found = _processes_of(folder)
        looks = 0 if found else looks + 1
        is_late = time.monotonic() > began + _PATIENCE_SECONDS
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if is_late else signal.SIGQUIT)
        time.sleep(_LOOK_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_of(folder: Path) -> list[int]:
    """The folder's name is a random one: nobody else's command has it."""
    return [pid for pid, command in _commands() if str(folder) in command and pid != os.getpid()]


def _commands() -> Iterator[tuple[int, str]]:
    """All processes; one that has ended and that nobody has asked about has no command."""
    if not Path("/proc/self/cmdline").exists():
        asked = ("ps", "-A", "-o", "pid=,args=")
        listed = subprocess.run(asked, capture_output=True, text=True, errors="replace", check=True)
        for line in listed.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command
        return
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield int(place.parent.name), place.read_bytes().decode(errors="replace")


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.stdin.buffer.read() == _DISMISSED:
        return
    end_all(folder)
    with suppress(OSError):  # nobody reads any more
        print(f"The cluster was killed; what it had started in {folder} is ended.", file=sys.stderr)


if __name__ == "__main__":
    main()
