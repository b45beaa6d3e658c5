"""Calls to addresses that others chose: names, result links, callbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.core.addresses import Address
from gateway.core.delivery import Outcome
from gateway.core.model import Delivery


class Resolver(Protocol):
    """Looks up the addresses of a name."""

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        """The name's addresses in the order to try; `team` is whose call it is for, if any's.

        Raises OSError when there are none.
        """


class Links(Protocol):
    """Result links, read without credentials and only from allowed addresses."""

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes behind a link, in chunks. They may have a `media_type`: what the other side
        calls them.

        Raises, when called, on entering or while reading, `LinkDead` (asking again is no use) or
        `LinkBroken` (it may work later), both in gateway.core.picture_errors.
        """


class Callbacks(Protocol):
    """Calls receivers back: https only, allowed addresses only, no redirects, bounded."""

    async def deliver(self, delivery: Delivery, body: bytes) -> Outcome:
        """One attempt, under `delivery.id` as its `webhook-id`. Never raises."""

    async def aclose(self) -> None: ...
