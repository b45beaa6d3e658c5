"""`/admin/v1/audit`: who changed what, and how it was before and after."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.policy import Current
from gateway.core.teams.changes import Action
from gateway.core.teams.records import Change
from gateway.ports.ledger import ChangeFilter, Lists
from gateway.services.runs import light_page
from gateway.web.auth import operator_of
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.query import Page, next_cursor, read_query
from gateway.web.responses import json_response
from gateway.web.shown import instant


class ChangeShape(TypedDict):
    """One act of an operator; `actor` is the start of the digest of the admin key."""

    id: str
    at: str
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ChangesShape(TypedDict):
    data: list[ChangeShape]
    next: str | None


class FindChanges(Page):
    """Which changes."""

    subject: str | None = Field(
        None, description="On what: a team with its keys, a key as `team/id`, a digest, `settings`."
    )
    action: Action | None = Field(None, description="What was done.")
    actor: str | None = Field(
        None, description="By whom: the first 12 hex digits of the admin key's SHA-256."
    )


class Changes:
    def __init__(self, ledger: Lists, current: Current) -> None:
        self._ledger = ledger
        self._current = current

    @Operation(
        "GET /admin/v1/audit", USAGE, "Who changed what", query=FindChanges, answer=ChangesShape
    )
    async def listed(self, request: Request) -> Response:
        operator_of(request, self._current.policy)
        asked = read_query(request, FindChanges)
        action = asked.action.value if asked.action else None
        wanted = ChangeFilter(asked.subject, action, asked.actor)
        found, last = await light_page(
            lambda mark, count: self._ledger.changes(wanted, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda change: (change.at, change.id),
            weigh=lambda change: len(change.before or "") + len(change.after or ""),
        )
        answer: ChangesShape = {
            "data": [_shape(change) for change in found],
            "next": next_cursor(last),
        }
        return json_response(answer)


def _shape(change: Change) -> ChangeShape:
    return {
        "id": change.id,
        "at": instant(change.at),
        "actor": change.actor,
        "action": change.action,
        "subject": change.subject,
        "before": None if change.before is None else json.loads(change.before),
        "after": None if change.after is None else json.loads(change.after),
    }
