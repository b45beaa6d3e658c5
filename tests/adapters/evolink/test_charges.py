"""What a task says of its own charge: credits to reckon with, or only that it was paid."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_answers import STEADY, answer

from gateway.adapters.evolink.answers import read_poll
from gateway.adapters.evolink.charges import credits_used, is_charged
from gateway.core.runs import docket
from gateway.core.runs.events import Finished, TaskFailed

PAID = {"charge_status": "charged", "charged_credits": 5}
BACK = {**PAID, "refund_status": "completed", "refunded_credits": 5}


@pytest.mark.parametrize(
    ("task", "used", "charged"),
    [
        ({}, None, False),
        ({"usage": {"credits_used": 0}}, 0.0, False),
        ({"usage": {"credits_used": 3.5}}, 3.5, True),
        ({"usage": {"credits_reserved": 3}}, None, False),
        ({"usage": {"cost": {"credits": 5, "usd": 0.05}}}, 5.0, True),
        ({"usage": {"cost": {"usd": 0.05}}}, None, True),
        ({"usage": {"cost": {"usd": 0}}}, None, False),
        ({"usage": {"credits_used": 0, "cost": {"credits": 2}}}, 2.0, True),
        ({"usage": {"credits_used": "5"}}, None, True),
        ({"usage": {"credits_used": "0.00"}}, None, False),
        ({"usage": {"credits_used": "many"}}, None, False),
        ({"usage": {"credits_used": 1e300}}, None, True),
        ({"usage": {"credits_used": 10**400}}, None, False),
        ({"usage": {"credits_used": -5}}, None, False),
        ({"usage": {"credits_used": True}}, None, False),
        ({"billing": PAID}, 5.0, True),
        ({"billing": {"charge_status": " Charged "}}, None, True),
        ({"billing": {**PAID, "refund_status": "pending", "refunded_credits": 5}}, 5.0, True),
        ({"billing": {**PAID, "refund_status": "failed"}}, 5.0, True),
        ({"billing": BACK}, 0.0, False),
        ({"billing": {**BACK, "refunded_credits": 2}}, 3.0, True),
        ({"billing": BACK, "usage": {"credits_used": 5}}, 0.0, False),
        ({"billing": {"charge_status": "reserved", "reserved_credits": 5}}, None, False),
        ({"billing": {"charge_status": "released", "charged_credits": 0}}, 0.0, False),
        ({"billing": "charged", "usage": [5]}, None, False),
    ],
)
def test_a_charge_is_found_wherever_it_is_told(
    task: dict[str, Any], used: float | None, charged: bool
) -> None:
    assert (credits_used(task), is_charged(task)) == (used, charged)


def test_polls_tell_of_it() -> None:
    done = {"status": "completed", "results": ["https://files.test/a.png"], "billing": PAID}
    assert read_poll(answer(200, done)) == Finished(
        docket.written(docket.of_task(done)), ("https://files.test/a.png",), 5.0
    )
    failed = read_poll(answer(200, {"status": "failed", "usage": {"credits_used": "5"}}))
    assert isinstance(failed, TaskFailed) and failed.charged and not failed.is_free
    free = read_poll(answer(200, {"status": "failed", "billing": BACK}))
    assert isinstance(free, TaskFailed) and free.is_free


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
COUNTS = ("credits_used", "credits", "usd", "cost", "charged_credits", "refunded_credits")
_names = st.sampled_from([*COUNTS, "charge_status", "refund_status"])
_objects = st.dictionaries(_names, _values | st.dictionaries(_names, _values, max_size=3))


@STEADY
@given(_objects | _values, _objects | _values)
def test_whatever_it_says_is_a_sane_number_or_none(usage: object, billing: object) -> None:
    task = {"usage": usage, "billing": billing}
    used = credits_used(task)
    assert used is None or (math.isfinite(used) and 0 <= used < 1e9)
    assert is_charged(task) or not used
