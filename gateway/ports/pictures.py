"""The picture store, and the proof that bytes are one picture."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.core.model import Picture
from gateway.core.picture_errors import Origin, SetAside

Beside = Callable[[Picture], Mapping[str, object]]
"""The provenance of a picture, as plain JSON values."""


@dataclass(frozen=True, slots=True)
class Found:
    """A kept picture as it lies in the store; `path` where that is a file of this machine.

    `whole` is all of it, where all was asked for and it has come in one go.
    """

    size_bytes: int
    changed_at: float
    path: Path | None = None
    whole: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoreWords:
    """How an operator is told of a store that may be another one than the ledger's.

    `what` it is, with its place; what may be wrong; what `mends` it; how to `adopt` it.
    """

    what: str
    doubt: str
    mends: str
    adopt: str


class Pictures(Protocol):
    """Image bytes by digest: written once, immutable, permanent."""

    async def find(self, name: str) -> Found | None:
        """What is kept under this name; None when nothing is, and for what is no name.

        Raises `StoreFull` when the store cannot tell, as the two that follow.
        """

    async def read(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[Found, AsyncGenerator[bytes]] | None:
        """What `find` says, and the bytes from `start` up to `stop`, as they come.

        They raise `StoreFull` when they break off.
        """

    async def address(self, name: str) -> str | None:
        """Where clients fetch the picture of this name themselves; None when we send it."""

    async def keep(
        self,
        body: AsyncIterator[bytes],
        *,
        max_bytes: int,
        origin: Origin | None = None,
        beside: Beside | None = None,
    ) -> Picture:
        """Stores a whole, proven picture durably, and what is written `beside` it as `describe`
        does. Keeping the same bytes twice is harmless.

        It is proven in the turn of the `origin`'s team. Raises `NotAPicture`, `PictureTooLarge`
        or `StoreFull` (gateway.core.picture_errors); what `body` raises comes out unchanged. After
        any of them nothing is left behind, but that of an `origin` what is no picture is set aside.
        """

    async def describe(
        self, picture: Picture, sidecar: Mapping[str, object], *, anew: bool = False
    ) -> None:
        """Writes the picture's provenance beside it, once: the first writer wins, unless `anew`."""

    async def readable(self, pictures: Sequence[Picture], *, told: bool = False) -> bool:
        """True when every one of them is there in its full size; `told`: and with its provenance.

        Raises `StoreFull` when the store cannot tell: then a picture that is not found may be
        there all the same, as when the disk is not mounted (`StoreAway`).
        """

    async def require(self) -> None:
        """Raises `StoreAway` when the store is not itself, `StoreFull` when nobody can tell."""

    async def problem(self) -> str | None:
        """Why pictures cannot be kept now, in a few words; None when they can."""

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away for good; none there is no error.

        Raises `StoreFull` when the store cannot be written.
        """

    async def set_aside(self, run_id: str | None = None) -> Sequence[SetAside]:
        """The bytes that are set aside, of one run or of all, newest first; a bounded number.

        Raises `StoreFull` when the store cannot be read, as all do that follow.
        """

    async def set_aside_content(self, name: str) -> AsyncIterator[bytes] | None:
        """What is set aside under this name, in chunks; None when nothing is."""

    async def forget_set_aside(self, run_id: str) -> None:
        """Takes away what is set aside of this run; nothing there is no error."""

    async def free_bytes(self) -> int:
        """The room left for more."""

    async def close(self) -> None: ...


class Proof(Protocol):
    """Proves pictures that are not kept."""

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are: one whole picture. Nothing of it stays behind.

        Raises as `Pictures.keep` does.
        """
