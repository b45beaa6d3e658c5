"""`/admin/v1/audit`: who changed what, and how it was before and after."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.teams.changes import Action
from gateway.core.teams.records import Change
from gateway.ports.ledger import ChangeFilter, Lists
from gateway.services.runs import light_page
from gateway.web.calls import OperatorCall
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.query import Page
from gateway.web.responses import page_response
from gateway.web.shown import instant


class ChangeShape(TypedDict):
    """One act of an operator; `actor` is the name of the admin key, or the start of its digest."""

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
        None,
        description="By whom: the name of the admin key, or without one the first 12 hex digits of "
        "its SHA-256.",
    )


class Changes:
    def __init__(self, ledger: Lists) -> None:
        self._ledger = ledger

    @Operation(
        "GET /admin/v1/audit", USAGE, "Who changed what", query=FindChanges, answer=ChangesShape
    )
    async def listed(self, call: OperatorCall[FindChanges]) -> Response:
        asked = call.query
        action = asked.action.value if asked.action else None
        wanted = ChangeFilter(asked.subject, action, asked.actor)
        found, last = await light_page(
            lambda mark, count: self._ledger.changes(wanted, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda change: (change.at, change.id),
            weigh=lambda change: len(change.before or "") + len(change.after or ""),
        )
        return page_response([_shape(change) for change in found], last)


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
