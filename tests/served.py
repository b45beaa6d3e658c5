"""Every operation that a gateway serves, as it is wired. Building one opens nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.config import sandbox_settings
from gateway.web.operation import Operation
from gateway.wiring import Gateway

SERVED: Final[Sequence[Operation]] = [
    one.operation
    for one in Gateway(sandbox_settings("http://127.0.0.1:9", Path("never-made"))).endpoints
]
DESCRIBED: Final = [one for one in SERVED if one.chapter.described]
