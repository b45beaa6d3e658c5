"""Endpoints for machines that watch the gateway: alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.core.policy import Current
from gateway.errors import ModelAccessDenied
from gateway.web.auth import carries_key
from gateway.web.responses import json_response

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Accept header → exposition and its content type."""


class MetricsDenied(ModelAccessDenied):
    code = "permission_denied"


class Operations:
    """`/healthz`, `/readyz`, `/metrics`. `unready` lists why no order can be taken now."""

    def __init__(
        self, current: Current, *, unready: Callable[[], Awaitable[Sequence[str]]], render: Render
    ) -> None:
        self._current = current
        self._unready = unready
        self._render = render

    async def healthz(self, _: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        reasons = list(await self._unready())
        body = {"status": "unready" if reasons else "ready", "reasons": reasons}
        status = 503 if reasons else 200
        return json_response(body, status=status)

    async def metrics(self, request: Request) -> Response:
        policy = self._current.policy
        keys = policy.metrics_keys | policy.admin_keys
        if not (carries_key(request, keys) or (not policy.metrics_keys and _is_local(request))):
            raise MetricsDenied(
                "Metrics answer loopback peers, or those who send a key of server.metrics_keys "
                "as 'Authorization: Bearer <key>'."
            )
        body, content_type = await self._render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})


def _is_local(request: Request) -> bool:
    """A peer on this machine that speaks for itself and not for someone behind it."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
