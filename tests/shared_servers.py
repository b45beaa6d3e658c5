"""One PostgreSQL and one S3 server for all processes of a test run, started by whoever asks first.

Each test has a database or a bucket's prefix of its own. Tests that stop, cut or freeze a server
start one of their own from `deploy/cluster` instead. `IMAGE_GATEWAY_TEST_POSTGRES` names a server
that is there already (a URL whose user may make databases).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cluster.postgres import DEBIAN, FAST, PostgresServer, wheel_programs
from cluster.s3 import S3Server, is_available

FOLDER = "IMAGE_GATEWAY_TEST_SERVERS"
POSTGRES = "IMAGE_GATEWAY_TEST_POSTGRES"
BUCKET = "pictures"


def begin() -> None:
    """By the process that all others of the run descend from."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="image-gateway-servers-")


def end() -> None:
    """By the same one, at the end of the run: nothing stays behind."""
    folder = Path(os.environ.pop(FOLDER))
    for name, programs in (("postgres", None), ("oldest", DEBIAN)):
        with suppress(FileNotFoundError):
            port = _told(folder, name)["port"]
            PostgresServer(folder / name, programs=programs, port=port).stop(crash=True)
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(_told(folder, "s3")["pid"], signal.SIGKILL)
        for path in _told(folder, "s3")["sockets"]:
            Path(path).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@cache
def postgres() -> str:
    """The address of a server: with a database's name behind it, that of a ledger."""
    if given := os.environ.get(POSTGRES):
        return given.rpartition("/")[0]
    if wheel_programs() is None:
        pytest.skip("there is no PostgreSQL: no package of it for this platform")
    return str(_started("postgres", _start_postgres)["url"])


@cache
def oldest() -> str:
    """The same of the oldest PostgreSQL that is supported, where Debian's is installed."""
    if not DEBIAN.is_dir():
        pytest.skip(f"there is no {DEBIAN}: apt-get install postgresql-15")
    return str(_started("oldest", partial(_start_postgres, programs=DEBIAN))["url"])


@cache
def s3() -> Mapping[str, str]:
    """What a gateway's environment has to say of it; its bucket is `BUCKET`."""
    if not is_available():
        pytest.skip("there is no S3 server: no package of it for this platform")
    found: Mapping[str, str] = _started("s3", _start_s3)["environment"]
    return found


def _start_postgres(folder: Path, programs: Path | None = None) -> Mapping[str, Any]:
    server = PostgresServer(folder, programs=programs, options=(*FAST, "-c", "max_connections=400"))
    server.start()
    return {"url": server.url("").removesuffix("/"), "port": server.port}


def _start_s3(folder: Path) -> Mapping[str, Any]:
    server = S3Server(folder)
    server.start()
    server.make_bucket(BUCKET)
    sockets = [str(path) for path in server.sockets]
    return {"environment": dict(server.environment), "pid": server.leave(), "sockets": sockets}


def _started(name: str, start: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the first one to ask has started, for all."""
    folder = Path(os.environ[FOLDER])
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = folder / f"{name}.json"
        if not told.exists():
            told.write_text(json.dumps(start(folder / name)), "utf-8")
        return _told(folder, name)


def _told(folder: Path, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return found


def stores(name: str) -> Mapping[str, str]:
    """An empty schema and prefix for gateways that share them: the settings' `storage`."""
    label = f"{name}_{os.getpid()}_{time.time_ns()}"
    server = f"{postgres()}/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {label}")
    return {
        "ledger": f"{server}?options=-csearch_path%3D{label}",
        "pictures": f"s3://{BUCKET}/{label}",
    }
