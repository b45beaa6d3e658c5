"""How many functions a request passes: `python -m benchmarks.path [--list]`.

A gateway and its sandbox run in this process. A cache hit, a poll of a finished task and the GET
of a picture are each sent several times, with every function of `gateway` noted that is entered
meanwhile, in any thread. What is entered at each of those times is the way of the request: what
runs without being asked is not. A comprehension is part of the function in which it stands;
dataclasses' own methods, the libraries' functions and the sandbox's are not counted.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import httpx2 as httpx

from benchmarks import installation
from gateway import logs, serving
from gateway.config import parse
from gateway.sandbox import SandboxOptions, running_sandbox
from gateway.wiring import Gateway

TIMES: Final = 7
ORDER: Final = {"model": "model-0", "prompt": "the same again"}
ROOT: Final = str(Path(serving.__file__).parent)
SANDBOX: Final = f"{ROOT}/sandbox/"
APART: Final = ("gateway.serving", "gateway.http_protocol", "gateway.logs")
COMPREHENSIONS: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")

Entered = set[tuple[str, str]]
"""Functions by module and qualified name."""

Send = Callable[[], Awaitable[httpx.Response]]


async def main(arguments: Sequence[str]) -> None:
    logs.configure("json", "info", stream=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        async with running_sandbox(SandboxOptions(seconds_per_picture=0.1)) as upstream:
            with _entered() as seen:  # threads note what they enter only if they begin in here
                gateway = Gateway(parse(installation.settings(upstream.base_url, Path(folder)), {}))
                await gateway.start()
                server = serving.InProcessServer(gateway.app)
                await server.start()
                gateway.bound(server.bound_port)
                for name, send in await _ways(server.base_url):
                    _tell(name, await _way(send, seen), listed="--list" in arguments)
                await server.stop(5)
                await gateway.stop(5)


async def _ways(base_url: str) -> Sequence[tuple[str, Send]]:
    """A cache hit, a poll and a picture, of an order that is finished."""
    key = {"Authorization": f"Bearer {installation.TEAM_KEY}"}
    client = httpx.AsyncClient(base_url=base_url, headers=key, timeout=60)
    order, wait = "/v1/images/generations", {"Prefer": "wait=30"}
    task = (await client.post(order, json=ORDER, headers=wait)).json()
    return (
        ("hit", lambda: client.post(order, json=ORDER)),
        ("poll", lambda: client.get(f"/v1/tasks/{task['id']}")),
        ("picture", lambda: client.get(task["results"][0])),
    )


async def _way(send: Send, seen: Entered) -> Entered:
    """What is entered at each of several times, but for the first: it may have to open things."""
    always: Entered | None = None
    for time in range(TIMES):
        await asyncio.sleep(0.3)  # the last one's afterwork
        seen.clear()
        answer = await send()
        if answer.status_code != 200:
            sys.exit(f"answered {answer.status_code}: {answer.text[:200]}")
        await asyncio.sleep(0.05)
        if time:
            always = set(seen) if always is None else always & seen
    return always or set()


@contextmanager
def _entered() -> Iterator[Entered]:
    """Fills with the functions that are entered within the block."""
    seen: Entered = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and _counts(frame.f_code):
            seen.add((frame.f_globals["__name__"], frame.f_code.co_qualname))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _counts(code: CodeType) -> bool:
    place = code.co_filename
    return (
        place.startswith(ROOT)
        and not place.startswith(SANDBOX)
        and code.co_name not in COMPREHENSIONS
    )


def _tell(name: str, way: Entered, *, listed: bool) -> None:
    own = {(module, function) for module, function in way if module not in APART}
    modules = sorted({module for module, _ in own})
    beside = f"{len(way) - len(own)} of protocol and log"
    print(f"{name:8} {len(own):4} functions in {len(modules):3} modules, and {beside}")
    if listed:
        for module in modules:
            print(f"    {module}: {', '.join(sorted(f for m, f in own if m == module))}")


if __name__ == "__main__":
    serving.run(main(sys.argv[1:]))
