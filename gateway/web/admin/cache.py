"""`/admin/v1/cache`: what the response cache holds and does, and emptying it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.ports.cache import ResponseCache
from gateway.services.erasure import Erasure
from gateway.web.admin import BODY_BYTES
from gateway.web.calls import OperatorCall
from gateway.web.chapters import STORES
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Query, read_json
from gateway.web.responses import json_response


class CacheRequestsShape(TypedDict):
    hit: int
    miss: int
    stale: int


class CacheShape(TypedDict):
    entries: int
    bytes: int
    size_limit_bytes: int
    ttl_seconds: float
    requests: CacheRequestsShape


class PurgedShape(TypedDict):
    """How many finished runs answer nobody any more."""

    purged: int


class PurgeCache(Query):
    """Whose answers."""

    team: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Of this team's runs. Left out: of everyone's.",
    )


class CachePages:
    """`size_limit_bytes` is that of the settings, `requests` counts looks by what came of them."""

    def __init__(
        self,
        erasure: Erasure,
        cache: ResponseCache,
        *,
        size_limit_bytes: int,
        requests: Callable[[], Mapping[str, int]],
    ) -> None:
        self._erasure = erasure
        self._cache = cache
        self._size_limit_bytes = size_limit_bytes
        self._requests = requests

    @Operation("GET /admin/v1/cache", STORES, "The response cache", answer=CacheShape)
    async def shown(self, call: OperatorCall[NoParameters]) -> Response:
        entries, size_bytes = await self._cache.size()
        looks = self._requests()
        answer: CacheShape = {
            "entries": entries,
            "bytes": size_bytes,
            "size_limit_bytes": self._size_limit_bytes,
            "ttl_seconds": call.policy.cache_ttl_seconds,
            "requests": {"hit": looks["hit"], "miss": looks["miss"], "stale": looks["stale"]},
        }
        return json_response(answer)

    @Operation(
        "POST /admin/v1/cache/purge",
        STORES,
        "Purge the cache",
        "From now on nobody is answered from what is finished. Pictures stay.",
        body=PurgeCache,
        answer=PurgedShape,
    )
    async def purge(self, call: OperatorCall[NoParameters]) -> Response:
        asked = await read_json(call.request, PurgeCache, BODY_BYTES)
        answer: PurgedShape = {"purged": await self._erasure.purge(asked.team, call.act())}
        return json_response(answer)
