"""The demo's client: sends what a team's own program would send, and reads what it would read.

It knows the public surface and nothing of the gateway's inside. What the operator's Prometheus
would scrape is read here as well.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2 as httpx

POLL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 120.0
"""Longer than any picture of the demo takes; after it something is wrong."""

_SAMPLE: Final = re.compile(
    r"^gateway_(spend_usd|saved_usd|images)_total\{(.*)\} (\S+)$", re.MULTILINE
)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_FIELDS: Final = {"spend_usd": "spent_usd", "cache": "from_cache"}
"""What a row calls a metric, or a source of pictures, where it has another name for it."""


class Surprise(Exception):
    """Something did not happen as it should; the message says what, in plain words."""


def expect(true: bool, otherwise: str) -> None:
    """Raises `Surprise` with `otherwise` unless `true`."""
    if not true:
        raise Surprise(otherwise)


@dataclass(frozen=True, slots=True)
class DemoReply:
    status: int
    phrase: str
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
    generated: float = 0
    from_cache: float = 0


def total(rows: Sequence[Spend]) -> Spend:
    """All of them together; no team's and no model's."""
    return Spend(
        team="",
        model="",
        spent_usd=round(sum(row.spent_usd for row in rows), 6),
        saved_usd=round(sum(row.saved_usd for row in rows), 6),
        generated=sum(row.generated for row in rows),
        from_cache=sum(row.from_cache for row in rows),
    )


class Client:
    """Requests over one pool of connections, to the gateway at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.AsyncClient(timeout=40.0, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    def order(self, key: str, body: Mapping[str, object]) -> httpx.Request:
        return self._request("POST", "/v1/images/generations", key, body)

    def _request(
        self, method: str, path: str, key: str, body: Mapping[str, object] | None = None
    ) -> httpx.Request:
        headers = {"Authorization": f"Bearer {key}"}
        return self._http.build_request(method, self.base_url + path, json=body, headers=headers)

    async def send(self, request: httpx.Request) -> DemoReply:
        """The answer, whatever its status; raises `Surprise` when none comes."""
        started = time.perf_counter()
        try:
            response = await self._http.send(request)
            seconds = time.perf_counter() - started
            value = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Surprise(f"{request.method} {request.url}: {error!r}") from error
        expect(isinstance(value, dict), f"{request.method} {request.url} gave no JSON object")
        phrase = response.reason_phrase
        return DemoReply(response.status_code, phrase, response.headers, value, seconds)

    async def progress(self, key: str, task_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """Polls a task until it has ended; yields what each poll says, the last one included."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            answer = await self.send(self._request("GET", f"/v1/tasks/{task_id}", key))
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
        rows: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for name, text_of_labels, value in _SAMPLE.findall(text):
            labels: dict[str, str] = dict(_LABEL.findall(text_of_labels))
            told: str = labels["source"] if name == "images" else name
            rows[labels["team"], labels["model"]][_FIELDS.get(told, told)] += float(value)
        return [
            Spend(team=team, model=model, **row)
            for (team, model), row in rows.items()
            if any(row.values())
        ]
