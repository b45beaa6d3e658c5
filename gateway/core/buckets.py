"""Where pictures lie in an S3-compatible bucket: `s3://bucket/prefix`, and what is below it.

    <prefix>/.store-id                   the marker: whose store this is
    <prefix>/pictures/ab/<digest>.png    the bytes; the one part that a CDN may show to all
    <prefix>/provenance/ab/<digest>.json what they were made of: prompts, teams, money
    <prefix>/unproven/<run>-<n>.bin      paid bytes that are no picture, and .json beside them

Pure: which server it is, and the keys to it, are not its business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "s3://"
MARKER: Final = ".store-id"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,200}")


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A part of a bucket. `prefix` has no slash at either end and is empty for all of it."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, below: str) -> str:
        """The name of the object that lies at `below` in this part."""
        return f"{self.prefix}/{below}" if self.prefix else below


def read_place(text: str) -> BucketPlace:
    """Raises ValueError with a sentence that shows nothing of the text: keys may stand in it."""
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or "@" in text or "?" in text or "#" in text:
        raise ValueError("must be s3://bucket or s3://bucket/prefix; keys come from AWS_* names")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise ValueError(
            "a bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens, "
            "with a letter or digit at both ends"
        )
    prefix = prefix.rstrip("/")
    if not _PREFIX.fullmatch(prefix) or _has_odd_parts(prefix):
        raise ValueError(
            "what follows the bucket is letters, digits and ! _ . * ' ( ) - between single slashes"
        )
    return BucketPlace(bucket, prefix)


def _has_odd_parts(prefix: str) -> bool:
    return bool(prefix) and any(part in ("", ".", "..") for part in prefix.split("/"))


def picture_key(name: str) -> str:
    """Of the picture called `digest.extension`."""
    return f"pictures/{name[:2]}/{name}"


def provenance_key(digest: str) -> str:
    return f"provenance/{digest[:2]}/{digest}.json"
