"""The links in which upstream hands over pictures: cleaned, made whole, and followed.

Where they lead is the fetcher's to judge. A picture that is written out in its link (`data:`) is
read from there, and nothing is asked.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Self
from urllib.parse import unquote_to_bytes

from gateway.core.links import cleaned
from gateway.core.picture_errors import LinkDead, PictureTooLarge
from gateway.ports.outbound import Links

_DATA: Final = re.compile(r"data:([^,]*),(.*)", re.IGNORECASE | re.DOTALL)


class WrittenOut:
    """A body that was in the link itself."""

    def __init__(self, media_type: str, content: bytes) -> None:
        self.media_type = media_type
        self._chunks = iter((content,))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


class ResultLinks:
    """The `Links` port; what has no host of its own is on upstream's (`base_url`)."""

    def __init__(self, fetcher: Links, *, base_url: str = "") -> None:
        self._fetcher = fetcher
        self._base_url = base_url

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Opens the link. Raises as the fetcher does."""
        link = cleaned(url, self._base_url)
        if match := _DATA.fullmatch(link):
            return _in_the_link(match[1], match[2], max_bytes)
        return self._fetcher.stream(link, max_bytes=max_bytes, timeout_seconds=timeout_seconds)


@asynccontextmanager
async def _in_the_link(head: str, text: str, max_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
    yield _written_out(head, text, max_bytes)


def _written_out(head: str, text: str, max_bytes: int) -> WrittenOut:
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    content = unquote_to_bytes(text)
    if "base64" in parameters:
        try:
            plain = b"".join(content.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
            content = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except binascii.Error:
            raise LinkDead("the link has no bytes in it that can be read") from None
    if len(content) > max_bytes:
        raise PictureTooLarge(f"the link holds more than {max_bytes} bytes")
    return WrittenOut(media_type, content)
