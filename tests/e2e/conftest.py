"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from house import FAST, House, house

from gateway.sandbox import RunningSandbox, running_sandbox


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
