"""The uploaded files of the sandbox: kept in memory, bounded in size and number, with an expiry.

Does no I/O. A file of the same path replaces the older one, as in the real service.
"""

import mimetypes
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any

from gateway.sandbox.options import SandboxOptions

# The real service tells its times in China Standard Time.
_ZONE = timezone(timedelta(hours=8))
_MEDIA = ("image/", "audio/", "video/")
_MAGIC_NUMBERS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


class FileError(Exception):
    """An upload that cannot be kept: `code` is the file API's own, `status` the HTTP status."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One uploaded file. `path` is `upload_path/file_name`, its place under the file host."""

    id: str
    name: str
    original_name: str
    folder: str
    media_type: str
    content: bytes
    uploaded_at: float
    expires_at: float

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


class FileStore:
    """Files by id and by path. Expired ones are gone at the next call."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._by_id: OrderedDict[str, StoredFile] = OrderedDict()
        self._by_path: dict[str, str] = {}
        self._bytes = 0
        self._count = 0

    def put(self, content: bytes, *, name: str, original_name: str, folder: str) -> StoredFile:
        """Keeps `content`. Raises FileError: too large (40001), type (40002), quota (40003)."""
        media_type = _media_type(content, name)
        name = clean_name(name, media_type)
        self._check(content, media_type)
        now = self._clock()
        self._count += 1
        stored = StoredFile(
            id=f"file_{self._options.seed:x}{self._count:08x}",
            name=name,
            original_name=original_name or name,
            folder=clean_folder(folder),
            media_type=media_type,
            content=content,
            uploaded_at=now,
            expires_at=now + self._options.file_lifetime_seconds,
        )
        older = self._by_path.get(stored.path)
        if older is not None:
            self.delete(older)
        self._by_id[stored.id] = stored
        self._by_path[stored.path] = stored.id
        self._bytes += len(content)
        return stored

    def delete(self, file_id: str) -> bool:
        """Forgets a file; False when there is none of that id."""
        self._drop_expired()
        stored = self._by_id.pop(file_id, None)
        if stored is None:
            return False
        self._bytes -= len(stored.content)
        del self._by_path[stored.path]
        return True

    def by_id(self, file_id: str) -> StoredFile | None:
        self._drop_expired()
        return self._by_id.get(file_id)

    def by_path(self, path: str) -> StoredFile | None:
        self._drop_expired()
        return self._by_id.get(self._by_path.get(path, ""))

    def newest_first(self) -> list[StoredFile]:
        self._drop_expired()
        return list(reversed(self._by_id.values()))

    def __len__(self) -> int:
        self._drop_expired()
        return len(self._by_id)

    def _check(self, content: bytes, media_type: str) -> None:
        self._drop_expired()
        options = self._options
        if not content:
            raise FileError(400, 400, "file is empty")
        if len(content) > options.max_file_bytes:
            limit = options.max_file_bytes
            raise FileError(413, 40001, f"file too large, the limit is {limit} bytes")
        if not media_type.startswith(_MEDIA):
            raise FileError(400, 40002, f"file type not allowed: {media_type}")
        if len(self._by_id) >= options.max_files:
            raise FileError(403, 40003, f"file quota exceeded, the limit is {options.max_files}")
        if self._bytes + len(content) > options.max_files_bytes:
            raise FileError(500, 50001, "storage is full")

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._by_id:
            oldest = next(iter(self._by_id.values()))
            if oldest.expires_at > now:
                return
            del self._by_id[oldest.id]
            del self._by_path[oldest.path]
            self._bytes -= len(oldest.content)


def file_json(stored: StoredFile, base_url: str) -> dict[str, Any]:
    """The `data` of an upload's answer."""
    return {
        "download_url": f"{base_url}/api/v1/files/download/{stored.id}",
        "expires_at": _time(stored.expires_at),
        "file_id": stored.id,
        "file_name": stored.name,
        "file_size": len(stored.content),
        "file_url": f"{base_url}/{stored.path}",
        "mime_type": stored.media_type,
        "original_name": stored.original_name,
        "upload_path": stored.folder,
        "upload_time": _time(stored.uploaded_at),
    }


def listed_file_json(stored: StoredFile) -> dict[str, Any]:
    """One row of the file list."""
    return {
        "file_id": stored.id,
        "file_name": stored.name,
        "file_size": len(stored.content),
        "upload_time": _time(stored.uploaded_at),
    }


def clean_name(name: str, media_type: str) -> str:
    """The last part of a path, of harmless characters, with an ending that suits its type."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(name.replace("\\", "/")).name)[:120]
    base = base.strip(".") or "file"
    return base if "." in base else base + (mimetypes.guess_extension(media_type) or ".bin")


def clean_folder(folder: str) -> str:
    """A relative path of at most four harmless parts; `uploads` when there is none."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "_", part) for part in folder.split("/")]
    return "/".join([part for part in parts if part.strip(".")][:4]) or "uploads"


def _media_type(content: bytes, name: str) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    for number, media_type in _MAGIC_NUMBERS:
        if content.startswith(number):
            return media_type
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    # The content decides what a picture is: a text that calls itself .png is not one.
    return "application/octet-stream" if guessed.startswith("image/") else guessed


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), _ZONE).isoformat()
