"""The operator's API: `/admin/v1/...`, for admin keys only. One module for each noun."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from gateway import ids
from gateway.core.policy import Current
from gateway.core.teams.changes import Act
from gateway.web.auth import operator_of

BODY_BYTES: Final = 64 * 1024
"""Nothing that an operator sends comes near it."""


def act_of(request: Request, current: Current) -> Act:
    """What the operator does now, by whose record it is known. Raises `Unauthorized`."""
    actor = operator_of(request, current.policy)
    return Act(ids.new_change_id(), current.clock(), actor)
