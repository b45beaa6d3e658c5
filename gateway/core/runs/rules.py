"""What the lifecycle needs to know beside the run and the event."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.catalog import Pace
from gateway.core.kinds import ANY, Kind
from gateway.core.runs.routing import NOWHERE, Outlook


@dataclass(frozen=True, slots=True)
class Rules:
    """What the lifecycle needs to know: the settings of the run's upstream, and its `outlook`.

    `resend`: upstream honours idempotency keys, so a submit whose answer was lost may be sent
    again under the same key. `kind` is what is known of upstreams of its kind.
    """

    pace: Pace
    retry_first_seconds: float
    retry_max_seconds: float
    dead_after_seconds: float
    usd_micros_per_credit: float | None
    resend: bool
    outlook: Outlook = NOWHERE
    kind: Kind = ANY
