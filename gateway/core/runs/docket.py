"""The docket: what an upstream has told of a run's work so far, in our own words.

It is what `Run.task` holds as JSON. An adapter writes it; whoever shows a run reads it, and never
the vendor's own words but as an extra of that kind. Rows of former versions hold EvoLink's task
object itself, which is read as what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMER: Final = "evolink"
"""The only kind there was when a run's task was the vendor's own JSON."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the work came to, as the vendor counted it."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int = 0


@dataclass(frozen=True, slots=True)
class Docket:
    """`kind` is whose it is. `at_work`: upstream has begun; `progress` is in percent. `request_id`
    is the vendor's own name for the call, for its support. `said` is its JSON."""

    kind: str
    at_work: bool = False
    progress: int = 0
    tokens: Tokens | None = None
    request_id: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


def written(docket: Docket) -> str:
    """The docket as `Run.task` holds it."""
    return json.dumps(asdict(docket), ensure_ascii=False, separators=(",", ":"))
