"""Fixtures of the simulated OpenAI's tests."""

from collections.abc import AsyncIterator

import pytest
from openai_bench import OpenAIBench, OpenBench, opened


@pytest.fixture
def open_bench() -> OpenBench:
    """Opens a bench with changed options."""
    return opened


@pytest.fixture
async def bench() -> AsyncIterator[OpenAIBench]:
    async with opened() as one:
        yield one
