"""A place where pictures lie, as whoever carries or audits all of them reads and writes it.

Everything has one name in every place: `<digest>.<extension>` a picture, `<digest>.json` what it
was made of, `unproven/<run>-<n>.bin` and `.json` what is set aside. A shard is what begins with the
same two digits of a digest; what is set aside is one of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

ASIDE: Final = "unproven"
DIGESTS: Final = tuple(f"{number:02x}" for number in range(256))
SHARDS: Final = (*DIGESTS, ASIDE)


@dataclass(frozen=True, slots=True)
class Lying:
    """Something that lies in a place; another `version` means that it was written anew."""

    name: str
    size_bytes: int
    version: str
    changed_at: float = 0.0


class PicturePlace(Protocol):
    """All raise `StoreFull` when the place fails."""

    @property
    def where(self) -> str: ...

    async def open(self) -> None: ...

    async def found(self) -> str | None:
        """The id of the store that it is; None without a marker."""

    async def become(self, store_id: str) -> None:
        """It is that store from now on, and laid out as one."""

    async def is_empty(self) -> bool:
        """Whether nothing at all lies there that a marker would be written over."""

    async def lying(self, shard: str) -> Mapping[str, Lying]:
        """By name. What no gateway would have put there is left out."""

    async def read(self, name: str) -> AsyncIterator[bytes] | None:
        """None when it is not there any more."""

    async def put(self, name: str, file: Path) -> None:
        """Durably from a file of this machine, in place of what was there."""

    async def remove(self, name: str) -> None:
        """None there is no error."""

    async def close(self) -> None: ...
