"""Where the pictures of a test lie, looked into past the store: a folder, or part of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import shared_servers
from obstore.store import S3Store

from gateway.adapters.pictures.bucket import BucketPictures, Serving
from gateway.adapters.pictures.bucket_client import Bucket, BucketAccess
from gateway.adapters.pictures.bucket_unproven import BucketUnproven
from gateway.adapters.pictures.folder import FolderPictures
from gateway.adapters.pictures.unproven import Unproven
from gateway.core.buckets import BucketPlace, picture_key, provenance_key

Store = FolderPictures | BucketPictures


class FolderHome:
    """A folder store, and its files by the names that the contract has for them."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "pictures"
        self.scratch = self.root / "tmp"
        self._aside = tmp_path / "unproven"

    def store(self, **bounds: int) -> FolderPictures:
        return FolderPictures(self.root, unproven=Unproven(self._aside, **bounds))

    def names(self) -> set[str]:
        files = {path.name for path in self.root.rglob("*") if path.is_file()}
        return files - {".store-id"}

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        self._path(name).write_bytes(content)

    def mark(self, text: str | None) -> None:
        """As somebody writes the marker, or takes it away."""
        if text is None:
            (self.root / ".store-id").unlink()
        else:
            self.root.mkdir(exist_ok=True)
            (self.root / ".store-id").write_text(text)

    def _path(self, name: str) -> Path:
        return self.root / name[:2] / name


class BucketHome:
    """The same of a part of a bucket that no other test has."""

    def __init__(
        self,
        environ: Mapping[str, str],
        tmp_path: Path,
        bucket: str = shared_servers.BUCKET,
    ) -> None:
        self.access = BucketAccess.of(environ)
        self.prefix = f"tests/{uuid4().hex}"
        self.place = BucketPlace(bucket, self.prefix)
        self.scratch = tmp_path / "arriving"
        self.raw = S3Store(
            bucket, client_options={"allow_http": True}, **self.access.configuration()
        )

    def store(self, *, serving: Serving | None = None, **bounds: int) -> BucketPictures:
        return self.store_of(self.access, serving, **bounds)

    def store_of(
        self, access: BucketAccess, serving: Serving | None = None, **bounds: int
    ) -> BucketPictures:
        bucket = Bucket(self.place, access)
        unproven = BucketUnproven(bucket, **bounds)
        return BucketPictures(bucket, self.scratch, serving=serving, unproven=unproven)

    def names(self) -> set[str]:
        """Of all objects but the marker and what is set aside; scratch files, too."""
        found: Any = obstore.list(self.raw, self.prefix).collect()
        keys = [one["path"].removeprefix(f"{self.prefix}/") for one in found]
        kept = {key.rpartition("/")[2] for key in keys if key[:4] in ("pict", "prov")}
        left = [path.name for path in self.scratch.iterdir()] if self.scratch.exists() else []
        return {*kept, *left}

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self.raw, self.key(name)).bytes())

    def write(self, name: str, content: bytes) -> None:
        obstore.put(self.raw, self.key(name), content)

    def mark(self, text: str | None) -> None:
        if text is None:
            obstore.delete(self.raw, f"{self.prefix}/.store-id")
        else:
            obstore.put(self.raw, f"{self.prefix}/.store-id", text.encode())

    def key(self, name: str) -> str:
        """Of the object that has this name."""
        digest, _, extension = name.partition(".")
        below = provenance_key(digest) if extension == "json" else picture_key(name)
        return f"{self.prefix}/{below}"


Home = FolderHome | BucketHome
