"""Tokens of upstream's callbacks: each names its run, and none can be made without the key."""

from __future__ import annotations

import pytest
from core_samples import NOW, a_run, some_rules
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.callback_tokens import KEY_BYTES, run_of, token
from gateway.core.model import RunState
from gateway.core.runs.events import Hinted
from gateway.core.runs.lifecycle import advance

KEY = b"k" * KEY_BYTES
RUN_ID = "run_" + "a" * 32


def test_a_token_names_its_run() -> None:
    assert run_of(KEY, token(KEY, RUN_ID)) == RUN_ID
    assert token(KEY, RUN_ID) == token(KEY, RUN_ID)


@pytest.mark.parametrize(
    "given",
    [
        "",
        RUN_ID,
        f"{RUN_ID}.",
        f"{RUN_ID}.{'0' * 64}",
        token(b"x" * KEY_BYTES, RUN_ID),
        token(KEY, RUN_ID)[:-1],
        token(KEY, RUN_ID) + "0",
        token(KEY, RUN_ID).replace("a", "b", 1),
        "…\udc80",
    ],
)
def test_nothing_else_does(given: str) -> None:
    assert run_of(KEY, given) is None


@given(st.text())
def test_no_text_is_a_token_by_chance(text: str) -> None:
    assert run_of(KEY, text) is None


def test_a_hint_makes_a_run_due_and_nothing_more() -> None:
    run = a_run(state=RunState.RUNNING, due_at=NOW + 60)
    after = advance(run, Hinted(), NOW, some_rules())
    assert (after.due_at, after.state) == (NOW, RunState.RUNNING)
    assert advance(after, Hinted(), NOW + 1, some_rules()).due_at == NOW
