"""The story of an uploaded file: it goes up under the organisation's key, and is the team's.

Where no upstream has a file store it goes into the gateway's own.

What a team uploads is written into the ledger with the digest of its bytes. That record is the
list the team sees, its right to delete, and the reason why the same reference picture under
another link is still the same order. Who names files upstream, and how, is the adapter's affair.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from gateway.core.addresses import check_url
from gateway.core.catalog import Team
from gateway.core.model import Upload
from gateway.core.policy import Current
from gateway.core.transaction import Keys, Writes
from gateway.errors import GatewayError, InvalidRequest, NotFound, RequestTooLarge, UpstreamRefusal
from gateway.ports.clock import Clock
from gateway.ports.files import FileStore, FormField, FormFile, FormPiece, StoredFile
from gateway.ports.ledger import UploadRecords
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.files")

LIFETIME_SECONDS: Final = 72 * 3600.0
"""How long upstream keeps a file of which it does not say so itself."""

UPLOAD_SECONDS: Final = 600.0
"""For a whole upload: the largest file at about 1.4 Mbit/s."""

UPLOADS_AT_ONCE: Final = 32
"""More wait, unread. A team whose clients are slow must not hold up the others."""

UPLOADS_WAITING: Final = 256
"""Of one team; whoever comes then would wait for longer than a client does."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_-]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file that lies ready: its SHA-256 (hex), its type or nothing, the caller's wishes about
    it, and its bytes, from the beginning at each call."""

    digest: str
    media_type: str
    fields: Mapping[FormField, str]
    chunks: Callable[[], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Answered:
    """Upstream's answer in its own shape; `upload` is what was recorded of a file that went up."""

    answer: Mapping[str, object]
    upstream_seconds: float
    upload: Upload | None = None


