"""Several gateways in one process, on one PostgreSQL ledger: what one changes the others have to
follow. Each has a data folder, and so a response cache, of its own; the pictures are in one place.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import shared_servers
import stores
from house import FAST, House, opened

from gateway.sandbox import SandboxOptions, running_sandbox


def storage(folder: Path) -> Mapping[str, Any]:
    """What all of them share: a schema of the folder's own, and its pictures."""
    return {"free_space_floor": 0, **(stores.of(folder) or {"ledger": a_ledger(folder)})}


def a_ledger(folder: Path) -> str:
    schema = f"e{sha256(str(folder).encode()).hexdigest()[:16]}"
    server = f"{shared_servers.postgres()}/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    return f"{server}?options=-csearch_path%3D{schema}"


def data_folder(folder: Path, number: int) -> Path:
    """That of one of them; the pictures of all are in the first one's."""
    made = folder / f"replica-{number}"
    made.mkdir(exist_ok=True)
    shared = folder / "pictures"
    shared.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (made / "pictures").symlink_to(shared, target_is_directory=True)
    return made


@contextlib.asynccontextmanager
async def fellows(
    folder: Path, *, count: int = 2, options: SandboxOptions = FAST, **changes: Any
) -> AsyncIterator[Sequence[House]]:
    """So many gateways in front of one sandbox, for the length of the block."""
    async with running_sandbox(options) as sandbox:
        there: list[House] = []
        try:
            for number in range(count):
                one = await opened(
                    sandbox, data_folder(folder, number), **{"storage": storage(folder), **changes}
                )
                there.append(one)
            yield there
        finally:
            for one in there:
                await one.stop()
