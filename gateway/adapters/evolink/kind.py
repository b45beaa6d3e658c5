"""What the core has to know of this vendor: it takes every order that the settings let through, and
its result links live for a day."""

from __future__ import annotations

from typing import Final

from gateway.core.kinds import LINK_LIFE_SECONDS, Kind

KIND: Final = Kind("evolink", link_life_seconds=LINK_LIFE_SECONDS)
