"""What every store does with a body before it keeps anything: received, proven, or set aside.

The drafts lie in a folder of this machine. Where they go from there the store says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gateway.adapters.pictures.arrival import Arrival, BodyUntilBroken
from gateway.adapters.pictures.decoding import for_paid, for_unpaid
from gateway.adapters.pictures.drafts import Draft
from gateway.core.model import Picture
from gateway.core.picture_errors import (
    ORDINARY,
    LinkBroken,
    NotAPicture,
    Origin,
    StoreAway,
    StoreFull,
)

MAX_PIXELS: Final = 64_000_000  # eight times the largest that upstream makes
TROUBLE_SECONDS: Final = 120.0  # a run tries again at least every 30 s: longer, and none waits

SetAside = Callable[[Draft, Origin, NotAPicture, LinkBroken | None], Awaitable[bool]]
"""Keeps bytes that are no picture for the operator; whether they lie there now."""


class StoreTrouble:
    """What the store refused while something was to be kept, for as long as it may still hold."""

    def __init__(self) -> None:
        self._last: tuple[str, float] | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        try:
            yield
        except StoreAway:
            raise  # whoever asks whether there is a problem looks for itself
        except StoreFull as error:
            self._last = f"a picture could not be kept: {error}", time.monotonic()
            raise

    def over(self) -> None:
        """Something was kept."""
        self._last = None

    @property
    def words(self) -> str | None:
        if self._last and time.monotonic() - self._last[1] < TROUBLE_SECONDS:
            return self._last[0]
        return None


@dataclass(frozen=True, slots=True)
class IntakeDeps:
    """`begin` makes a draft's file, where the store can be had at all; it blocks."""

    scratch: Path
    writers: ThreadPoolExecutor
    begin: Callable[[Draft], None]
    set_aside: SetAside
    trouble: StoreTrouble
    max_pixels: int = MAX_PIXELS


class Intake:
    """One for each store; `close` it."""

    def __init__(self, deps: IntakeDeps) -> None:
        self._deps = deps
        # Pictures that are not paid for never wait before one that is to be kept.
        self._paid = for_paid()
        self._unpaid = for_unpaid()

    @asynccontextmanager
    async def proven(
        self, body: AsyncIterator[bytes], *, max_bytes: int, origin: Origin | None
    ) -> AsyncIterator[tuple[Picture, Draft]]:
        """The picture that `body` brings and the draft that holds it, for as long as it lasts.

        A body that breaks may have brought the whole picture first, as under a wrong length: what
        came of it is proven like any other. Raises NotAPicture, PictureTooLarge or StoreFull; what
        `body` raises comes out unchanged. Of an `origin` what is no picture is set aside.
        """
        deps = self._deps
        arrival = Arrival(deps.scratch, deps.writers, begin=deps.begin, noted=deps.trouble.noted)
        arriving = BodyUntilBroken(body)
        team = origin.team if origin else ""
        inspect = partial(self._paid.inspect, team=team, max_pixels=self._deps.max_pixels)
        try:
            yield (
                await arrival.proven(arriving, inspect, max_bytes=max_bytes),
                arrival.unfolded,
            )
        except NotAPicture as problem:
            draft = arrival.as_it_came
            problem.digest = draft.digest
            if origin is not None and draft.size_bytes:
                problem.set_aside = await self._deps.set_aside(
                    draft, origin, problem, arriving.broken
                )
            if arriving.broken is None:
                raise
            arriving.broken.set_aside = problem.set_aside
            raise arriving.broken from problem
        finally:
            await arrival.discard()

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str) -> Picture:
        """What the bytes are; nothing of them stays behind. Raises as `proven` does.

        Only the kinds that upstream takes are pictures here.
        """
        arrival = Arrival(self._deps.scratch, self._deps.writers, begin=self._deps.begin)
        inspect = partial(self._unpaid.inspect, team=team, max_pixels=self._deps.max_pixels)
        try:
            picture = await arrival.proven(body, inspect, max_bytes=max_bytes)
        finally:
            await arrival.discard()
        if picture.extension not in ORDINARY:
            raise NotAPicture(f"it is a picture of another kind ({picture.extension})")
        return picture

    async def close(self) -> None:
        for decoding in (self._paid, self._unpaid):
            await decoding.close()
        await asyncio.to_thread(self._deps.writers.shutdown)
