"""`/admin/v1/replicas`: the gateways that share the ledger, and how far each is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.replicas import Replica
from gateway.web.calls import OperatorCall
from gateway.web.chapters import SETTINGS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters
from gateway.web.responses import json_response
from gateway.web.shown import instant


class ReplicaShape(TypedDict):
    """A gateway as it last said of itself: `settings` is a digest of those that it runs by."""

    id: str
    name: str
    this: bool
    alive: bool
    started_at: str
    seen_at: str
    seen_seconds_ago: float
    policy_epoch: int
    cache_epoch: int
    settings: str


class ReplicasShape(TypedDict):
    """`chores_here`: what is done once is done by the gateway that answers."""

    data: list[ReplicaShape]
    chores_here: bool
    clock_offset_seconds: float
    now: str


@dataclass(frozen=True, slots=True)
class ReplicasDeps:
    """`known` are those of a day, `own_id` is the id of the one that answers.

    Who has not said for `dead_after_seconds` that it lives is taken for dead.
    """

    known: Callable[[], Awaitable[Sequence[Replica]]]
    own_id: str
    dead_after_seconds: float
    chores_here: Callable[[], bool]
    clock_offset: Callable[[], float]


class ReplicasPage:
    def __init__(self, deps: ReplicasDeps) -> None:
        self._deps = deps

    @Operation(
        "GET /admin/v1/replicas", SETTINGS, "Which gateways share the ledger", answer=ReplicasShape
    )
    async def replicas(self, call: OperatorCall[NoParameters]) -> Response:
        known, now = await self._deps.known(), call.clock()
        answer: ReplicasShape = {
            "data": [self._shape(one, now) for one in sorted(known, key=_by_name)],
            "chores_here": self._deps.chores_here(),
            "clock_offset_seconds": round(self._deps.clock_offset(), 3),
            "now": instant(now),
        }
        return json_response(answer)

    def _shape(self, one: Replica, now: float) -> ReplicaShape:
        ago = max(0.0, now - one.seen_at)
        return {
            "id": one.id,
            "name": one.name,
            "this": one.id == self._deps.own_id,
            "alive": ago <= self._deps.dead_after_seconds,
            "started_at": instant(one.started_at),
            "seen_at": instant(one.seen_at),
            "seen_seconds_ago": round(ago, 3),
            "policy_epoch": one.epochs.policy,
            "cache_epoch": one.epochs.cache,
            "settings": one.settings,
        }


def _by_name(one: Replica) -> tuple[str, float]:
    return one.name, one.started_at
