"""What a ledger's file says of its pictures before the ledger is opened, which may migrate it.

A file that is not there, or cannot be read, knows nothing: to open it tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from gateway.adapters.ledger.ledger_file import LedgerFile
from gateway.core.model import Picture
from gateway.errors import Unavailable

T = TypeVar("T")


class UnopenedLedger:
    """The part of the `Ledger` port that tells which picture folder belongs to it.

    None for a ledger that is in no file: a former one may lie there still.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def store_id(self) -> str | None:
        return await self._asked(LedgerFile.store_id, None)

    async def picture_totals(self) -> tuple[int, int]:
        return await self._asked(LedgerFile.picture_totals, (0, 0))

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        return await self._asked(lambda file: file.pictures(after=after, limit=limit), ())

    async def _asked(self, ask: Callable[[LedgerFile], T], otherwise: T) -> T:
        return await asyncio.to_thread(self._ask, ask, otherwise)

    def _ask(self, ask: Callable[[LedgerFile], T], otherwise: T) -> T:
        if self._path is None or not self._path.exists():
            return otherwise
        try:
            with closing(LedgerFile(self._path)) as file:
                return ask(file)
        except Unavailable:
            return otherwise
