"""Finished runs for the cache's tests."""

from __future__ import annotations

from gateway.core.model import Kept, Picture, Run, RunState
from gateway.core.money.accounts import Amounts, Windows

NOW = 1_760_000_000.0


def a_done_run(fingerprint: str) -> Run:
    picture = Picture(digest="ab" * 32, extension="png", size_bytes=1000, width=64, height=32)
    return Run(
        id="run-1",
        fingerprint=fingerprint,
        team="alpha",
        model="gpt-image-1.5",
        quality="low",
        n=1,
        request='{"prompt":"ünïcode"}',
        upstream="evolink",
        upstream_model="gpt-image-1.5-beta",
        price_usd_micros=13_000,
        windows=Windows(1, 2, 3, 4, 5),
        hold=Amounts(),
        created_at=NOW,
        deadline_at=NOW + 900.0,
        due_at=NOW,
        state=RunState.DONE,
        spent=Amounts(13_000, 1, 1),
        joins=(("beta", 2),),
        upstream_task_id="task-unified-1",
        accepted_at=NOW + 0.25,
        upstream_finished_at=NOW + 20.0,
        finished_at=NOW + 30.5,
        task='{"status":"completed"}',
        links=("https://files.test/1.png",),
        kept=(Kept("https://files.test/1.png", picture),),
        credits_used=1.3,
    )
