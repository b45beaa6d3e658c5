"""What every mapping of the settings is: strict, frozen, and called in the file as it is here.

It must not know any setting.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

UNITS = re.compile("_seconds$|_bytes$|_micros")


def yaml_name(name: str) -> str:
    """`ttl_seconds` is `ttl` in the file, `usd_micros` is `usd`."""
    return UNITS.sub("", name)


class Part(BaseModel):
    """A mapping in the file: unknown keys refused, values frozen, inputs never in messages."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, alias_generator=yaml_name
    )
