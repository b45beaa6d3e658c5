"""A gateway that kills itself (SIGKILL) amid an operator's act; run as a process of its own.

`operation` is one of the things that an act does, `when` is `before` or `after`, `count` the
how-manieth of those that an admin request does. What the gateway does for itself meanwhile is not
counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from doomed import armed
from processes import Ready
from starlette.types import Receive, Scope, Send

from gateway.config import parse
from gateway.serving import InProcessServer
from gateway.wiring import Gateway

ACTING: ContextVar[bool] = ContextVar("acting", default=False)


def armed_for_acts(owner: object, name: str, when: str, count: int) -> None:
    """As `armed`, and blind to all that no admin request does."""
    real: Callable[..., Any] = getattr(owner, name)
    armed(owner, name, when, count)
    deadly: Callable[..., Any] = getattr(owner, name)

    async def chosen(*args: Any, **kwargs: Any) -> Any:
        return await (deadly if ACTING.get() else real)(*args, **kwargs)

    setattr(owner, name, chosen)


async def main(
    ready: Ready, settings: Path, port: int, operation: str, when: str, count: int
) -> None:
    gateway = Gateway(parse(settings.read_text(), {}))
    adapters = gateway.adapters
    owners = {
        "transact": adapters.ledger,
        "retire": adapters.ledger,
        "remove": adapters.pictures,
        "forget": adapters.cache,
        "scrub": adapters.ledger,
        "clear": adapters.cache,
    }
    await gateway.start()
    armed_for_acts(owners[operation], operation, when, count)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        ACTING.set(str(scope.get("path", "")).startswith("/admin/"))
        await gateway.app(scope, receive, send)

    http = InProcessServer(app, port=port)
    await http.start()
    gateway.bound(http.bound_port)
    ready()
    await asyncio.sleep(60)
