"""Names that hang, chosen by one team, hold up nobody else's orders."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx2 as httpx
import pytest
import stores
from house import FAST, OTHER_KEY, TEAM_KEY, House, opened

from gateway.core.addresses import Address, parse_address
from gateway.sandbox import running_sandbox
from gateway.wiring import Outside

ATTACKERS = 60


class Names:
    """Every name is this machine; one that begins with `slow` hangs, as at a dead name server."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.slow: set[str] = set()

    def __call__(self, name: str) -> Sequence[Address]:
        if name.startswith("slow"):
            self.slow.add(name)
            self.go.wait(60)
        return [parse_address("127.0.0.1")]


@asynccontextmanager
async def named(folder: Path, names: Names, **more: Any) -> AsyncIterator[House]:
    """A gateway whose upstream has a name too."""
    async with running_sandbox(FAST) as sandbox:
        port = httpx.URL(sandbox.base_url).port
        sandbox.state.public_url = f"http://pictures.test:{port}"
        changes = {"upstreams": {"evolink": {"base_url": f"http://evolink.test:{port}"}}, **more}
        one = await opened(sandbox, folder, outside=Outside(names, stores.environ()), **changes)
        try:
            yield one
        finally:
            await one.stop()
            names.go.set()


async def seconds(home: House, prompt: str, **more: Any) -> float:
    begin = time.monotonic()
    await home.made(prompt, key=OTHER_KEY, **more)
    return time.monotonic() - begin


@pytest.mark.alone
async def test_slow_callbacks_of_a_team_hold_up_no_others_order(tmp_path: Path) -> None:
    names = Names()
    callbacks = {"allow_private_addresses": True, "timeout": "10s", "retries": ["50ms", "50ms"]}
    async with named(tmp_path, names, callbacks=callbacks) as home:
        usual = median([await seconds(home, f"usual {n}") for n in range(5)])
        await home.made("shared")
        hits = [
            home.post("shared", callback_url=f"https://slow{n}.attacker.example/")
            for n in range(ATTACKERS)
        ]
        assert {hit.status_code for hit in await asyncio.gather(*hits)} == {200}
        while not names.slow:
            await asyncio.sleep(0.01)
        attacked = [await seconds(home, f"attacked {n}") for n in range(5)]
        assert not names.go.is_set()
        assert median(attacked) < 2 * usual + 0.2, (usual, attacked)
        assert max(attacked) < 3, (usual, attacked)
        assert all(value == 1 for name, value in (await home.metrics()).items() if "_up{" in name)
        begin = time.monotonic()
    assert time.monotonic() - begin < 10  # a stop waits for no name server


@pytest.mark.alone
async def test_slow_references_of_a_team_hold_up_no_others_order(tmp_path: Path) -> None:
    names = Names()
    teams = {"blue": {"references": "fetch"}, "green": {"references": "fetch"}}
    async with named(tmp_path, names, teams=teams) as home:
        usual = median([await seconds(home, f"usual {n}") for n in range(5)])
        links = [f"http://slow{n}.attacker.example/a.png" for n in range(16)]
        attack = [
            asyncio.create_task(home.post(f"slow {n}", key=TEAM_KEY, image_urls=links))
            for n in range(8)
        ]
        while not names.slow:
            await asyncio.sleep(0.01)
        attacked = [await seconds(home, f"attacked {n}") for n in range(5)]
        assert median(attacked) < 2 * usual + 0.2, (usual, attacked)
        answers = await asyncio.gather(*attack)
        assert {answer.status_code for answer in answers} == {400}
