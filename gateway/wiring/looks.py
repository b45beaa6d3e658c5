"""A look at the upstreams of some settings: do they take their keys, do they have the models?

Each is asked once, by the ways that a gateway would go, and nothing is ordered. What is not told
for certain is said to be not known; it is never a mistake of the settings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

from gateway.config import Settings, convert
from gateway.core.policy import Current
from gateway.ports.looks import AccountSeen
from gateway.wiring.adapters import Adapters
from gateway.wiring.connections import Outside
from gateway.wiring.kinds import KINDS


async def look(settings: Settings, outside: Outside | None = None) -> Sequence[str]:
    """A sentence for whatever is not as it should be, or could not be found out."""
    current = Current(convert.policy(settings, port=settings.server.port, kinds=KINDS), time.time)
    adapters = Adapters(
        settings, current, clock=time.time, callback_tls=None, outside=outside or Outside()
    )
    looks = adapters.connections.looks()
    try:
        found = await asyncio.gather(*(one() for one in looks.values()))
    finally:
        await adapters.connections.aclose()
    seen = dict(zip(looks, found, strict=True))
    return [*_keys(seen), *_models(settings, seen)]


def _keys(seen: Mapping[str, AccountSeen]) -> Iterator[str]:
    for name, one in seen.items():
        if one.takes_key is False:
            yield f"upstreams.{name}.api_key: is not taken there ({one.why})"
        elif one.takes_key is None:
            yield f"upstreams.{name}: whether the key is taken could not be told ({one.why})"


def _models(settings: Settings, seen: Mapping[str, AccountSeen]) -> Iterator[str]:
    for name, model in settings.models.items():
        for index, route in enumerate(model.routes):
            known, place = seen[route.upstream].models, f"models.{name}.routes[{index}]"
            if known is None:
                continue
            end = known.get(route.model)
            if route.model not in known:
                yield f"{place}: {route.upstream} lists no model {route.model!r} for this key"
            elif end is not None:
                yield f"{place}: {route.upstream} says that {route.model} goes on {end}"
