"""The machine that measures: what it is, and which of its cores serve and which ask."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import gateway

PACKAGES: Final = ("starlette", "uvicorn", "uvloop", "httptools", "httpx2", "orjson", "diskcache")


def _available() -> tuple[int, ...]:
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))


AVAILABLE: Final = _available()
SERVER: Final = AVAILABLE[:1] if len(AVAILABLE) > 1 else ()
"""The core of what is measured; empty where nothing can be pinned."""
LOAD: Final = AVAILABLE[1:]
"""The cores of what asks, and of what stands for the vendor."""


@contextmanager
def pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """What is started within the block stays on these cores, with all that it starts."""
    if not SERVER:
        yield
        return
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, AVAILABLE)


def pinning() -> str:
    """In words."""
    if not SERVER:
        return "nothing is pinned: one core, or a system that cannot"
    others = ", ".join(str(core) for core in LOAD)
    return f"servers on core {SERVER[0]}, load and fake upstream on core {others}"


def described() -> Mapping[str, Any]:
    """What a figure is worth nothing without."""
    return {
        "processors": len(AVAILABLE) or os.cpu_count(),
        "model": _model(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "gateway": gateway.__version__,
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "pinning": pinning(),
        "load_average": os.getloadavg()[0],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or "unknown"
    found = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model name"))
    return next(found, "unknown").strip()
