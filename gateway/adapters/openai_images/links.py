"""Links of this kind: into the spool, or to where a server hands its pictures out itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from gateway.adapters.openai_images.coded import PIECE_BYTES, CodedPicture
from gateway.adapters.openai_images.spool import AnswerSpool, in_thread
from gateway.core.links import SPOOL
from gateway.core.picture_errors import LinkBroken, LinkDead
from gateway.ports.outbound import Links

_LINK: Final = re.compile(r"spool:([A-Za-z0-9_]{1,64}-[0-9]{1,9})/([0-9]{1,4})")


def link_to(name: str, index: int) -> str:
    """The link to a picture of an answer."""
    return f"{SPOOL}{name}/{index}"


class Unnamed:
    """The `Links` port for an upstream that the settings do not name: nothing is fetched."""

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise LinkBroken("the settings no longer name its upstream")


class SpoolLinks:
    """The `Links` port: what lies in the spool is read there, all else is left to `others`."""

    def __init__(self, spool: AnswerSpool, others: Links) -> None:
        self._spool = spool
        self._others = others

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Opens the link. Raises as the port says."""
        if url.startswith(SPOOL):
            return self._from_spool(url, max_bytes)
        return self._others.stream(url, max_bytes=max_bytes, timeout_seconds=timeout_seconds)

    @asynccontextmanager
    async def _from_spool(self, url: str, max_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
        yield await self._spooled(url, max_bytes)

    async def _spooled(self, url: str, max_bytes: int) -> AsyncIterator[bytes]:
        """The picture; or, of an answer that can be read no more, as many bytes as a picture may
        have, so that all of it is set aside: pictures in it may be whole."""
        match = _LINK.fullmatch(url)
        if match is None:
            raise LinkDead("no such link")
        path, at = self._spool.path(match[1]), int(match[2]) * max_bytes
        try:
            span = await self._spool.span(match[1], int(match[2]))
            size = 0 if span else await self._spool.damaged_bytes(match[1])
        except OSError as error:
            raise LinkBroken(f"the spool cannot be read: {error}") from error
        if span is None and size > at:
            return _as_it_is(path, at, min(size, at + max_bytes))
        if span is None:
            raise LinkDead("the answer does not lie here")
        return CodedPicture(path, span, max_bytes=max_bytes)


async def _as_it_is(path: Path, at: int, stop: int) -> AsyncIterator[bytes]:
    try:
        while piece := await in_thread(partial(_piece, path, at, min(stop - at, PIECE_BYTES))):
            yield piece
            at += len(piece)
    except OSError as error:
        raise LinkBroken(f"the spool cannot be read: {error}") from error


def _piece(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(length)
