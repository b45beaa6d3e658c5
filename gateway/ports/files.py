"""A store of files, a vendor account's or the gateway's own, and a form on its way there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, Protocol

OWN_STORE: Final = ":own"
"""What the gateway's own store is called where others have their upstream's name: none is so."""

_ZONE: Final = timezone(timedelta(hours=8))


def file_time(at: float) -> str:
    """An instant as the file API tells it, which has a zone of its own."""
    return datetime.fromtimestamp(int(at), _ZONE).isoformat()


class FormField(StrEnum):
    """What a caller may say about a file that goes up."""

    FOLDER = "folder"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class FormFile:
    """The head of the file in a form; the bytes that follow are its content."""

    name: str
    media_type: str


FormPiece = tuple[FormField, str] | FormFile | bytes
"""A form while it comes in: its fields, the head of its file, pieces of that file's content."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that upstream has taken. `urls` is every link that it named for the file.

    `answer` is the whole answer, in upstream's shape, without the folder that we put in front.
    `digest` is the SHA-256 (hex) of its bytes where the store tells it.
    """

    id: str
    name: str
    size_bytes: int
    urls: tuple[str, ...]
    expires_at: float | None
    answer: Mapping[str, object]
    digest: str = ""


class FileStore(Protocol):
    """The file store of one vendor account, used with the organisation's key; or our own.

    `folder` is where a file goes: the caller's own wish lies inside it, whatever that says, and
    no answer shows it. Every method raises `UpstreamRefusal` with the store's own words when the
    request is at fault and `UpstreamError` when the store is, both in gateway.errors.
    """

    async def upload_form(self, form: AsyncIterator[FormPiece], *, folder: str) -> StoredFile:
        """Sends the form on while it comes in. What `form` raises comes out unchanged."""

    async def upload_content(
        self,
        content: AsyncIterator[bytes],
        fields: Mapping[FormField, str],
        *,
        media_type: str,
        folder: str,
    ) -> StoredFile:
        """Sends one file as base64, while it is read. An empty media type is not told."""

    async def upload_link(
        self, url: str, fields: Mapping[FormField, str], *, folder: str
    ) -> StoredFile:
        """Has the store fetch the file from there."""

    async def quota(self, *, folder: str) -> Mapping[str, object]:
        """The store's answer about the account's numbers, or those of whose `folder` it is where
        the store counts by it."""

    async def delete(self, file_id: str) -> Mapping[str, object]:
        """The store's answer to the deletion of one file."""

    async def aclose(self) -> None: ...
