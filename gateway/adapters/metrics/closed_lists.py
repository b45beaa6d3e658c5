"""The label values that no setting names, and the buckets of the histograms.

A value that is in none of these lists is counted under the stand-in beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.model import DeliveryState, FailureKind, Kept
from gateway.core.picture_errors import (
    LinkBroken,
    LinkDead,
    NotAPicture,
    PictureTooLarge,
    StoreFull,
)
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    Finished,
    NotNow,
    Progressed,
    Refused,
    TaskFailed,
    Unreachable,
)

UNKNOWN: Final = "unknown"
"""Stands for a team, model or route that nobody declared."""

OTHER: Final = "other"
"""Stands for a method, quality, upstream or operation that is not in its list."""

ERROR: Final = "error"
"""Stands for an outcome that has no word of its own."""

DEFAULT_QUALITY: Final = "default"
"""Stands for the quality of an order that names none."""

DONE: Final = "done"

READ: Final = ("GET", "HEAD")
FILE_STATUSES: Final = (200, 400, 401, 403, 404, 413, 429, 500, 502, 503)
ROUTES: Final[Mapping[str, tuple[Sequence[str], Sequence[int]]]] = {
    # Route template: its methods, and the statuses that have a series of their own. Any other
    # status is counted by its class, such as `4xx`, and any other method as `other`.
    "/v1/images/generations": (
        ("POST",),
        (200, 400, 401, 402, 403, 404, 409, 413, 422, 424, 429, 499, 500, 502, 503, 504),
    ),
    "/v1/tasks/{task_id}": (READ, (200, 400, 401, 404, 499, 500, 503)),
    "/v1/tasks": (READ, (200, 400, 401, 500, 503)),
    "/v1/tasks/batch": (("POST",), (200, 400, 401, 413, 500, 503)),
    "/v1/images/estimate": (("POST",), (200, 400, 401, 413, 500, 503)),
    "/v1/credits": (READ, (200, 401, 500, 503)),
    "/v1/models": (READ, (200, 401, 500)),
    "/openai/v1/images/generations": (
        ("POST",),
        (200, 400, 401, 403, 404, 409, 413, 422, 424, 429, 499, 500, 502, 503, 504),
    ),
    "/openai/v1/images/edits": (
        ("POST",),
        (200, 400, 401, 403, 404, 409, 413, 422, 424, 429, 499, 500, 502, 503, 504),
    ),
    "/openai/v1/models": (READ, (200, 401, 500)),
    "/openai/v1/models/{model}": (READ, (200, 401, 404, 500)),
    "/api/v1/files/upload/base64": (("POST",), FILE_STATUSES),
    "/api/v1/files/upload/stream": (("POST",), FILE_STATUSES),
    "/api/v1/files/upload/url": (("POST",), FILE_STATUSES),
    "/api/v1/files/list": (READ, (200, 401, 500, 503)),
    "/api/v1/files/quota": (READ, (200, 401, 404, 500, 502)),
    "/api/v1/files/{file_id}": (("DELETE",), (200, 401, 404, 500, 502, 503)),
    "/pictures/{name}": (READ, (200, 206, 304, 404, 416, 500, 503)),
    "/callbacks/{token}": (("POST",), (200, 404, 500, 503)),
    "/console": (READ, (200, 304)),
    "/console/{asset:path}": (READ, (200, 304, 308, 404)),
    "/openapi.json": (READ, (200, 304)),
    "/docs": (READ, (200, 304)),
    "/admin/v1/usage": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/runs": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/runs/{id}": ((*READ, "DELETE"), (200, 400, 401, 404, 409, 500, 503)),
    "/admin/v1/runs/{id}/retry": (("POST",), (200, 400, 401, 404, 409, 500, 503)),
    "/admin/v1/refusals": (READ, (200, 400, 401, 500, 503)),
    "/team/v1/summary": (READ, (200, 401, 500, 503)),
    "/team/v1/usage": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/teams": ((*READ, "POST"), (200, 400, 401, 409, 500, 503)),
    "/admin/v1/teams/{team}": (
        (*READ, "PATCH", "DELETE"),
        (200, 400, 401, 404, 409, 500, 503),
    ),
    "/admin/v1/teams/{team}/keys": ((*READ, "POST"), (200, 400, 401, 404, 409, 500, 503)),
    "/admin/v1/teams/{team}/keys/{id}": (("DELETE",), (200, 401, 404, 409, 500, 503)),
    "/admin/v1/teams/{team}/keys/{id}/rotate": (
        ("POST",),
        (200, 400, 401, 404, 409, 500, 503),
    ),
    "/admin/v1/pictures": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/pictures/unproven": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/pictures/unproven/{name}": (READ, (200, 401, 404, 500, 503)),
    "/admin/v1/pictures/{digest}": (("DELETE",), (200, 400, 401, 404, 500, 503)),
    "/admin/v1/cache": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/cache/purge": (("POST",), (200, 400, 401, 500, 503)),
    "/admin/v1/callbacks": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/callbacks/{id}/redeliver": (("POST",), (200, 400, 401, 404, 500, 503)),
    "/team/v1/pictures": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/audit": (READ, (200, 400, 401, 500, 503)),
    "/admin/v1/settings": (READ, (200, 401, 500)),
    "/admin/v1/settings/reload": (("POST",), (200, 400, 401, 409, 500, 503)),
    "/admin/v1/health": (READ, (200, 401, 500, 503)),
    "/admin/v1/summary": (READ, (200, 401, 500, 503)),
    "/healthz": (READ, (200,)),
    "/readyz": (READ, (200, 503)),
    "/metrics": (READ, (200, 403)),
    UNKNOWN: ((), ()),
}
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
CALLBACK_OUTCOMES: Final[Mapping[DeliveryState, str]] = {
    # What a delivery is after an attempt → its word.
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.PENDING: "retried",
    DeliveryState.FAILED: "failed",
}
CACHE_RESULTS: Final = ("hit", "miss", "stale", ERROR)
RUN_OUTCOMES: Final = (DONE, *FailureKind)


def _by_class_name(words: Mapping[type, str]) -> Mapping[str, str]:
    return {kind.__name__: word for kind, word in words.items()}


KEEP_FAILURES: Final = _by_class_name(
    {
        LinkDead: "dead",
        LinkBroken: "broken",
        NotAPicture: "not_a_picture",
        PictureTooLarge: "too_large",
        StoreFull: "store_full",
    }
)
CALL_OUTCOMES: Final[Mapping[str, Mapping[str, str]]] = {
    # Operation: the name of what came of it (an event, a kept picture, a problem) → its word.
    "submit": _by_class_name(
        {
            Accepted: "accepted",
            Refused: "refused",
            NotNow: "not_now",
            CredentialsRefused: "credentials",
            AnswerLost: "unknown",
        }
    ),
    "poll": _by_class_name(
        {
            Progressed: "progressed",
            Finished: "finished",
            TaskFailed: "failed",
            Unreachable: "unreachable",
        }
    ),
    "download": {Kept.__name__: "kept", **KEEP_FAILURES},
}

# Seconds. A bucket is a line more per series and scrape: few, and close where decisions are made.

OVERHEAD_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""From half a millisecond, which a hit should not take, to where something is clearly ill."""

HTTP_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 65.0)
"""From a hit to the longest `Prefer: wait`, 55 s, and its answer."""

RUN_BUCKETS: Final = (
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    30.0,
    45.0,
    60.0,
    90.0,
    120.0,
    180.0,
    300.0,
    600.0,
    900.0,
)
"""Closest where pictures usually get ready; the last is the usual deadline."""

CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0)
"""Up to the usual time-outs: 20 s for a poll, 25 s for a submit, 120 s for a download."""
