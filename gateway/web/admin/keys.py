"""`/admin/v1/teams/{team}/keys`: the keys of teams made at run time, and what became of them.

The whole of a key is in the answer that makes it and nowhere else; the edge keeps such answers
out of every cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.config import Settings, units
from gateway.core.catalog import DIGEST_DIGITS
from gateway.core.policy import Current
from gateway.core.teams.changes import no_team
from gateway.core.teams.records import KeyState, TeamKey
from gateway.errors import KeyNotActive, KeyNotFound, Provisioned, RotationUnderWay, TeamNotFound
from gateway.services.policy import PolicyInForce
from gateway.services.teams import Issued, Teams
from gateway.web.admin import BODY_BYTES
from gateway.web.calls import OperatorCall
from gateway.web.chapters import TEAMS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Query, read_json
from gateway.web.responses import json_response
from gateway.web.shown import moment

LABEL_CHARACTERS: Final = 100
PROVISIONED_ID_DIGITS: Final = DIGEST_DIGITS
"""A key of the settings has no id of its own: it is told by the start of its digest."""

TEAM: Final = {"team": "The team's name."}
KEY: Final = {**TEAM, "id": "The key's public id."}

Grace = Annotated[
    float, BeforeValidator(units.bounded(units.seconds, "0s", "90d"), json_schema_input_type=str)
]


class KeyShape(TypedDict):
    """A team's key, without its secret. `state`: active, expiring, expired or revoked."""

    id: str
    team: str
    label: str
    provisioned: bool
    state: str
    created_at: str | None
    expires_at: str | None
    revoked_at: str | None
    replaces: str | None


class KeysShape(TypedDict):
    data: list[KeyShape]
    next: str | None


class IssuedShape(KeyShape):
    """A new key. `key` is the whole of it, shown this once."""

    key: str


class RotatedShape(IssuedShape):
    replaced: KeyShape


class IssueKey(Query):
    """A new key."""

    label: str = Field(
        "", max_length=LABEL_CHARACTERS, description="What it is for, to tell it from others."
    )


class RotateKey(Query):
    """A new key for an old one."""

    grace_seconds: Grace = Field(
        "24h",
        validate_default=True,
        alias="grace",
        description="How long the old key still works: `24h`, `30m`, `0s` for not at all; at most "
        "90 days.",
    )
    label: str | None = Field(
        None, max_length=LABEL_CHARACTERS, description="Left out: the old key's."
    )


class TeamKeys:
    """`settings` gives those in force."""

    def __init__(
        self,
        teams: Teams,
        in_force: PolicyInForce,
        current: Current,
        settings: Callable[[], Settings],
    ) -> None:
        self._teams = teams
        self._in_force = in_force
        self._current = current
        self._settings = settings

    @Operation(
        "GET /admin/v1/teams/{team}/keys",
        TEAMS,
        "A team's keys",
        path_words=TEAM,
        answer=KeysShape,
        errors=(TeamNotFound,),
    )
    async def listed(self, call: OperatorCall[NoParameters]) -> Response:
        """Of a team of the settings those of the file, else every key it ever had, newest first."""
        policy, team = call.policy, call.word("team")
        if team not in policy.teams:
            raise no_team(team)
        if team in policy.provisioned:
            data = [_provisioned(team, digest) for digest in self._settings().teams[team].keys]
        else:
            data = [self._shape(key) for key in reversed(self._in_force.keys(team))]
        answer: KeysShape = {"data": data, "next": None}
        return json_response(answer)

    @Operation(
        "POST /admin/v1/teams/{team}/keys",
        TEAMS,
        "Issue a key",
        "The answer shows the whole key, this once; only its SHA-256 is kept.",
        path_words=TEAM,
        body=IssueKey,
        answer=IssuedShape,
        errors=(TeamNotFound, Provisioned),
    )
    async def issue(self, call: OperatorCall[NoParameters]) -> Response:
        asked = await read_json(call.request, IssueKey, BODY_BYTES)
        issued = await self._teams.issue(call.word("team"), label=asked.label, act=call.act())
        return json_response(self._whole(issued))

    @Operation(
        "POST /admin/v1/teams/{team}/keys/{id}/rotate",
        TEAMS,
        "Rotate a key",
        "Issues a new key; the old one works until its grace period is over.",
        path_words=KEY,
        body=RotateKey,
        answer=RotatedShape,
        errors=(TeamNotFound, KeyNotFound, Provisioned, KeyNotActive, RotationUnderWay),
    )
    async def rotate(self, call: OperatorCall[NoParameters]) -> Response:
        asked = await read_json(call.request, RotateKey, BODY_BYTES)
        rotated = await self._teams.rotate(
            call.word("team"),
            call.word("id"),
            grace_seconds=asked.grace_seconds,
            label=asked.label,
            act=call.act(),
        )
        replaced = self._shape(rotated.replaced)
        answer: RotatedShape = {**self._whole(rotated.issued), "replaced": replaced}
        return json_response(answer)

    @Operation(
        "DELETE /admin/v1/teams/{team}/keys/{id}",
        TEAMS,
        "Revoke a key",
        "The next request with it is answered 401.",
        path_words=KEY,
        answer=KeyShape,
        errors=(TeamNotFound, KeyNotFound, Provisioned),
    )
    async def revoke(self, call: OperatorCall[NoParameters]) -> Response:
        team, key_id = call.word("team"), call.word("id")
        return json_response(self._shape(await self._teams.revoke(team, key_id, call.act())))

    # --- inside --------------------------------------------------------------------------------

    def _whole(self, issued: Issued) -> IssuedShape:
        return {**self._shape(issued.record), "key": issued.key}

    def _shape(self, key: TeamKey) -> KeyShape:
        return {
            "id": key.id,
            "team": key.team,
            "label": key.label,
            "provisioned": False,
            "state": key.state(self._current.clock()).value,
            "created_at": moment(key.created_at),
            "expires_at": moment(key.expires_at),
            "revoked_at": moment(key.revoked_at),
            "replaces": key.replaces,
        }


def _provisioned(team: str, digest: str) -> KeyShape:
    return {
        "id": digest[:PROVISIONED_ID_DIGITS],
        "team": team,
        "label": "",
        "provisioned": True,
        "state": KeyState.ACTIVE.value,
        "created_at": None,
        "expires_at": None,
        "revoked_at": None,
        "replaces": None,
    }
