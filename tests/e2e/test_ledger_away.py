"""While PostgreSQL is away: what can be answered is, what cannot says when to come again, and it
goes on by itself when the server is back."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import pytest
from cluster.postgres import PostgresServer, wheel_programs
from house import TEAM_KEY, house

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(wheel_programs() is None, reason="no PostgreSQL for this platform"),
]


async def test_what_was_told_is_told_and_the_rest_comes_again(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="image-gateway-away-") as folder:
        server = PostgresServer(Path(folder, "postgres"))
        await asyncio.to_thread(server.start)
        try:
            await told_while_away(tmp_path, server)
        finally:
            await asyncio.to_thread(server.stop, crash=True)


async def told_while_away(folder: Path, server: PostgresServer) -> None:
    async with house(folder, storage={"ledger": server.url(), "pictures": "folder"}) as one:
        task = await one.made("told before")
        untold = await one.post("not told before")
        await one.settled()
        await asyncio.to_thread(server.stop, crash=True)

        again = await one.poll(task["id"])
        assert (again.status_code, again.json()) == (200, task)
        [link] = task["results"]
        assert (await one.client.get(link)).status_code == 200
        for refused in (await one.poll(untold.json()["id"]), await one.post("a new one")):
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["Retry-After"]) >= 1
        stranger = await one.client.get(
            f"/v1/tasks/{task['id']}", headers={"Authorization": "Bearer of-nobody"}
        )
        assert stranger.status_code in (401, 503)
        assert (await one.poll(task["id"], key="team-green-key")).status_code in (404, 503)

        await asyncio.to_thread(server.start)
        end = time.monotonic() + 20
        for ask in (lambda: one.post("a new one"), lambda: one.poll(untold.json()["id"])):
            while (answer := await ask()).status_code != 200:
                assert time.monotonic() < end, answer.text
                await asyncio.sleep(0.1)
        assert (await one.ended(untold.json()["id"], key=TEAM_KEY))["status"] == "completed"
