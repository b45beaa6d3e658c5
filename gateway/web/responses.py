"""A value as the answer to a request: JSON as `wire` writes it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from gateway.ports.ledger import Mark
from gateway.web.evolink import wire
from gateway.web.query import next_cursor


def json_response(value: object, *, status: int = 200) -> Response:
    return Response(wire.to_json(value), status_code=status, media_type="application/json")


def page_response(rows: Sequence[object], last: Mark | None) -> Response:
    """Part of a list; `last` is the row behind which it goes on, None where there is no more."""
    return json_response({"data": rows, "next": next_cursor(last)})
