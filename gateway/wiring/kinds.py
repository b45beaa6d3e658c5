"""The kinds of upstream there are: the one table, by the name that the settings have for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.adapters.evolink.kind import KIND as EVOLINK
from gateway.adapters.openai_images.kind import KIND as OPENAI
from gateway.config.upstream_entry import UpstreamEntry
from gateway.core.kinds import Kind
from gateway.wiring.upstreams import Connected, Ways, evolink, openai

_ROWS: Final[tuple[tuple[Kind, Callable[[UpstreamEntry, Ways], Connected]], ...]] = (
    # What the core has to know of the kind, and how one of it is connected.
    (EVOLINK, evolink),
    (OPENAI, openai),
)

KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind, _ in _ROWS}
_CONNECT: Final = {kind.name: connect for kind, connect in _ROWS}


def connected(entry: UpstreamEntry, ways: Ways) -> Connected:
    return _CONNECT[entry.kind](entry, ways)
