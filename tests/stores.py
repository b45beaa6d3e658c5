"""Where the gateways of a test keep what they keep: SQLite and a folder, or what several share.

One switch turns every test that opens a gateway over a folder to PostgreSQL and a bucket, each
folder to a schema and a prefix of its own: `IMAGE_GATEWAY_TEST_STORES=shared`. Tests that look
into the files themselves are marked `files`, and left out then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
import shared_servers

ARE_SHARED = os.environ.get("IMAGE_GATEWAY_TEST_STORES") == "shared"


def of(folder: Path) -> Mapping[str, str]:
    """The settings' `storage` beyond the folder itself."""
    if not ARE_SHARED:
        return {}
    os.environ.update(shared_servers.s3())
    name = f"s{sha256(str(folder).encode()).hexdigest()[:16]}"
    server = f"{shared_servers.postgres()}/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    return {
        "ledger": f"{server}?options=-csearch_path%3D{name}",
        "pictures": f"s3://{shared_servers.BUCKET}/{name}",
    }


def leave_out(items: list[pytest.Item]) -> None:
    """Those that know the files, where there are none."""
    if ARE_SHARED:
        skip = pytest.mark.skip(reason="knows the files of SQLite or of the picture folder")
        for item in items:
            if item.get_closest_marker("files") is not None:
                item.add_marker(skip)
