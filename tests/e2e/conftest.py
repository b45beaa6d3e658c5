"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import shared_servers
import stores
from house import FAST, House, house

from gateway.sandbox import RunningSandbox, running_sandbox


@pytest.fixture(params=["shared"] if stores.are_shared() else ["files", "shared"])
def either_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests marked `stores.both`: once in SQLite and a folder, once where several share."""
    if request.param == "shared":
        for name, value in {**shared_servers.s3(), stores.SWITCH: "shared"}.items():
            monkeypatch.setenv(name, value)


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A quick one alone, for tests that open gateways in front of it."""
    async with running_sandbox(FAST) as one:
        yield one


@pytest.fixture
async def a_house(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway with two teams without limits, in front of a quick sandbox."""
    async with house(tmp_path) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One like `a_house` for all tests of a file that change nothing in it.

    Such a test runs in the file's own loop: `@pytest.mark.asyncio(loop_scope="module")`.
    """
    async with house(tmp_path_factory.mktemp("shared")) as one:
        yield one
