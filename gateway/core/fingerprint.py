"""An order's cache name: a digest of everything that can change the picture, and of the scope.

Two orders with one fingerprint may share one paid run; so whatever is not known to be without
effect on the picture is in it, fields we do not know included.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from gateway.core.model import CacheScope, Order, Team

VERSION: Final = 1
"""Part of the digest: raise it when the meaning of an order changes."""


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(order: Order, team: Team) -> str:
    """64 hex digits. An absent `n` means 1 everywhere, so the two are one order."""
    scope = "*" if team.cache_scope is CacheScope.ORGANIZATION else team.name
    body = {**order.body, "n": order.n}
    named = canonical_json([VERSION, team.cache_scope, scope, order.model, body])
    return hashlib.sha256(named.encode()).hexdigest()
