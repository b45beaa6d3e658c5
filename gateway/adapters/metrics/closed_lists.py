"""The label values that no setting names, and the buckets of the histograms.

A value that is in none of these lists is counted under the stand-in beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    Delivered,
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

FIRST_STATUSES: Final = ("200", "500", "502", "503", "504")
"""Each method of each route is shown with these from the start, at 0: a rule divides the errors by
all answers, and `rate` would not see the error that makes a series."""

STATUSES: Final = (
    *FIRST_STATUSES,
    *("206", "304", "308"),
    *("400", "401", "402", "403", "404", "409", "413", "416", "422", "424", "429", "499"),
)
"""Any other status is counted by its class, such as `4xx`."""

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
            Delivered: "delivered",
            TaskFailed: "failed",
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

RUN_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900)
"""Closest where pictures usually get ready; the last is the usual deadline."""

CALL_BUCKETS: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0),
    *(300.0, 600.0),
)
"""Up to the usual time-outs: 20 s for a poll, 25 s for a submit, 120 s for a download; and 360 s to
600 s for a submit that is the whole work."""
