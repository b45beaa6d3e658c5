"""A body on its way to being a picture: received, unfolded where it was coded, and decoded.

It leaves a draft. Whether that gets a name of its own is for the store to say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ParamSpec

from gateway.adapters.pictures.decoders import Inspection
from gateway.adapters.pictures.disk import BATCH_BYTES, in_thread
from gateway.adapters.pictures.drafts import Draft
from gateway.adapters.pictures.unfolding import codings_of, unfolded
from gateway.core.model import Picture
from gateway.core.picture_errors import LinkBroken, NotAPicture, PictureTooLarge
from gateway.process.together import begun

P = ParamSpec("P")

Inspect = Callable[[Path], Awaitable[Inspection]]
"""`Decoding.inspect` for one team."""


class Arrival:
    """Its drafts are in the folder `scratch`, and are written in threads of `writers`.

    `begin` makes a draft's file where the store can be had at all, and blocks. It is called with
    the first bytes, so that a small picture takes one hop until it is proven; what the store
    refuses then is `noted`.
    """

    def __init__(
        self,
        scratch: Path,
        writers: ThreadPoolExecutor,
        *,
        begin: Callable[[Draft], None],
        noted: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._scratch = scratch
        self._writers = writers
        self._begin = begin
        self._noted = noted
        self._has_begun = False
        self._lock = threading.Lock()
        self.as_it_came = Draft(scratch)
        self.unfolded = self.as_it_came
        """The same draft, unless something was coded around the picture."""

    async def proven(
        self, body: AsyncIterator[bytes], inspect: Inspect, *, max_bytes: int
    ) -> Picture:
        """The picture that `body` brings, as `inspect` tells it.

        Raises NotAPicture, PictureTooLarge or StoreFull; what `body` raises comes out unchanged.
        """
        rest = await self._receive(body, max_bytes)
        await self._written(self._complete, rest, max_bytes)
        draft = self.unfolded
        facts = await inspect(draft.path)
        return Picture(
            digest=draft.digest,
            extension=facts.extension,
            size_bytes=draft.size_bytes,
            width=facts.width,
            height=facts.height,
        )

    async def discard(self) -> None:
        """Takes away what has no other name yet."""
        if not (self.as_it_came.is_discarded and self.unfolded.is_discarded):
            # Once begun it is done, also where the caller is cancelled a second time.
            await asyncio.shield(begun(self._writers, self._discard))

    async def _receive(self, body: AsyncIterator[bytes], max_bytes: int) -> bytearray:
        """Writes the body in batches: one hop for many small chunks. The last is still to write."""
        batch = bytearray()
        received = 0
        async for chunk in body:
            received += len(chunk)
            if received > max_bytes:
                raise PictureTooLarge(f"more than {max_bytes} bytes")
            batch += chunk
            if len(batch) >= BATCH_BYTES:
                await self._written(self.as_it_came.write, batch)
                batch = bytearray()
        if received == 0:
            raise NotAPicture("there are no bytes")
        return batch

    async def _written(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Does the work in a thread, once the draft has begun."""
        if self._has_begun:
            await in_thread(self._writers, work, *args, **kwargs)
            return

        def with_the_first_bytes() -> None:
            self._begin(self.as_it_came)
            work(*args, **kwargs)

        self._has_begun = True
        with self._noted():
            await in_thread(self._writers, with_the_first_bytes)

    def _complete(self, rest: bytearray, max_bytes: int) -> None:
        self.as_it_came.write(rest)
        source = self.as_it_came.path
        if codings := codings_of(source):
            draft = self._begin_unfolded()
            draft.fill(unfolded(source, codings, max_bytes=max_bytes))

    def _begin_unfolded(self) -> Draft:
        with self._lock:
            self.as_it_came.require()
            self.unfolded = Draft(self._scratch)
            return self.unfolded

    def _discard(self) -> None:
        """Both, of which one may be made meanwhile by a thread whose caller has gone."""
        with self._lock:
            self.as_it_came.discard()
            self.unfolded.discard()


class BodyUntilBroken:
    """A body that ends where it breaks, once something of it has come; `broken` is how."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._has_come = False
        self.broken: LinkBroken | None = None

    def __aiter__(self) -> BodyUntilBroken:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._body)
        except LinkBroken as problem:
            if not self._has_come:
                raise
            self.broken = problem
            raise StopAsyncIteration from problem
        self._has_come = self._has_come or bool(chunk)
        return chunk
