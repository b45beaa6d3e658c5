"""Endpoints for machines that watch the gateway: alive, ready, metrics."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.addresses import is_loopback
from gateway.core.policy import Current, Policy
from gateway.errors import ModelAccessDenied
from gateway.web.auth import carries_key
from gateway.web.chapters import SCRAPING, WATCHING
from gateway.web.operation import Operation
from gateway.web.responses import json_response
from gateway.web.schema import STRING

ZIP_LEVEL: Final = 5
"""Nearly as small as can be, in a third of the time."""

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Accept header → exposition and its content type."""


class MetricsDenied(ModelAccessDenied):
    code = "permission_denied"


class AliveShape(TypedDict):
    status: str


class ReadyShape(TypedDict):
    """Answered with 503, and the reasons, while no order can be taken."""

    status: str
    reasons: list[str]


class Monitoring:
    """`/healthz`, `/readyz`, `/metrics`.

    `unready` lists why no order can be taken now, `unready_here` what of that is this process's
    own: what another one behind the same balancer may not have.
    """

    def __init__(
        self,
        current: Current,
        *,
        unready: Callable[[], Awaitable[Sequence[str]]],
        unready_here: Callable[[], Sequence[str]],
        render: Render,
    ) -> None:
        self._current = current
        self._unready = unready
        self._unready_here = unready_here
        self._render = render

    @Operation("GET /healthz", WATCHING, "Alive", answer=AliveShape)
    async def healthz(self, _: Request) -> Response:
        alive: AliveShape = {"status": "ok"}
        return json_response(alive)

    @Operation(
        "GET /readyz",
        WATCHING,
        "Able to take orders",
        "`/readyz?local` is for a balancer: it leaves out what is wrong with every replica at once,"
        " the ledger and the pictures, since sending requests nowhere mends neither.",
        query={"local": {**STRING, "description": "Any value, or none."}},
        answer=ReadyShape,
    )
    async def readyz(self, request: Request) -> Response:
        here = "local" in request.query_params
        reasons = list(self._unready_here() if here else await self._unready())
        body: ReadyShape = {"status": "unready" if reasons else "ready", "reasons": reasons}
        status = 503 if reasons else 200
        return json_response(body, status=status)

    @Operation(
        "GET /metrics",
        SCRAPING,
        "Metrics for Prometheus",
        media={"text/plain": STRING},
        errors=(MetricsDenied,),
    )
    async def metrics(self, request: Request) -> Response:
        policy = self._current.policy
        keys = policy.metrics_keys | policy.admin_keys.keys()
        if not (carries_key(request, keys) or (_needs_no_key(policy) and _is_local(request))):
            raise MetricsDenied(
                "Metrics want a key of server.metrics_keys as 'Authorization: Bearer <key>'. "
                "Without such keys they answer callers on this machine, as long as "
                "server.public_url is loopback too."
            )
        body, content_type = await self._render(request.headers.get("accept", ""))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if takes_gzip(request.headers.get("accept-encoding", "")):
            body = await asyncio.to_thread(gzip.compress, body, ZIP_LEVEL)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` names gzip with a weight above zero (RFC 9110, section 12.5.3)."""
    for coding in accept_encoding.lower().split(","):
        name, _, weight = coding.replace(" ", "").partition(";q=")
        if name in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" or not weight
    return False


def _needs_no_key(policy: Policy) -> bool:
    """A gateway that is published stands behind a proxy, whose callers all seem to be local."""
    return not policy.metrics_keys and is_loopback(urlsplit(policy.public_url).hostname or "")


def _is_local(request: Request) -> bool:
    """A peer on this machine that speaks for itself and not for someone behind it."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    return is_loopback(request.client.host) and is_loopback(_asked_host(request))


def _asked_host(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:  # a bracket without its other half
        return ""
