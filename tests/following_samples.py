"""What follows whom, for tests of one gateway that has its ledger for itself."""

from __future__ import annotations

from typing import Any, cast

from gateway.process.following import Following, FollowingDeps, Own


def alone(ledger: Any = None, cache: Any = None) -> Following:
    """Nobody else writes."""
    own = Own("replica-test", "test", lambda: "")
    deps = FollowingDeps(ledger, cast(Any, None), cache, own, lambda: 0.0, is_shared=False)
    return Following(deps)
