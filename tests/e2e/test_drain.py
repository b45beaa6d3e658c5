"""A stop behind a balancer: unready at once, serving as before for a while, then gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
from house import ADMIN_KEY, FAST, TEAM_KEY, settings_text
from processes import GATEWAY, free_port, process

from gateway.sandbox import running_sandbox

LONG = "10m"
"""A drain that only a second signal ends: none of these tests waits for one."""

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}


@dataclass(frozen=True)
class Draining:
    """A gateway as a process of its own, and a client that keeps its connections."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    port: int

    async def told(self) -> None:
        """Returns once it drains."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        while b"draining" not in (line := await self.process.stdout.readline()):
            assert line, "it ended without a word about draining"

    async def order(self, prompt: str, **headers: str) -> httpx.Response:
        wish = {"model": "gpt-image-1.5", "prompt": prompt}
        return await self.client.post(
            "/v1/images/generations", json=wish, headers={**AUTH, **headers}
        )

    async def kept(self, lines: bytes, *, body: bytes = b"") -> tuple[bytes, bytes]:
        """One request on a connection that was opened before the drain; its answer to the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"onnection" not in await reader.readuntil(b'"ok"}')
        await self.told()
        writer.write(lines + b"\r\nHost: a\r\n\r\n" + body)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer[: answer.find(b"\r\n\r\n")].lower(), answer

    async def gone(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 15)


@contextlib.asynccontextmanager
async def gateway(folder: Path, *, drain: str = LONG, **changes: Any) -> AsyncIterator[Draining]:
    async with running_sandbox(FAST) as sandbox:
        server = {"drain": drain, **changes}
        config = folder / "config.yaml"
        config.write_text(settings_text(sandbox.base_url, folder / "data", server=server))
        port = free_port()
        serve = (*GATEWAY, "serve", "--config", str(config), "--port", str(port))
        async with (
            process(*serve, cwd=folder) as one,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        ):
            yield Draining(one, client, port)
    assert "Traceback" not in (folder / "process.log").read_text()


async def test_it_is_unready_at_once_and_serves_as_before(tmp_path: Path) -> None:
    async with gateway(tmp_path) as one:
        assert (await one.client.get("/readyz")).status_code == 200
        await one.told()
        unready = await one.client.get("/readyz")
        assert unready.status_code == 503
        [reason] = unready.json()["reasons"]
        assert "draining" in reason
        here = await one.client.get("/readyz?local")
        assert (here.status_code, here.json()["reasons"]) == (503, [reason])
        assert (await one.client.get("/healthz")).status_code == 200
        admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
        health = (await one.client.get("/admin/v1/health", headers=admin)).json()
        assert (health["ready"], health["reasons"]) == (False, [reason])
        made = await one.order("while it drains", Prefer="wait=15")
        assert made.status_code == 200 and made.json()["status"] == "completed"
        assert "hit" in (await one.order("while it drains")).headers["cache-status"]
        picture = await one.client.get(made.json()["results"][0])
        assert picture.content.startswith(b"\x89PNG")
        for answer in (unready, made, picture):
            assert answer.headers.get_list("connection") == ["close"]
        one.process.send_signal(signal.SIGINT)
        assert await one.gone() == 0


async def test_a_kept_connection_ends_behind_its_answer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as one:
        head, _ = await one.kept(b"GET /v1/models HTTP/1.1\r\nAuthorization: " + b"Bearer none")
        assert b" 401 " in head and head.count(b"connection: close") == 1
        one.process.send_signal(signal.SIGTERM)
        assert await one.gone() == 0


async def test_what_is_no_request_is_refused_in_the_same_way(tmp_path: Path) -> None:
    async with gateway(tmp_path) as one:
        head, _ = await one.kept(b"this is no request")
        assert b" 400 " in head and head.count(b"connection: close") == 1
        one.process.send_signal(signal.SIGTERM)
        assert await one.gone() == 0


async def test_an_order_that_came_before_is_answered_and_its_connection_ends(
    tmp_path: Path,
) -> None:
    """One body is half there, one client waits, when the signal comes."""
    async with gateway(tmp_path) as one:
        waiting = asyncio.create_task(one.order("slow [sandbox:delay=1]", Prefer="wait=15"))
        while (await one.client.get("/v1/tasks", headers=AUTH)).json()["total"] == 0:
            await asyncio.sleep(0.02)
        body = json.dumps({"model": "gpt-image-1.5", "prompt": "in two halves"}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        lines = (
            "POST /v1/images/generations HTTP/1.1",
            "Host: a",
            f"Authorization: Bearer {TEAM_KEY}",
            f"Content-Length: {len(body)}",
        )
        writer.write("\r\n".join([*lines, "", ""]).encode() + body[:20])
        await writer.drain()
        await one.client.get("/healthz")
        await one.told()
        writer.write(body[20:])
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close\r\n" in answer
        done = await waiting
        assert done.json()["status"] == "completed"
        assert done.headers["connection"] == "close"
        one.process.send_signal(signal.SIGTERM)
        assert await one.gone() == 0


async def test_it_ends_by_itself_and_then_stops_as_ever(tmp_path: Path) -> None:
    async with gateway(tmp_path, drain="500ms") as one:
        await one.told()
        task = (await one.order("just before the end [sandbox:delay=0.1]")).json()
        assert task["status"] == "pending"
        assert await one.gone() == 0
        assert one.process.stdout is not None
        assert b"stopping: no new orders" in await one.process.stdout.read()


async def test_without_one_a_stop_says_nothing_of_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, drain="0s") as one:
        one.process.send_signal(signal.SIGTERM)
        assert await one.gone() == 0
        assert one.process.stdout is not None
        said = await one.process.stdout.read()
        assert b"stopping" in said and b"draining" not in said
