"""What processes have used of the processors and hold of memory, as Linux tells it.

Elsewhere it is 0, and a table has no such figures.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pids: list[int]) -> float:
    """What these processes, and those of theirs that have ended, have used of the processors."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text()
            ticks += sum(int(one) for one in text.rpartition(")")[2].split()[11:15])
    return ticks / TICKS


def resident_mib(pids: list[int]) -> float:
    """The memory that is theirs now; what several share counts for each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 1024 / 1024


def descriptors(pid: int) -> int:
    """How many files and connections it has open."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def family(pids: list[int]) -> list[int]:
    """These, their children, and the children of those."""
    parents: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    text = (entry / "stat").read_text()
                    parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, last = list(pids), list(pids)
    while last:
        last = [pid for pid, parent in parents.items() if parent in last]
        found += last
    return found
