"""Stops and reloads while a call to upstream is open that is the whole work, and paid for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import FAST, TEAM_KEY, opened, settings_text, until
from processes import GATEWAY, free_port, process
from two_vendors import (
    DEAR,
    MODEL,
    ONLY_OPENAI,
    QUICK,
    Vendors,
    model,
    openai_upstream,
    vendors,
)

from gateway.config import parse
from gateway.sandbox import running_sandbox
from gateway.sandbox.openai import RunningOpenAI, running_openai

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}


@dataclass(frozen=True)
class One:
    """A gateway as a process of its own."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    async def order(self, prompt: str) -> Any:
        wish = {"model": MODEL, "prompt": prompt}
        return (await self.client.post("/v1/images/generations", json=wish)).json()

    async def task(self, task_id: str) -> Any:
        return (await self.client.get(f"/v1/tasks/{task_id}")).json()

    async def ended(self, task_id: str) -> Any:
        async with asyncio.timeout(20):
            while (task := await self.task(task_id))["status"] not in ("completed", "failed"):
                await asyncio.sleep(0.1)
        return task

    async def gone(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)


@contextlib.asynccontextmanager
async def gateway(folder: Path, openai: RunningOpenAI) -> AsyncIterator[One]:
    async with running_sandbox(FAST) as evolink:
        config = folder / "config.yaml"
        text = settings_text(
            evolink.base_url,
            folder / "data",
            server={"shutdown_grace": "1s"},
            upstreams={"openai": openai_upstream(openai.api_url)},
            models={MODEL: model(*ONLY_OPENAI)},
        )
        config.write_text(text)
        port = free_port()
        serve = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        async with (
            process(*serve, cwd=folder) as one,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=20, headers=AUTH
            ) as client,
        ):
            yield One(one, client)
    assert "Traceback" not in (folder / "process.log").read_text()


async def test_a_stop_says_what_it_waits_for_and_has_it(tmp_path: Path) -> None:
    async with running_openai(QUICK) as openai:
        async with gateway(tmp_path, openai) as one:
            task = await one.order("while it stops [sandbox:delay=6]")
            assert task["status"] == "processing"
            one.process.send_signal(signal.SIGTERM)
            assert await one.gone() == 0
        assert "at_most_seconds" in (tmp_path / "process.log").read_text()
        assert openai.state.bill.total.usd_micros > 0
        assert list((tmp_path / "data" / "spool").iterdir()) == []
        async with gateway(tmp_path, openai) as one:
            assert (await one.task(task["id"]))["status"] == "completed"
        assert openai.state.image_requests == 1


async def test_one_more_signal_cuts_it_and_it_is_told_as_lost(tmp_path: Path) -> None:
    async with running_openai(QUICK) as openai:
        async with gateway(tmp_path, openai) as one:
            task = await one.order("cut off [sandbox:delay=9]")
            one.process.send_signal(signal.SIGTERM)
            await until(lambda: "at_most_seconds" in (tmp_path / "process.log").read_text())
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(one.process.wait(), 5) == 0
        async with gateway(tmp_path, openai) as one:
            assert (await one.ended(task["id"]))["error"]["code"] == "outcome_unknown"
        assert openai.state.image_requests == 1


