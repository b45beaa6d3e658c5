"""Killed while a run goes from one route to the next: nothing is sent twice, nothing paid twice."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import doomed
import httpx2 as httpx
import pytest
from house import FAST, TEAM_KEY, opened, settings_text
from processes import forked, free_port
from two_routes import CHEAP, DEAR, TwoRoutes, routes_settings

from gateway.sandbox import running_sandbox

PROMPT = "doomed on its way"
POINTS = [
    # How the cheap route fails, and the step that is the last.
    *(("http", "submit@evolink", "after", 1), ("http", "submit@spare", "before", 1)),
    *(("http", "submit@spare", "after", 1), ("fail", "submit@spare", "before", 1)),
    ("fail", "submit@spare", "after", 1),
    *(("http", "transact", "after", count) for count in (2, 3)),
    *(("fail", "transact", "after", count) for count in (3, 5)),
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point)))
async def test_killed_on_the_way_to_the_next_route(
    tmp_path: Path, point: tuple[str, str, str, int]
) -> None:
    fault, *words = point
    ill = replace(FAST, rates={fault: 1.0})
    async with running_sandbox(ill) as cheap, running_sandbox(FAST) as dear:
        changes = routes_settings(dear, "3s")
        config = tmp_path / "config.yaml"
        config.write_text(settings_text(cheap.base_url, tmp_path / "data", **changes))
        answered = await killed(config, tmp_path, words)
        house = await opened(cheap, tmp_path / "data", **changes)
        one = TwoRoutes(house, cheap, dear)
        try:
            await house.settled()
            assert cheap.state.submits <= 1 and dear.state.submits <= 1
            spent = await one.spent()
            if answered:
                task = await house.ended(answered)
                done = task["status"] == "completed"
                assert done or task["error"]["code"] == "outcome_unknown"
                assert spent == DEAR if done else spent in (CHEAP, DEAR)
            assert one.charged() <= spent <= DEAR, "what may have been charged counts as spent"
            assert await house.violations() == []
        finally:
            await house.stop()


async def killed(config: Path, folder: Path, words: Sequence[object]) -> str | None:
    """Orders from a gateway that kills itself; the task id, where there was an answer."""
    port = free_port()
    answered = None
    async with forked(doomed.main, config, port, *words, cwd=folder) as ended:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post(
                    "/v1/images/generations",
                    json={"model": "gpt-image-1.5", "prompt": PROMPT},
                    headers={"Authorization": f"Bearer {TEAM_KEY}"},
                )
                assert answer.status_code == 200
                answered = answer.json()["id"]
        assert await ended() == -signal.SIGKILL
    return answered
