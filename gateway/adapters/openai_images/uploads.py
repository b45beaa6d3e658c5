"""Reference pictures on their way up: fetched under the gateway's own rules, onto the disk.

That happens before anything is paid. What they are is told by their bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from gateway.adapters.openai_images.multipart import FilePart
from gateway.adapters.openai_images.spool import BLOCK_BYTES, AnswerSpool, in_thread
from gateway.core.model import Run
from gateway.core.picture_errors import NotAPicture, PictureProblem
from gateway.core.picture_signatures import HEAD_BYTES, kind_of
from gateway.core.references import MAX_BYTES, too_slow, unusable
from gateway.core.runs.events import Refused
from gateway.errors import InvalidRequest
from gateway.ports.outbound import Links

FETCH_SECONDS: Final = 60.0
"""For all references of an order."""

AT_ONCE: Final = 4

MASK: Final = "mask"
"""What the part with the mask is called; the others have the name of the settings."""

_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WebP": "image/webp"}


class NoReference(Exception):
    """A reference that cannot be used; `place` is where it stands in the order."""

    def __init__(self, place: str, said: str) -> None:
        super().__init__(said)
        self.place = place
        self.said = said

    def refusal(self) -> Refused:
        """Our own, in upstream's shape: nothing was sent."""
        code, kind = InvalidRequest.code, InvalidRequest.type
        error = {"code": code, "message": self.said, "type": kind, "param": self.place}
        return Refused(400, orjson.dumps({"error": error}).decode(), code, self.said)


class ReferenceUploads:
    """Fetches the references of one run into the spool."""

    def __init__(self, spool: AnswerSpool, links: Links, run: Run) -> None:
        self._spool = spool
        self._links = links
        self._run = run
        self._places = asyncio.Semaphore(AT_ONCE)

    async def fetched(self, places: Mapping[str, str], image_field: str) -> Sequence[FilePart]:
        """A part for each link, in their order. Raises `NoReference`, or OSError where the disk
        takes no more."""
        tasks: list[asyncio.Task[FilePart]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for index, (place, url) in enumerate(places.items()):
                    field = MASK if place == "mask_url" else image_field
                    path = self._spool.reference(self._run, index)
                    tasks.append(group.create_task(self._one(place, url, field, path)))
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _one(self, place: str, url: str, field: str, path: Path) -> FilePart:
        try:
            async with (
                self._places,
                asyncio.timeout(FETCH_SECONDS),
                self._links.stream(url, max_bytes=MAX_BYTES, timeout_seconds=FETCH_SECONDS) as body,
            ):
                media_type, size = await _written(body, path)
        except PictureProblem as problem:
            raise NoReference(place, unusable(place, problem)) from problem
        except TimeoutError as error:
            raise NoReference(place, too_slow(place, FETCH_SECONDS)) from error
        return FilePart(field, path, media_type, size)


async def _written(body: AsyncIterator[bytes], path: Path) -> tuple[str, int]:
    """The type and size of what came. Raises `NotAPicture` for what is none that may go up."""
    batch, size, media_type = bytearray(), 0, ""
    await in_thread(partial(path.write_bytes, b""))
    async for chunk in body:
        batch += chunk
        if not media_type and len(batch) >= HEAD_BYTES:
            media_type = _type_of(batch)
        if len(batch) >= BLOCK_BYTES:
            size += len(batch)
            await in_thread(partial(_append, path, bytes(batch)))
            batch.clear()
    media_type = media_type or _type_of(batch)
    await in_thread(partial(_append, path, bytes(batch)))
    return media_type, size + len(batch)


def _type_of(head: bytearray) -> str:
    media_type = _TYPES.get(kind_of(bytes(head[:HEAD_BYTES])) or "")
    if media_type is None:
        raise NotAPicture("it begins like no JPEG, PNG or WebP")
    return media_type


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
