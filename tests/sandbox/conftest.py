"""Fixtures of the sandbox's tests."""

from collections.abc import AsyncIterator

import pytest
from sandbox_bench import Bench, OpenBench, opened


@pytest.fixture
def open_bench() -> OpenBench:
    """Opens a bench with changed options."""
    return opened


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with opened() as one:
        yield one
