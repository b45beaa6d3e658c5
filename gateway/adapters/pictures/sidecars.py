"""A picture's provenance as it is written beside it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson


def written_out(sidecar: Mapping[str, object]) -> bytes:
    return orjson.dumps(dict(sidecar), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