async def test_a_reload_leaves_an_open_call_alone(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        task = (await one.post("while it reloads [sandbox:delay=5]")).json()
        assert task["status"] == "processing"
        text = settings_text(
            one.evolink.base_url,
            one.house.folder,
            upstreams={"openai": openai_upstream(one.openai.api_url, max_connections=3)},
            models={MODEL: model(*ONLY_OPENAI)},
        )
        one.house.gateway.reload(parse(text, {}))
        another = await one.made("after it")
        assert another["status"] == "completed"
        assert (await one.house.ended(task["id"]))["status"] == "completed"
        assert one.openai.state.image_requests == 2
        assert await one.spent_usd_micros() == one.billed_usd_micros
        await until(lambda: one.spool == [])


@pytest.mark.parametrize("renamed", [False, True])
async def test_a_call_is_settled_at_its_bill_whatever_became_of_its_route(
    tmp_path: Path, *, renamed: bool
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        task = (await one.post("while its route goes [sandbox:delay=4]")).json()
        assert task["status"] == "processing"
        again: dict[str, Any] = {}
        if renamed:
            again = {
                "upstreams": {"other": openai_upstream(one.openai.api_url)},
                "models": {MODEL: model({**DEAR, "upstream": "other"})},
            }
        text = settings_text(one.evolink.base_url, one.house.folder, **again)
        one.house.gateway.reload(parse(text, {}))
        assert (await one.house.ended(task["id"]))["status"] == "completed"
        assert await one.spent_usd_micros() == one.billed_usd_micros
        await until(lambda: one.spool == [])


async def test_what_was_made_is_kept_although_its_upstream_is_of_another_kind_by_now(
    tmp_path: Path,
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        task = (await one.post("while its kind is swapped [sandbox:delay=4]")).json()
        assert task["status"] == "processing"
        text = settings_text(
            one.evolink.base_url,
            one.house.folder,
            upstreams={
                "openai": {
                    "base_url": one.evolink.base_url,
                    "api_key": "sk-other",
                    "allow_private_addresses": True,
                }
            },
        )
        one.house.gateway.reload(parse(text, {}))
        assert (await one.house.ended(task["id"]))["status"] == "completed"
        assert await one.spent_usd_micros() == one.billed_usd_micros
        await until(lambda: one.spool == [])
        assert await one.house.violations() == []


async def test_a_stop_waits_for_a_call_whatever_became_of_its_route(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        task = (await one.post("renamed, and stopped [sandbox:delay=5]")).json()
        renamed: dict[str, Any] = {
            "upstreams": {"other": openai_upstream(one.openai.api_url)},
            "models": {MODEL: model({**DEAR, "upstream": "other"})},
        }
        for _ in range(2):
            text = settings_text(one.evolink.base_url, one.house.folder, **renamed)
            one.house.gateway.reload(parse(text, {}))
        await one.house.gateway.stop(1)
        assert one.spool == []
        billed = one.billed_usd_micros
    async with vendors(tmp_path) as again:
        assert (await again.house.poll(task["id"])).json()["status"] == "completed"
        assert await again.spent_usd_micros() == billed > 0


async def test_what_lies_here_is_kept_also_after_its_upstream_has_gone(tmp_path: Path) -> None:
    async with running_openai(QUICK) as openai, running_sandbox(FAST) as evolink:
        told: dict[str, Any] = {
            "upstreams": {"openai": openai_upstream(openai.api_url)},
            "models": {MODEL: model(*ONLY_OPENAI)},
        }
        former = Vendors(await opened(evolink, tmp_path, **told), evolink, openai)
        task = (await former.post("nowhere to be kept [sandbox:delay=3]")).json()
        pictures, away = tmp_path / "pictures", tmp_path / "away"
        pictures.rename(away)
        await until(lambda: any(name.endswith(".answer") for name in former.spool))
        await former.house.stop()
        away.rename(pictures)
        one = Vendors(await opened(evolink, tmp_path), evolink, openai)
        try:
            assert (await one.house.ended(task["id"]))["status"] == "completed"
            assert await one.spent_usd_micros() == one.billed_usd_micros
        finally:
            await one.house.stop()


async def test_what_came_too_late_goes_with_the_words_of_its_run(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        task = (await one.post("lost [sandbox:drop] [sandbox:delay=3]")).json()
        await one.house.ended(task["id"])
        run = await one.run_of(task["id"])
        (one.house.folder / "spool" / f"{run.id}-{run.attempts}.answer").write_bytes(b"lost words")
        answer = await one.house.admin("DELETE", f"runs/{run.id}")
        assert answer.status_code == 200, answer.text
        assert one.spool == []
