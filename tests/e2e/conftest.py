"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import House, house


@pytest.fixture
async def a_house(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway with two teams without limits, in front of a quick sandbox."""
    async with house(tmp_path) as one:
        yield one
