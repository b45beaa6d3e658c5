"""The fixtures of the ledger's tests: each test with `ledger` runs on every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ledger_backends import BACKENDS, SHARED, Backend, Clock

from gateway.ports.ledger import Ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Backend]:
    with BACKENDS[request.param](tmp_path, clock) as backend:
        yield backend
        await backend.close()


@pytest.fixture(params=SHARED)
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
