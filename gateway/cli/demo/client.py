"""The demo's client: sends what a team's own program would send, and reads what it would read.

It knows the public surface and nothing of the gateway's inside. What the operator's Prometheus
would scrape is read here as well.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2 as httpx

POLL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 120.0
"""Longer than any picture of the demo takes; after it something is wrong."""

_SAMPLE: Final = re.compile(r"^(gateway_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


class Surprise(Exception):
    """Something did not happen as it should; the message says what, in plain words."""


def expect(true: bool, otherwise: str) -> None:
    """Raises `Surprise` with `otherwise` unless `true`."""
    if not true:
        raise Surprise(otherwise)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it will be sent; `body` is None for a GET."""

    method: str
    url: str
    key: str
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class DemoReply:
    status: int
    headers: Mapping[str, str]
    json: Mapping[str, Any]
    seconds: float

    @property
    def cache_status(self) -> str:
        return self.headers.get("cache-status", "")

    @property
    def task_id(self) -> str:
        return str(self.json.get("id", ""))


@dataclass(frozen=True, slots=True)
class Spend:
    """One team's use of one model, in dollars and pictures, as `/metrics` tells it."""

    team: str
    model: str
    spent_usd: float = 0.0
    saved_usd: float = 0.0
    generated: int = 0
    from_cache: int = 0


class Client:
    """Requests over one pool of connections, to the gateway at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.AsyncClient(timeout=40.0, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    def order(self, key: str, body: Mapping[str, object]) -> Request:
        return Request("POST", f"{self.base_url}/v1/images/generations", key, body)

    async def send(self, request: Request) -> DemoReply:
        """The answer, whatever its status; raises `Surprise` when none comes."""
        started = time.perf_counter()
        try:
            response = await self._http.request(
                request.method,
                request.url,
                json=request.body,
                headers={"Authorization": f"Bearer {request.key}"},
            )
            seconds = time.perf_counter() - started
            value = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Surprise(f"{request.method} {request.url}: {error!r}") from error
        expect(isinstance(value, dict), f"{request.method} {request.url} gave no JSON object")
        return DemoReply(response.status_code, response.headers, value, seconds)

    async def progress(self, key: str, task_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """Polls a task until it has ended; yields what each poll says, the last one included."""
        request = Request("GET", f"{self.base_url}/v1/tasks/{task_id}", key)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            answer = await self.send(request)
            expect(answer.status == 200, f"a poll was answered {answer.status}: {answer.json}")
            yield answer.json
            if answer.json.get("status") in ("completed", "failed"):
                return
            await asyncio.sleep(POLL_SECONDS)
        raise Surprise(f"task {task_id} had not ended after {PATIENCE_SECONDS:.0f} s")

    async def picture(self, link: str) -> bytes:
        """What the permanent link gives; no key is needed for it."""
        try:
            response = await self._http.get(link)
        except httpx.HTTPError as error:
            raise Surprise(f"GET {link}: {error!r}") from error
        expect(response.status_code == 200, f"{link} was answered {response.status_code}")
        return response.content

    async def spend(self) -> list[Spend]:
        """What each team has spent and saved on each model; pairs without any are left out."""
        text = (await self._http.get(f"{self.base_url}/metrics")).text
        sums: dict[tuple[str, str], dict[str, float]] = {}
        for name, labels, value in _SAMPLE.findall(text):
            named = dict(_LABEL.findall(labels))
            if column := _column(name, named):
                row = sums.setdefault((named["team"], named["model"]), {})
                row[column] = row.get(column, 0.0) + float(value)
        return [
            Spend(
                team,
                model,
                spent_usd=round(row.get("spent", 0.0), 6),
                saved_usd=round(row.get("saved", 0.0), 6),
                generated=int(row.get("generated", 0)),
                from_cache=int(row.get("cache", 0)),
            )
            for (team, model), row in sums.items()
            if any(row.values())
        ]


def _column(name: str, labels: Mapping[str, str]) -> str:
    """Which column of the table a sample belongs to; empty: none."""
    if name == "gateway_images_total":
        return labels["source"]
    return {"gateway_spend_usd_total": "spent", "gateway_saved_usd_total": "saved"}.get(name, "")