class Uploads:
    """Uploads, the team's list, quota and deletion.

    `stores` names the file stores, those of the settings in their order and at the end our own;
    new files go to the first.
    """

    def __init__(
        self,
        ledger: UploadRecords,
        stores: Callable[[], Mapping[str, FileStore]],
        *,
        current: Current,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._stores = stores
        self._current = current
        self._clock = clock
        self._places = Shares(UPLOADS_AT_ONCE, waiting=UPLOADS_WAITING, what="uploads")

    @property
    def usual(self) -> str:
        """The store that new files go to."""
        return self._store()[0]

    async def upload_form(
        self, team: Team, form: AsyncIterator[FormPiece], *, into: str | None = None
    ) -> Answered:
        """Sends a form's file on while it comes in. Raises what the file store's port raises,
        `RequestTooLarge`, or `InvalidRequest` when the form has no file in it."""
        name, store = self._store(into)
        sum_ = _Sum(self._current.policy.upload_limit_bytes)
        async with aclosing(sum_.over(form)) as counted:
            call = store.upload_form(counted, folder=_folder(team))
            stored, seconds = await self._taken(team, call)
        return await self._record(team, name, stored, sum_.digest, seconds)

    async def upload_ready(self, team: Team, file: ReadyFile) -> Answered:
        """Sends a file that lies ready. Raises what the file store's port raises."""
        name, store = self._store()
        async with aclosing(file.chunks()) as chunks:
            call = store.upload_content(
                chunks, file.fields, media_type=file.media_type, folder=_folder(team)
            )
            stored, seconds = await self._taken(team, call)
        return await self._record(team, name, stored, file.digest, seconds)

    async def upload_link(self, team: Team, url: str, fields: Mapping[FormField, str]) -> Answered:
        """Has the store fetch a file. Where that is upstream's, nobody here sees its bytes, so its
        digest stays unknown."""
        schemes = frozenset({"http", "https"})
        if problem := check_url(url, schemes=schemes, allow_private=True):
            raise InvalidRequest(f"file_url: {problem}", param="file_url")
        name, store = self._store()
        call = store.upload_link(url, fields, folder=_folder(team))
        stored, seconds = await self._taken(team, call)
        return await self._record(team, name, stored, "", seconds)

    async def page(self, team: Team, page: int, page_size: int) -> tuple[Sequence[Upload], int]:
        """One page (from 1) of the team's own files, newest first, and how many there are."""
        now = self._clock()
        return await self._ledger.uploads(team.name, now=now, page=page, page_size=page_size)

    async def quota(self, team: Team) -> Answered:
        """Upstream's numbers, which are the organisation's; in our own store the team's."""
        _, store = self._store()
        return Answered(*await _timed(store.quota(folder=_folder(team))))

    async def delete(self, team: Team, file_id: str) -> Answered:
        """Deletes the team's own file; anyone else's is as unknown as none at all."""
        upload = await self._ledger.upload(team.name, file_id)
        store = self._stores().get(upload.upstream) if upload else None
        if upload is None or store is None:
            raise NotFound("file not found")
        try:
            answer, seconds = await _timed(store.delete(file_id))
        except UpstreamRefusal as refusal:
            if refusal.status == 404:  # it is gone, so there is nothing left to remember
                await self._ledger.forget_upload(team.name, file_id)
            raise
        await self._ledger.forget_upload(team.name, file_id)
        log.info("file deleted", team=team.name, file=file_id)
        return Answered(answer, seconds)

    def _store(self, name: str | None = None) -> tuple[str, FileStore]:
        stores = self._stores()
        name = next(iter(stores)) if name is None else name
        return name, stores[name]

    async def _taken(
        self, team: Team, call: Coroutine[object, object, StoredFile]
    ) -> tuple[StoredFile, float]:
        with closing(call):  # it may not have begun when the waiting ends
            async with self._places.place(team.name):
                return await _timed(call)

    async def _record(
        self, team: Team, upstream: str, stored: StoredFile, digest: str, seconds: float
    ) -> Answered:
        now = self._clock()
        upload = Upload(
            id=stored.id,
            team=team.name,
            upstream=upstream,
            digest=stored.digest or digest,
            name=stored.name,
            size_bytes=stored.size_bytes,
            urls=stored.urls,
            created_at=now,
            expires_at=stored.expires_at or now + LIFETIME_SECONDS,
        )
        await self._ledger.transact(Keys(), lambda _: (None, Writes(uploads=(upload,))))
        log.info("file uploaded", team=team.name, file=upload.id, bytes=upload.size_bytes)
        return Answered(stored.answer, seconds, upload)


class _Sum:
    """Counts and digests a form's file while it passes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._sum = hashlib.sha256()
        self._size_bytes = 0

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    async def over(self, form: AsyncIterator[FormPiece]) -> AsyncGenerator[FormPiece, None]:
        files = 0
        async for piece in form:
            if isinstance(piece, bytes):
                self._add(piece)
            files += isinstance(piece, FormFile)
            if files > 1:
                raise InvalidRequest("One file per request: the form has a second one.")
            yield piece
        if not self._size_bytes:
            raise InvalidRequest("file is required: a part named 'file', with a file in it.")

    def _add(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        if self._size_bytes > self._limit_bytes:
            raise RequestTooLarge(f"file too large, the limit is {self._limit_bytes} bytes")
        self._sum.update(chunk)


def _folder(team: Team) -> str:
    """A folder for one file alone. Upstream lets a file of the same path overwrite the older one:
    so no team can touch another's, and a link means the same bytes for as long as it lives."""
    plain = _NOT_PLAIN.sub("_", team.name)
    if plain != team.name:  # other names may come to the same
        plain += f"-{hashlib.sha256(team.name.encode()).hexdigest()[:8]}"
    return f"{plain}/{secrets.token_hex(8)}"


async def _timed(call: Awaitable[T]) -> tuple[T, float]:
    """The outcome of a call upstream and its seconds, which an error carries as well."""
    start = time.perf_counter()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            outcome = await call
    except TimeoutError:
        minutes = UPLOAD_SECONDS / 60
        raise InvalidRequest(f"The upload took more than {minutes:.0f} minutes.") from None
    except GatewayError as error:
        error.upstream_seconds = time.perf_counter() - start
        raise
    return outcome, time.perf_counter() - start
