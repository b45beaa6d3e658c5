"""What machines that watch the gateway meet, and the pages for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import TypedDict

from gateway.web.monitoring import MetricsDenied
from gateway.web.openapi.operation import Door, Operation, answers_json

_TAG: Final = "Watching"


class AliveShape(TypedDict):
    status: str


class ReadyShape(TypedDict):
    """Answered with 503, and the reasons, while no order can be taken."""

    status: str
    reasons: list[str]


OPERATIONS: Final[Sequence[Operation]] = (
    Operation("GET", "/healthz", _TAG, "Alive", Door.OPEN, answers_json(AliveShape)),
    Operation("GET", "/readyz", _TAG, "Able to take orders", Door.OPEN, answers_json(ReadyShape)),
    Operation(
        "GET",
        "/metrics",
        _TAG,
        "Metrics for Prometheus",
        Door.SCRAPER,
        {"text/plain": {"type": "string"}},
        refusals=(MetricsDenied,),
    ),
    Operation(
        "GET", "/openapi.json", _TAG, "This document", Door.OPEN, answers_json({"type": "object"})
    ),
    Operation("GET", "/docs", _TAG, "This document, for people", Door.OPEN, {"text/html": None}),
)
