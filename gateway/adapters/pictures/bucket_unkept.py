"""What a bucket would not take, until it is seen there.

A bucket may show its marker and yet take no picture: it is full, or its keys may only read. Then
nobody orders, for what is made could not be kept either. The run is tried again by whichever
gateway has it next, so that it may be another one that keeps the picture: this one looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway.adapters.pictures.bucket_client import Bucket
from gateway.adapters.pictures.bucket_marker import FRESH_SECONDS, BucketMarker
from gateway.adapters.pictures.intake import TROUBLE_SECONDS
from gateway.core.picture_errors import StoreAway, StoreFull

NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class _Refused:
    """The object that was refused last; without a size any object of this name is the one."""

    key: str
    size_bytes: int | None
    words: str
    at: float


class BucketUnkept:
    """`close` it. One refusal stands for all: what is kept afterwards proves that it is over."""

    def __init__(self, bucket: Bucket, marker: BucketMarker) -> None:
        self._bucket = bucket
        self._marker = marker
        self._refused: _Refused | None = None
        self._looked_at = NEVER
        self._look: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def noted(self, key: str, size_bytes: int | None = None) -> AsyncIterator[None]:
        """While this object is put. After a failure the marker has to be seen anew; what it tells
        by itself, as of a bucket that is away, is no refusal of this object."""
        try:
            yield
        except StoreFull as problem:
            self._marker.doubt()
            if not isinstance(problem, StoreAway) or await self._marker.problem() is None:
                words = f"a picture could not be kept: {problem}"
                self._refused = _Refused(key, size_bytes, words, time.monotonic())
            raise
        self._refused = None

    @property
    def words(self) -> str | None:
        """Why nothing can be kept, as a sentence. Nobody waits for the look that it begins."""
        refused = self._refused
        if refused is None or time.monotonic() - refused.at >= TROUBLE_SECONDS:
            return None
        self._start_looking(refused)
        return refused.words

    async def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    def _start_looking(self, refused: _Refused) -> None:
        is_looking = self._look is not None and not self._look.done()
        if not is_looking and time.monotonic() - self._looked_at >= FRESH_SECONDS:
            self._looked_at = time.monotonic()
            self._look = asyncio.create_task(self._have_a_look(refused))

    async def _have_a_look(self, refused: _Refused) -> None:
        try:
            seen = await self._bucket.head(refused.key)
        except StoreFull:
            return
        if seen is None or refused.size_bytes not in (None, seen.size_bytes):
            return
        if self._refused is refused:  # nothing else was refused meanwhile
            self._refused = None
