"""The kinds of upstream there are: the one table, by the name that the settings have for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.adapters.evolink.kind import KIND as EVOLINK
from gateway.adapters.openai_images.kind import KIND as OPENAI
from gateway.core.kinds import Kind

KINDS: Final[Mapping[str, Kind]] = {one.name: one for one in (EVOLINK, OPENAI)}
