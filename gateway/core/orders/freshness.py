"""What of a client's `Cache-Control` is honoured: whoever pays may say that no client may pass the
cache by."""

from __future__ import annotations

from gateway.core.catalog import ClientControl
from gateway.core.model import Freshness


def honoured(asked: Freshness, control: ClientControl) -> Freshness:
    """What counts of what was asked; `only-if-cached` always does, since it never costs."""
    if control is ClientControl.HONOUR:
        return asked
    return Freshness(only_if_cached=asked.only_if_cached)
