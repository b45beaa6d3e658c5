"""The marker of a bucket: an object with the store's id, which the ledger has as well.

A bucket that is not there answers like one in which nothing is. So what is not found proves
nothing until the marker was seen: it tells at once that the bucket is there, that the keys are
good, and whose store it is.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateway.adapters.pictures.bucket_client import Bucket
from gateway.core.buckets import MARKER
from gateway.core.picture_errors import StoreAway, StoreFull

REMEMBERED_SECONDS: Final = 10.0
"""For so long a bucket that was itself is taken to be itself still, where nothing is lost by it."""

FRESH_SECONDS: Final = 1.0
"""However many ask, the server is asked about once in this time."""

SILENCE_SECONDS: Final = 3.0
"""A little longer than the pace at which the upkeep looks."""

_TEXT: Final = {"Content-Type": "text/plain", "Cache-Control": "no-store"}


class BucketMarker:
    """Knows which store the bucket has to be; until it is told, any will do."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._expected: str | None = None
        self._found: str | None = None
        self._seen_at: float | None = None
        self._problem: StoreFull | None = None
        self._problem_at = 0.0
        self._look: asyncio.Task[None] | None = None

    async def read(self) -> str | None:
        """The first word of the marker; None where there is none.

        Raises `StoreAway` when the bucket is not there or the keys are refused.
        """
        content = await self._bucket.get(MARKER)
        if content is None:
            await self._bucket.listed(MARKER, most=1)
        words = (content or b"").decode(errors="replace").split()
        self._found = words[0] if words else None
        return self._found

    async def claim(self, store_id: str) -> str:
        """Makes the bucket that store, unless another process has just made it one; which it is.

        Only the marker that was read when that was decided is written over.
        """
        decided_by = self._found
        found = await self.read()
        if found != store_id and found == decided_by:
            await self._bucket.put(MARKER, _content(store_id), _TEXT, anew=found is not None)
            found = await self.read()
        if found is None:
            raise StoreFull(f"{self._bucket.where} does not show what was written there")
        return found

    async def is_first_kept(self, store_id: str) -> bool:
        """Whether a second writer is told that it is one. Raises when nothing can be written."""
        return not await self._bucket.put(MARKER, _content(store_id), _TEXT)

    def expect(self, store_id: str) -> None:
        """From now on the bucket has to be this store."""
        self._expected = store_id

    async def require(self, *, at_most_old: float = REMEMBERED_SECONDS) -> None:
        """Raises `StoreAway` for another store and `StoreFull` when nobody can tell.

        What was seen at most so long ago is good enough.
        """
        if self._expected is None:
            return
        if self._seen_at is None or time.monotonic() - self._seen_at >= at_most_old:
            await self._looked()

    async def require_from_now(self) -> None:
        """The same by a look that begins now: what was not found before it is then not there.

        All who ask meanwhile share the next one.
        """
        if self._expected is not None:
            if self._look is not None and not self._look.done():
                await asyncio.shield(self._look)
            await self._looked()

    async def problem(self) -> str | None:
        """What the newest look says. While it is bad nobody waits for the next one, which goes on
        by itself."""
        if self._problem is not None:
            if time.monotonic() - self._problem_at >= FRESH_SECONDS:
                self._start_looking()
            return str(self._problem)
        try:
            await self.require(at_most_old=FRESH_SECONDS)
        except StoreFull as problem:
            return str(problem)
        return None

    def require_no_silence(self) -> None:
        """Raises at once when the last look failed and no later one has ended, so that a crowd
        does not wait one by one for a server that is silent."""
        looks = self._look is not None and not self._look.done()
        if looks or time.monotonic() - self._problem_at < SILENCE_SECONDS:
            self._raise_problem()

    def doubt(self) -> None:
        """Something failed: what was seen before is no proof any more."""
        self._seen_at = None

    async def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    async def _looked(self) -> None:
        """All who ask at the same time wait for one look, which goes on when one of them leaves."""
        await asyncio.shield(self._start_looking())
        self._raise_problem()

    def _start_looking(self) -> asyncio.Task[None]:
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._have_a_look())
        return self._look

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise type(self._problem)(str(self._problem))

    async def _have_a_look(self) -> None:
        try:
            self._require(await self.read())
        except StoreFull as problem:
            self._problem, self._problem_at = problem, time.monotonic()
            self._seen_at = None
        else:
            self._problem, self._seen_at = None, time.monotonic()

    def _require(self, found: str | None) -> None:
        if found is None:
            raise StoreAway(
                f"{self._bucket.where} has no {MARKER}: it is empty or another one; see"
                " storage.pictures"
            )
        if found != self._expected:
            raise StoreAway(f"{self._bucket.where} belongs to another store")


def _content(store_id: str) -> bytes:
    return f"{store_id}\n".encode()
