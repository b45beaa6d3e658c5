"""Data folders that former versions left, for tests to go on with."""

from __future__ import annotations

import sqlite3
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMBERS: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Early versions of Python 3.11 know no filter; the archives are this project's own."""

FOLDER = Path(__file__).resolve().parent / "former"


@dataclass(frozen=True)
class Former:
    """What is known of one: `made_at` is when, so that nothing in it is old to a test."""

    file: str
    schema: int
    made_at: float
    task_id: str
    design_key: str
    pictures: tuple[str, ...]

    def unpack(self, folder: Path) -> Path:
        with tarfile.open(FOLDER / self.file) as archive:
            archive.extractall(folder, **MEMBERS)
        folder.chmod(0o750)
        return folder

    def clock(self) -> Callable[[], float]:
        began = time.time()
        return lambda: self.made_at + 60 + time.time() - began


ORDER = {"prompt": "a red bicycle", "quality": "low", "size": "1:1", "n": 2}
IDEMPOTENCY_KEY = "spring-1"

LATEST = Former(
    "data-0.1.0.tar.gz",
    schema=9,
    made_at=1795907328.0,
    task_id="task-unified-1795907328-lcnrr4et",
    design_key="igw_etyum628k0de_aYV7G0biaP257RWCqBKzsAk_MnN9o2vozhVllRsO5Q0",
    pictures=(
        "1bb886af61bb4c36ea7e2acafcef4fe6268b2c6525a78d4cbbafe25aca48f05e.png",
        "e6dab7e557749ce1a8d22a5be9dad9dc9ce522e219c644b7a045a3885964aafa.png",
    ),
)
OLDEST = Former(
    "data-schema-3.tar.gz",
    schema=3,
    made_at=1795907342.0,
    task_id="task-unified-1795907342-scqctwqq",
    design_key="igw_tqq3srrhv0mx_jeqm-b-aeWhFBV-icLoQjT3voagUZNm2CRnPxm_ld24",
    pictures=(
        "6e97755cb4b81a02ea1aec2465216651df658a56b7855eb975f741b0836848f1.png",
        "afcb576258606de75bf598c600f3cf99252dd7e336217f163e91c26dde76556d.png",
    ),
)


def told(ledger: Path) -> list[str]:
    """All that is in a ledger, as SQL."""
    with closing(sqlite3.connect(ledger)) as db:
        return list(db.iterdump())
