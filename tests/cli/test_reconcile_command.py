"""`reconcile`: what it asks, what it says of each upstream, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from operator_fake import FakeAdmin
from operator_samples import RUN_ID, TASK_ID

from gateway.web.admin.reconciling import (
    DoubtShape,
    ReconciledShape,
    ReconcileShape,
    SumsShape,
)

AT = "2026-11-29T10:00:00Z"

DOUBT: DoubtShape = {
    "run": RUN_ID,
    "team": "marketing",
    "model": "gpt-image-1.5",
    "sent_at": AT,
    "lost_at": AT,
    "spent_usd": 0.05,
    "conclusion": "not_taken",
    "reason": "upstream has no task of its time",
    "task": None,
    "became": None,
}

AGREES: ReconciledShape = {
    "upstream": "evolink",
    "problem": None,
    "since": AT,
    "compared": 1200,
    "missing": [],
    "extra": [],
    "different": [],
    "doubts": [],
    "sums": [],
}

AWAY: ReconciledShape = {
    **AGREES,
    "upstream": "openai",
    "problem": "Its usage report wants an admin key of the organisation.",
    "since": None,
    "compared": 0,
}

DIFFERS: ReconciledShape = {
    **AGREES,
    "missing": [
        {
            "model": "gpt-image-2",
            "requests": 2,
            "run": None,
            "team": None,
            "task": None,
            "at": None,
        }
    ],
    "extra": [
        {
            "at": AT,
            "model": "gpt-image-1.5",
            "requests": 1,
            "task": TASK_ID,
            "credits": 0.9,
            "may_be": [],
        }
    ],
    "different": [
        {"run": RUN_ID, "team": "marketing", "task": TASK_ID, "ours": 0.9, "theirs": 24.25283}
    ],
    "doubts": [DOUBT, {**DOUBT, "conclusion": "unknown", "reason": "it is too young"}],
}


def told(*upstreams: ReconciledShape, applied: bool = False) -> ReconcileShape:
    differs = any(one["doubts"] or one["extra"] for one in upstreams)
    return {"applied": applied, "differs": differs, "upstreams": list(upstreams)}


def test_two_that_agree_are_0(fake: FakeAdmin) -> None:
    fake.answer("GET", "reconcile", told(AGREES))
    result = fake.run("reconcile")
    assert result.exit_code == 0
    assert result.stdout == (
        "evolink: 1,200 runs compared, from 2026-11-29 10:00:00 UTC on.\nNothing differs.\n"
    )
    assert fake.came[0].query == {}


def test_where_upstream_only_counts_both_counts_are_shown(fake: FakeAdmin) -> None:
    sums: SumsShape = {
        "model": "gpt-image-2",
        "their_requests": 12,
        "our_requests": 11,
        "their_images": 14,
        "our_images": 13,
    }
    fake.answer("GET", "reconcile", told({**AGREES, "sums": [sums]}))
    shown = fake.run("reconcile").stdout.splitlines()
    assert shown[2].split() == ["gpt-image-2", "11", "12", "13", "14"]
    assert shown[3] == "Nothing differs."


def test_what_differs_is_1_and_shown_in_tables(fake: FakeAdmin) -> None:
    fake.answer("GET", "reconcile", told(DIFFERS, AWAY))
    result = fake.run("reconcile", "--upstream", "evolink", "--since", "7d", columns=160)
    assert result.exit_code == 1
    assert fake.came[0].query == {"upstream": "evolink", "since": "7d"}
    for words in (
        "missing: the ledger has it, upstream has not",
        "extra: upstream has it, the ledger has not",
        "somebody else's",
        "different: upstream counts other credits",
        "24.2528",
        "can be freed",
        "stays spent",
        "upstream has no task of its time",
        "openai: not compared. Its usage report wants an admin key of the organisation.",
        "1 doubtful run can be settled: --apply does it.",
    ):
        assert words in result.stdout


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_an_upstream_that_cannot_be_compared_is_2(fake: FakeAdmin, json: tuple[str, ...]) -> None:
    fake.answer("GET", "reconcile", told(AGREES, AWAY))
    assert fake.run("reconcile", *json).exit_code == 2


@pytest.mark.parametrize(
    ("became", "words"),
    [
        ("freed", "freed"),
        ("confirmed", "confirmed"),
        ("fetching", "confirmed, its pictures are fetched"),
        ("changed", "changed meanwhile"),
        (None, "stays spent"),
    ],
)
def test_what_was_done_is_said(fake: FakeAdmin, became: Any, words: str) -> None:
    doubt: DoubtShape = {**DOUBT, "became": became}
    found = told({**AGREES, "doubts": [doubt]}, applied=True)
    fake.answer("POST", "reconcile", {**found, "differs": False})
    result = fake.run("reconcile", "--apply", "--older-than", "2h", columns=160)
    assert result.exit_code == 0 and f"  {words}  " in result.stdout
    assert "--apply" not in result.stdout
    assert fake.came[0].body == {"older_than": "2h"}


def test_an_answer_of_another_shape_is_no_defect(fake: FakeAdmin) -> None:
    fake.answer("GET", "reconcile", {"surprise": True})
    result = fake.run("reconcile", "--json")
    assert result.exit_code == 2 and "does not know" in result.stderr
