"""Where the gateways of a test keep what they keep: SQLite and a folder, or what several share.

One switch turns every test that opens a gateway over a folder to PostgreSQL and a bucket, each
folder to a schema and a prefix of its own: `IMAGE_GATEWAY_TEST_STORES=shared`. A test marked
`both` runs on either without it. What a test wants to see of the stores beside the gateway it
asks here; those that look into the files themselves are marked `files`, and left out then.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shared_servers
from psycopg import sql

from gateway.process.picture_locks import TURN_SECONDS
from gateway.wiring.adapters import SCRATCH_NAME

SWITCH = "IMAGE_GATEWAY_TEST_STORES"
both = pytest.mark.usefixtures("either_store")
"""For a test that opens its gateways in its own body or by a fixture of its own."""


def are_shared() -> bool:
    return os.environ.get(SWITCH) == "shared"


def of(folder: Path) -> Mapping[str, str]:
    """The settings' `storage` beyond the folder itself."""
    if not are_shared():
        return {}
    os.environ.update(shared_servers.s3())
    with psycopg.connect(_server(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_label(folder)}")
    return {"ledger": _ledger(folder), "pictures": f"s3://{shared_servers.BUCKET}/{_label(folder)}"}


def environ() -> Mapping[str, str]:
    """What a gateway wants to know of the stores, for a test that tells it all else itself."""
    return shared_servers.s3() if are_shared() else {}


def patience(seconds: float) -> float:
    """So long, and until what a killed gateway had in hand is another one's.

    A gateway on SQLite is the only one: it takes over at its start. A picture in hand is what is
    taken over last.
    """
    return seconds + (TURN_SECONDS if are_shared() else 0)


def leave_out(items: list[pytest.Item]) -> None:
    """Those that know the files, where there are none."""
    if are_shared():
        skip = pytest.mark.skip(reason="knows the files of SQLite or of the picture folder")
        for item in items:
            if item.get_closest_marker("files") is not None:
                item.add_marker(skip)


# --- what is kept, seen beside the gateway -------------------------------------------------------


def rows(folder: Path, query: str) -> list[Any]:
    """What the ledger of the gateway over this folder has."""
    if not are_shared():
        with closing(sqlite3.connect(folder / "ledger.sqlite3")) as ledger:
            return ledger.execute(query).fetchall()
    with psycopg.connect(_ledger(folder)) as connection:
        return connection.execute(query.encode()).fetchall()


def change(folder: Path, statement: str) -> None:
    """Changes its ledger, behind the gateway's back."""
    if not are_shared():
        with closing(sqlite3.connect(folder / "ledger.sqlite3")) as ledger, ledger:
            ledger.execute(statement)
        return
    with psycopg.connect(_ledger(folder)) as connection:
        connection.execute(statement.encode())


def lose_ledger(folder: Path) -> None:
    """An empty one is in its place from now on."""
    for path in folder.glob("ledger.sqlite3*"):
        path.unlink()
    if are_shared():
        with psycopg.connect(_server(), autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {_label(folder)} CASCADE")


def kept(folder: Path) -> list[str]:
    """The names in its picture store, in order: bytes, provenance, the marker, drafts.

    Without what is set aside.
    """
    here = (folder / "pictures", folder / SCRATCH_NAME)
    found = [path.name for one in here for path in one.rglob("*") if path.is_file()]
    found += [key.rpartition("/")[2] for key in _keys(folder) if "/unproven/" not in key]
    return sorted(found)


def lose_pictures(folder: Path) -> None:
    """The bytes alone."""
    for path in (folder / "pictures").rglob("*.png"):
        path.unlink()
    if lost := [key for key in _keys(folder) if key.endswith(".png")]:
        _objects().delete(lost)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that is written anywhere for it: every file, row and object, each with its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
    for key in _keys(folder):
        yield key, bytes(_objects().get(key).bytes())
    if are_shared():
        yield from _tables(folder)


def _tables(folder: Path) -> Iterator[tuple[str, bytes]]:
    schema = _label(folder)
    with psycopg.connect(_ledger(folder)) as connection, connection.cursor() as cursor:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
        for (table,) in cursor.execute(query, [schema]).fetchall():
            wanted = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
            with cursor.copy(wanted) as lines:
                yield table, b"".join(bytes(line) for line in lines)


def _keys(folder: Path) -> list[str]:
    if not are_shared():
        return []
    pages = _objects().list(prefix=f"{_label(folder)}/")
    return [str(item["path"]) for page in pages for item in page]


def _objects() -> Any:
    from obstore.store import S3Store

    told = shared_servers.s3()
    return S3Store(
        shared_servers.BUCKET,
        endpoint=told["AWS_ENDPOINT_URL"],
        region=told["AWS_REGION"],
        access_key_id=told["AWS_ACCESS_KEY_ID"],
        secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )


def _label(folder: Path) -> str:
    return f"s{sha256(str(folder).encode()).hexdigest()[:16]}"


def _server() -> str:
    return f"{shared_servers.postgres()}/postgres"


def _ledger(folder: Path) -> str:
    return f"{_server()}?options=-csearch_path%3D{_label(folder)}"
