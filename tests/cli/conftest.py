"""A stand-in for the admin API, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from operator_fake import FakeAdmin, fake_admin


@pytest.fixture(scope="module")
def served() -> Iterator[FakeAdmin]:
    with fake_admin() as one:
        yield one


@pytest.fixture
def fake(served: FakeAdmin) -> FakeAdmin:
    """One that has not been asked anything, and has no answers."""
    served.answers.clear()
    served.came.clear()
    return served
