"""Whether the picture store is the one that the ledger knows, settled at each start.

Store and ledger have one id. Where they differ although there are pictures on record, nobody
starts: in an empty mount point all of them would seem to be missing, and would be paid again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.core.model import Picture
from gateway.errors import Unavailable
from gateway.ports.ledger import Ledger
from gateway.ports.pictures import StoreWords

ADOPT: Final = "adopt"
"""Written into the marker by an operator: this store is the right one, whatever it lacks."""

LOOKED_FOR: Final = 1000
"""Of a ledger from before the marker: where none of so many pictures is, there is not the store."""

LOOKED_FOR_AT_ONCE: Final = 50


class Store(Protocol):
    """The picture store before it is opened."""

    @property
    def words(self) -> StoreWords:
        """How an operator is told of it."""

    async def found(self) -> str | None:
        """The id of the store that is there now; None without a marker."""

    async def any_there(self, pictures: Sequence[Picture]) -> bool:
        """Whether one of them at least is there in its full size."""

    async def open(self, store_id: str | None = None) -> str | None:
        """Makes it that store; the id that it has then, should another process have been first."""


class Knowing(Protocol):
    """What a ledger knows of its pictures, opened or not."""

    async def store_id(self) -> str | None: ...

    async def picture_totals(self) -> tuple[int, int]: ...

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]: ...


async def require(ledger: Knowing, store: Store) -> None:
    """Raises as `recognise` does, and changes nothing: a start that is refused for its pictures
    leaves the ledger as the former version knows it."""
    known, found = await ledger.store_id(), await store.found()
    if found is None or found != known:
        await _settled(ledger, store, known, found)


async def recognise(ledger: Ledger, store: Store) -> None:
    """Opens the store as the ledger's.

    The marker is written before the ledger notes it: a crash in between leaves a marker that the
    next start finds and takes. Raises `Unavailable` when it is another one, and what
    its methods raise.
    """
    known, found = await ledger.store_id(), await store.found()
    if found is None or found != known:
        store_id = await _settled(ledger, store, known, found)
    else:
        store_id = found
    became = await store.open(store_id)
    if became is not None and became != known:
        await ledger.note_store(became)


async def _settled(ledger: Knowing, store: Store, known: str | None, found: str | None) -> str:
    """The id that both have from now on.

    Without pictures on record nothing can be paid twice, and the store is taken as it is. An
    installation from before the marker is known by its pictures.
    """
    if found == ADOPT:
        return known or secrets.token_hex(16)
    count, _ = await ledger.picture_totals()
    if count == 0:
        return found or known or secrets.token_hex(16)
    if known is None and await _has_some(ledger, store):
        return found or secrets.token_hex(16)
    words = store.words
    is_strange = "has no marker" if found is None else "is marked as another store's"
    raise Unavailable(
        f"The picture {words.what} {is_strange}, and the ledger has {count:,} "
        f"picture{'' if count == 1 else 's'} on record. {words.doubt} To go on would be to pay for"
        f" the same pictures again, so nothing was started. {words.mends} If this"
        f" {words.what.partition(' ')[0]} is the right one all the same, say so and start again:"
        f" {words.adopt}"
    )


async def _has_some(ledger: Knowing, store: Store) -> bool:
    after = ""
    for _ in range(LOOKED_FOR // LOOKED_FOR_AT_ONCE):
        page = await ledger.pictures(after=after, limit=LOOKED_FOR_AT_ONCE)
        if not page:
            return False
        if await store.any_there(page):
            return True
        after = page[-1].digest
    return False
