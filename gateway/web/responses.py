"""A value as the answer to a request: JSON as `wire` writes it."""

from __future__ import annotations

from starlette.responses import Response

from gateway.web.evolink import wire


def json_response(value: object, *, status: int = 200) -> Response:
    return Response(wire.to_json(value), status_code=status, media_type="application/json")
