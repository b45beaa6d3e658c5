"""A server that answers with links instead of pictures, as some that speak OpenAI's API do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from house import FAST, House, opened, until
from two_vendors import MODEL, ONLY_OPENAI, model, openai_upstream

from gateway.core.model import Run, RunState
from gateway.sandbox import running_sandbox

HOURS = 3600.0
USAGE = {"input_tokens": 18, "output_tokens": 196}
BILL = 18 * 5 + 196 * 30


@dataclass
class Linking:
    """Answers an order with a link to itself over plain http, behind which is a page that is
    another one each time."""

    url: str = ""
    orders: int = 0
    visits: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                self.orders += 1
                told = {"created": 1, "data": [{"url": f"{self.url}/1.png"}], "usage": USAGE}
                kind, body = "application/json", json.dumps(told).encode()
            else:
                self.visits += 1
                kind, body = "text/html", f"<html>visit {self.visits}".encode()
            lines = ["HTTP/1.1 200 X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
            lines += ["Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def linking() -> AsyncIterator[Linking]:
    one = Linking()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield one


async def run_of(house: House, task: Mapping[str, str]) -> Run:
    found = await house.gateway.ledger.job(task["id"])
    assert found is not None
    return found.run


async def test_a_link_to_what_is_never_a_picture_is_given_up_after_a_day(tmp_path: Path) -> None:
    later = [0.0]
    async with linking() as server, running_sandbox(FAST) as evolink:
        house = await opened(
            evolink,
            tmp_path,
            clock=lambda: time.time() + later[0],
            upstreams={"openai": openai_upstream(f"{server.url}/v1")},
            models={MODEL: model(*ONLY_OPENAI)},
        )
        try:
            task = (await house.post("a page each time", model=MODEL)).json()
            await until(lambda: server.visits > 12)
            run = await run_of(house, task)
            assert run.state is RunState.KEEPING and run.hold.usd_micros > 0
            later[0] = 23 * HOURS
            visits = server.visits
            await until(lambda: server.visits > visits + 2)
            assert (await run_of(house, task)).state is RunState.KEEPING
            later[0] = 24 * HOURS
            ended = await house.ended(task["id"])
            assert ended["error"]["code"] == "result_lost"
            assert "operator can fetch the bytes" in ended["error"]["message"]
            run = await run_of(house, task)
            assert (run.spent.usd_micros, run.hold.usd_micros) == (BILL, 0)
            [page] = await house.gateway.adapters.pictures.set_aside()
            assert page.origin.run_id == run.id
            assert server.orders == 1
            assert await house.violations() == []
        finally:
            await house.stop()
