"""One client's requests: what may come back, and what nobody may be told.

A request that a restart cut off, or that came while nobody listened, is no surprise; a time-out, a
connection lost for no reason and a status that the act does not know are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2 as httpx

from benchmarks.soak.promises import Promises
from benchmarks.soak.site import ADMIN_KEY, Site, key_of

FINAL: Final = ("completed", "failed")
ORDERED: Final = frozenset({200, 504, 424})
"""An order was taken, or the answer to its submit was lost; or it is told again how it was lost."""

PATIENCE_SECONDS: Final = 40.0
"""Longer than anything here may take: the deadline of a run, and a restart."""


@dataclass
class Client:
    """One of many; `stopped` says when to go home."""

    site: Site
    promises: Promises
    chance: random.Random
    stopped: Callable[[], bool]
    http: httpx.AsyncClient = field(init=False)
    answered: int = 0

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(
            base_url=self.site.url, timeout=PATIENCE_SECONDS, trust_env=False
        )

    async def ask(
        self, method: str, path: str, *, may: Set[int] = frozenset({200}), **more: Any
    ) -> httpx.Response | None:
        """The answer, if its status is one of `may`; else None, and maybe a surprise."""
        life = self.site.lives
        try:
            answer = await self.http.request(method, path, **more)
        except httpx.TransportError as error:
            if not self.site.away and life == self.site.lives:
                self.promises.wonder(f"{method} {path[:40]}: {type(error).__name__} {error}")
            await asyncio.sleep(0.05)
            return None
        self.promises.statuses[answer.status_code] += 1
        if answer.status_code in may:
            return answer
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            self.promises.wonder(f"{method} {path[:40]}: {answer.status_code} {answer.text[:200]}")
        return None

    async def team(self, method: str, path: str, *, team: str = "blue", **more: Any) -> Any:
        return await self.ask(method, path, headers=_bearer(key_of(team), more), **more)

    async def admin(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        headers = _bearer(ADMIN_KEY, more)
        return await self.ask(method, f"/admin/v1/{path}", headers=headers, **more)

    async def order(
        self, body: dict[str, Any], *, team: str = "blue", **more: Any
    ) -> httpx.Response | None:
        """An order in the mirrored API; what is answered is remembered as a promise."""
        more.setdefault("may", ORDERED)
        wish = {"model": "gpt-image-1.5", "quality": "low", **body}
        path = "/v1/images/generations"
        answer: httpx.Response | None = await self.team("POST", path, team=team, json=wish, **more)
        if answer is not None and answer.status_code == 200:
            task = answer.json()["id"]
            self.promises.take(task, team, calls_back="callback_url" in body)
            self.promises.show(answer.text)
        return answer

    async def ended(self, task: str, *, team: str = "blue") -> Any:
        """The task once it has ended, asked after as clients do; None when time is up."""
        while not self.stopped():
            wait = {"Prefer": "wait=3"} if self.chance.random() < 0.3 else {}
            answer = await self.team("GET", f"/v1/tasks/{task}", team=team, headers=wait)
            if answer is not None and answer.json()["status"] in FINAL:
                self.promises.show(answer.text)
                return answer.json()
            await asyncio.sleep(self.chance.uniform(0.1, 0.3))
        return None


def _bearer(key: str, more: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
