"""The simulated upstream as a process of its own, with a second port for its weather and its bill.

`python -m benchmarks.soak.upstream PORT CONTROL_PORT`. The gateway knows the first port only.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import serving
from gateway.sandbox import SandboxOptions, SandboxState, running_sandbox

KEY: Final = "sk-soak"
OPTIONS: Final = SandboxOptions(
    accepted_key=KEY,
    seconds_per_picture=0.2,
    picture_scale=0.06,
    drawing_threads=1,
    max_tasks=2_000_000,
    account_credits=1_000_000_000.0,
)


@dataclass(frozen=True, slots=True)
class Weather:
    """How upstream is; as it stands here, well."""

    down: str = ""
    """`no_channel`: it answers 503; `cut`: it takes connections and cuts them."""
    links_down: bool = False
    seconds_per_picture: float = OPTIONS.seconds_per_picture
    submits_per_minute: int | None = None
    rates: dict[str, float] = field(default_factory=dict)
    """Chances of the sandbox's magic words."""


def changed(state: SandboxState, weather: Weather) -> None:
    state.down, state.down_mode = bool(weather.down), weather.down or "no_channel"
    state.links_down = weather.links_down
    told = {name: value for name, value in asdict(weather).items() if "down" not in name}
    state.options = replace(state.options, **told)


def bill(state: SandboxState) -> dict[str, Any]:
    """What upstream made and charges, task by task."""
    state.advance()
    now = state.clock()
    return {
        "tasks": [
            {
                "id": task.id,
                "prompt": task.wish.prompt,
                "credits": task.used.credits if _is_charged(task.finished(now), task) else 0.0,
            }
            for task in state.tasks.values()
        ],
        "credits_used": state.credits_used,
    }


def _is_charged(finished: bool, task: Any) -> bool:
    return finished and task.error_code is None


def control(state: SandboxState) -> Starlette:
    async def steer(request: Request) -> Response:
        changed(state, Weather(**await request.json()))
        return JSONResponse({})

    async def ask(_: Request) -> Response:
        return JSONResponse(bill(state))

    return Starlette(routes=[Route("/weather", steer, methods=["POST"]), Route("/bill", ask)])


async def main(port: int, control_port: int) -> None:
    stop = serving.catch_stop_signals()
    async with running_sandbox(OPTIONS, port=port) as sandbox:
        steering = serving.InProcessServer(control(sandbox.state), port=control_port)
        async with steering.running(1.0):
            await stop.get()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
