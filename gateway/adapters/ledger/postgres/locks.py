"""What a decision locks, as numbers: one for each name that its `Keys` have.

They are locks of the transaction (`pg_advisory_xact_lock`), so that they hold for what is not there
yet as well, vanish with the connection, and pass through a pooler. Every transaction takes all of
its locks first and in their order: then nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final

from gateway.core.transaction import Keys

LOCK: Final = "SELECT pg_advisory_xact_lock(one) FROM unnest(%s::bigint[]) AS one"

KEPT: Final = 10_000


def locks(every: Iterable[Keys], *, schema: str) -> list[int]:
    """Sorted, each once. Schemas of one database share no lock."""
    names = {name for keys in every for name in names_of(keys)}
    return sorted(number(schema, name) for name in names)


@lru_cache(KEPT)
def number(schema: str, name: str) -> int:
    digest = sha256(f"{schema}\x00{name}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def names_of(keys: Keys) -> Iterator[str]:
    """The team's first."""
    teams = {account.team for account in keys.accounts}
    teams |= {keys.counted[0]} if keys.counted else set()
    teams |= {keys.team} if keys.team is not None else set()
    for team in teams:
        yield f"t:{team}"
    if keys.fingerprint is not None:
        yield f"f:{keys.fingerprint}"
    if keys.run_id is not None:
        yield f"r:{keys.run_id}"
    if keys.claim is not None:
        yield f"c:{'/'.join(keys.claim)}"
    if keys.picture is not None:
        yield f"p:{keys.picture}"
    if keys.uploads is not None:
        yield f"u:{keys.uploads[0]}"
