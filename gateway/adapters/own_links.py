"""Links to pictures of our own, read where they lie: nobody is asked, no address has to be allowed.

A client that shows a picture it got here as a reference for the next one names it by the link it
was given, which upstream may not be able to follow, and whose address may be an internal one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from gateway.core.picture_errors import LinkBroken, LinkDead, PictureTooLarge, StoreFull
from gateway.core.picture_names import is_picture_name
from gateway.ports.outbound import Links
from gateway.ports.pictures import Pictures


class OwnLinks:
    """The `Links` port; what is not below `public_url` is left to `others`."""

    def __init__(self, others: Links, pictures: Pictures, public_url: Callable[[], str]) -> None:
        self._others = others
        self._pictures = pictures
        self._public_url = public_url

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Opens the link. Raises as the port says."""
        name = self._own(url)
        if name is None:
            return self._others.stream(url, max_bytes=max_bytes, timeout_seconds=timeout_seconds)
        return self._from_here(name, max_bytes)

    def _own(self, url: str) -> str | None:
        start = f"{self._public_url()}/pictures/"
        name = url.removeprefix(start)
        return name if name != url and is_picture_name(name) else None

    @asynccontextmanager
    async def _from_here(self, name: str, max_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            found = await self._pictures.read(name)
        except StoreFull:
            raise LinkBroken("the picture store cannot be read just now") from None
        if found is None:
            raise LinkDead("there is no such picture here")
        if found[0].size_bytes > max_bytes:
            raise PictureTooLarge(f"the picture has more than {max_bytes} bytes")
        async with aclosing(found[1]) as body:
            yield body
