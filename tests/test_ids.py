"""Ids: in upstream's form, in the order of their moments, and seldom the same."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import new_task_id

FORM = re.compile(r"task-unified-\d{10}-[a-z0-9]{8}")

moments = st.floats(min_value=1_700_000_000, max_value=4_000_000_000)


@given(moments, moments)
def test_task_ids_sort_as_their_moments(one: float, other: float) -> None:
    """The ledger's index finds those of one moment on one page."""
    former, latter = sorted((one, other))
    ids = new_task_id(former), new_task_id(latter)
    assert all(FORM.fullmatch(each) for each in ids)
    assert latter - former < 1e-6 or ids[0] < ids[1]


def test_orders_of_one_moment_have_ids_of_their_own() -> None:
    assert len({new_task_id(1_800_000_000.25) for _ in range(100)}) > 95
