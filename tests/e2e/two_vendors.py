"""A gateway in front of two simulated vendors, EvoLink and OpenAI, for tests to drive."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from house import FAST, House, opened

from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox
from gateway.sandbox.openai import OpenAIOptions, RunningOpenAI, running_openai

MODEL: Final = "gpt-image-2"
OPENAI_KEY: Final = "sk-openai-organisation"
QUICK: Final = OpenAIOptions(
    accepted_key=OPENAI_KEY, seconds_per_picture=0.1, picture_scale=0.06, drawing_threads=1
)
CEILINGS: Final = [
    {"quality": "low", "usd": 0.02},
    {"quality": "medium", "usd": 0.06},
    {"usd": 0.75},
]


def openai_upstream(api_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "openai",
        "base_url": api_url,
        "api_key": OPENAI_KEY,
        "timeout": {"connect": "1s", "submit": "10s", "poll": "1s", "download": "2s"},
        "allow_private_addresses": True,
        **changes,
    }


def model(*routes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "limits": {"qualities": ["low", "medium", "high"]},
        "defaults": {"size": "1:1", "quality": "low"},
        "deadline": "30s",
        "routes": [*routes],
        **more,
    }


CHEAP: Final = {"upstream": "evolink", "model": MODEL, "price": 0.01}
DEAR: Final = {"upstream": "openai", "model": MODEL, "price": CEILINGS}


@dataclass
class Vendors:
    """One gateway and both of its vendors."""

    house: House
    evolink: RunningSandbox
    openai: RunningOpenAI

    async def made(self, prompt: str = "a red bicycle", **more: Any) -> Any:
        return await self.house.made(prompt, **{"model": MODEL, **more})

    async def post(self, prompt: str, **more: Any) -> Any:
        return await self.house.post(prompt, **{"model": MODEL, **more})

    async def spent_usd_micros(self) -> int:
        """All that the ledger has as spent."""
        usage = await self.house.gateway.ledger.usage(since_day=0)
        return sum(one.spent_usd_micros for one in usage)

    @property
    def billed_usd_micros(self) -> int:
        """What OpenAI has on its bill."""
        return self.openai.state.bill.total.usd_micros

    async def run_of(self, task_id: str) -> Any:
        found = await self.house.gateway.ledger.job(task_id)
        assert found is not None
        return found.run

    @property
    def spool(self) -> list[str]:
        folder = self.house.folder / "spool"
        return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


@contextlib.asynccontextmanager
async def vendors(
    folder: Path,
    *,
    evolink: SandboxOptions = FAST,
    openai: OpenAIOptions = QUICK,
    upstream: dict[str, Any] | None = None,
    alone: bool = False,
    routes: tuple[dict[str, Any], ...] = (CHEAP, DEAR),
    **changes: Any,
) -> AsyncIterator[Vendors]:
    """`alone`: OpenAI is the only upstream of the settings."""
    async with running_sandbox(evolink) as one, running_openai(openai) as other:
        settings: dict[str, Any] = {
            "upstreams": {
                "openai": openai_upstream(other.api_url, **(upstream or {})),
                **({"evolink": ...} if alone else {}),
            },
            "models": {MODEL: model(*routes), **({"gpt-image-1.5": ...} if alone else {})},
            **changes,
        }
        house = await opened(one, folder, **settings)
        try:
            yield Vendors(house, one, other)
        finally:
            await house.stop()


ONLY_OPENAI: Final = (DEAR,)
__all__ = [
    "CEILINGS", "CHEAP", "DEAR", "MODEL", "ONLY_OPENAI", "OPENAI_KEY", "QUICK", "Vendors", "model",
    "openai_upstream", "replace", "vendors",
]  # fmt: skip
