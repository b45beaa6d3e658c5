"""The fixtures of the ledger's tests: each test with `ledger` runs on every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import stores
from ledger_backends import BACKENDS, Backend, Clock

from gateway.ports.ledger import Ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `oldest` run on the oldest PostgreSQL too; under `make test-cluster` all do."""
    names = ["postgres"]
    if stores.are_shared() or metafunc.definition.get_closest_marker("oldest") is not None:
        names.append("oldest")
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", ["sqlite", *names], indirect=True)
    if "shared" in metafunc.fixturenames:
        metafunc.parametrize("shared", names, indirect=True)


@pytest.fixture
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Backend]:
    with BACKENDS[request.param](tmp_path, clock) as backend:
        yield backend
        await backend.close()


@pytest.fixture
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Backend]:
    """Stores that several processes may use at once."""
    with BACKENDS[request.param](tmp_path, clock) as backend:
        yield backend
        await backend.close()


@pytest.fixture
async def ledger(backend: Backend) -> Ledger:
    return await backend.again()
