"""Waiting for a task over HTTP: `Prefer: wait=N`, clients that hang up, `Retry-After`.

RFC 7240: a preference that is not understood or not applied changes nothing, and the answer says
which was applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from gateway.core.model import Run
from gateway.web.edge import add_upstream_seconds
from gateway.web.heads import lines

MAX_WAIT_SECONDS: Final = 55
"""A longer wish is cut to this: proxies close connections that are silent for 60 s, and their
clock began before ours."""

MAX_RETRY_AFTER_SECONDS: Final = 60
"""A run may be due in a quarter of an hour, and its news may still come sooner."""

_PREFERENCE: Final = re.compile(
    # Possessive throughout: no text makes it go back and forth.
    r'(?:^|,)\s*+([\w!#$%&\'*+.^`|~-]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s",;]*+)))?+'
    r'\s*+(?:;(?:[^,"]|"(?:[^"\\]|\\.)*+")*+)?+(?=,|$)',
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Wait:
    """A client's wish to wait: for how many seconds, and since when (`time.monotonic`)."""

    seconds: int
    since: float

    @property
    def left_seconds(self) -> float:
        return max(0.0, self.since + self.seconds - time.monotonic())

    @property
    def applied(self) -> str:
        """The value of `Preference-Applied`."""
        return f"wait={self.seconds}"


def read_wait(request: Request) -> Wait | None:
    """The `wait` among the request's preferences; None without one that can be understood."""
    said = lines(request, "prefer")
    seconds = wait_seconds(said) if said else None
    return None if seconds is None else Wait(seconds, time.monotonic())


def wait_seconds(lines: Sequence[str]) -> int | None:
    """`wait=N` in the lines of `Prefer`: whole seconds; of doubles the first counts."""
    for match in _PREFERENCE.finditer(",".join(lines)):
        if match[1].lower() == "wait":
            text = (match[2] if match[3] is None else match[3]) or ""
            if not (text.isascii() and text.isdigit()):
                return None
            digits = text.lstrip("0") or "0"
            return min(int(digits), MAX_WAIT_SECONDS) if len(digits) <= 9 else MAX_WAIT_SECONDS
    return None


def retry_after(run: Run, now: float) -> dict[str, str]:
    """`Retry-After` for a task that has not ended: when there may be news of it."""
    if run.is_final:
        return {}
    seconds = math.ceil(min(max(run.due_at - now, 1.0), MAX_RETRY_AFTER_SECONDS))
    return {"Retry-After": str(seconds)}


class ClientGone(Exception):
    """The client hung up; whatever is answered reaches nobody."""


@contextlib.asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Breaks the block off with `ClientGone` when the client hangs up.

    The request's body must have been read. The block's time counts as upstream's.
    """
    inside, gone, start = True, False, time.perf_counter()
    waiting = asyncio.current_task()

    def leave(heard: asyncio.Task[None]) -> None:
        nonlocal gone
        if inside and not heard.cancelled() and waiting is not None:
            gone = True
            waiting.cancel()

    listening = asyncio.create_task(_until_disconnect(request))
    listening.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if gone and waiting is not None and waiting.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        inside = False
        listening.cancel()
        add_upstream_seconds(request, time.perf_counter() - start)


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
