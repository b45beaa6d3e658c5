"""What decoding one picture may cost, and how a decoding process keeps to it.

The bounds are the machine's and not the wall's: whoever waits for a processor pays nothing. They
are set in the process that decodes, so that nothing in the bytes can talk them away.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.picture_errors import TooCostly


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a processor, and passes over the picture that a JPEG may ask for (None: any)."""

    cpu_seconds: float
    scans: int | None = None


PAID: Final = Cost(cpu_seconds=30.0)
"""Many times what the largest allowed picture takes: what is paid is thrown away for no less."""

UNPAID: Final = Cost(cpu_seconds=5.0, scans=100)
"""The largest allowed picture takes about two; progressive JPEGs have ten scans or so."""

OVERRUN: Final = signal.SIGPROF
"""What ends a process at its bound."""

_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_START_OF_IMAGE: Final = b"\xff\xd8"
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
# A marker between the scans' data: there, 0xFF is followed by 0 or a restart's number.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)


@contextmanager
def at_most(cpu_seconds: float) -> Iterator[None]:
    """Ends this process by `OVERRUN` when the block takes more of a processor."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def die_with(parent: int) -> None:
    """From now on this process is killed when `parent`, which started it, dies.

    Elsewhere than on Linux it ends once it reads its input again, and meanwhile at its bound.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def check_scans(path: Path, most: int | None) -> None:
    """Raises `TooCostly` for a JPEG of more scans: each is a pass over all of its pixels.

    They are counted by their markers alone, which takes no more than reading the file.
    """
    if most is None or path.stat().st_size < len(_START_OF_IMAGE):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:2] != _START_OF_IMAGE:
            return
        for count, _ in enumerate(_scans(data), 1):
            if count > most:
                raise TooCostly(f"it has more than {most} scans")


def _scans(data: mmap.mmap) -> Iterator[int]:
    """Where the scans begin, outside of other segments: there may be a thumbnail with its own."""
    at = len(_START_OF_IMAGE)
    while (found := _MARKER.search(data, at)) and found[1][0] != _END_OF_IMAGE:
        if found[1][0] == _START_OF_SCAN:
            yield found.start()
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
