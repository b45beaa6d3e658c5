"""Whether the picture folder is the one that the ledger knows, settled at each start.

Folder and ledger have one id. Where they differ although there are pictures on record, nobody
starts: in an empty mount point all of them would seem to be missing, and would be paid again.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from gateway.core.model import Picture
from gateway.errors import Unavailable
from gateway.ports.ledger import Ledger

ADOPT: Final = "adopt"
"""Written into the marker by an operator: this folder is the right one, whatever it lacks."""

LOOKED_FOR: Final = 1000
"""Of a ledger from before the marker: where none of so many pictures is, there is not the store."""

LOOKED_FOR_AT_ONCE: Final = 50


class Folder(Protocol):
    """The picture store before it is opened."""

    @property
    def marker(self) -> Path:
        """Where its marker lies."""

    async def found(self) -> str | None:
        """The id of the store that the folder is now; None without a marker."""

    async def any_there(self, pictures: Sequence[Picture]) -> bool:
        """Whether one of them at least is there in its full size."""

    async def open(self, store_id: str | None = None) -> None:
        """Lays the folder out as that store."""


class Knowing(Protocol):
    """What a ledger knows of its picture folder, opened or not."""

    async def store_id(self) -> str | None: ...

    async def picture_totals(self) -> tuple[int, int]: ...

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]: ...


async def require(ledger: Knowing, folder: Folder) -> None:
    """Raises as `recognise` does, and changes nothing: a start that is refused for its pictures
    leaves the ledger as the former version knows it."""
    known, found = await ledger.store_id(), await folder.found()
    if found is None or found != known:
        await _settled(ledger, folder, known, found)


async def recognise(ledger: Ledger, folder: Folder) -> None:
    """Opens the folder as the ledger's store.

    The marker is written before the ledger notes it: a crash in between leaves a marker that the
    next start finds and takes. Raises `Unavailable` when the folder is not that store, and what
    its methods raise.
    """
    known, found = await ledger.store_id(), await folder.found()
    if found is None or found != known:
        store_id = await _settled(ledger, folder, known, found)
    else:
        store_id = found
    await folder.open(store_id)
    if store_id != known:
        await ledger.note_store(store_id)


async def _settled(ledger: Knowing, folder: Folder, known: str | None, found: str | None) -> str:
    """The id that both have from now on.

    Without pictures on record nothing can be paid twice, and the folder is taken as it is. An
    installation from before the marker is known by its pictures.
    """
    if found == ADOPT:
        return known or secrets.token_hex(16)
    count, _ = await ledger.picture_totals()
    if count == 0:
        return found or known or secrets.token_hex(16)
    if known is None and await _has_some(ledger, folder):
        return found or secrets.token_hex(16)
    what = "has no marker" if found is None else "is marked as another store's"
    where, marker = shlex.quote(str(folder.marker.parent)), shlex.quote(str(folder.marker))
    make = "" if folder.marker.parent.exists() else f"mkdir -p {where} && "
    raise Unavailable(
        f"The picture folder {folder.marker.parent} {what}, and the ledger has {count:,} "
        f"picture{'' if count == 1 else 's'} on record. Its disk may not be mounted, or another "
        "one is. To go on would be to pay for the same pictures again, so nothing was started. "
        "Mount the right folder, or put it back from a backup together with its marker. If this "
        "folder is the right one all the same, say so and start again: "
        f"{make}echo {ADOPT} > {marker}"
    )


async def _has_some(ledger: Knowing, folder: Folder) -> bool:
    after = ""
    for _ in range(LOOKED_FOR // LOOKED_FOR_AT_ONCE):
        page = await ledger.pictures(after=after, limit=LOOKED_FOR_AT_ONCE)
        if not page:
            return False
        if await folder.any_there(page):
            return True
        after = page[-1].digest
    return False
