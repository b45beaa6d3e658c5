"""`GET /admin/v1/usage`: where the money goes, by day, team and model."""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import Field
from starlette.responses import Response

from gateway.ports.ledger import Reports, UsagePart
from gateway.services.usage import report
from gateway.web import usage_reports
from gateway.web.calls import OperatorCall
from gateway.web.chapters import USAGE
from gateway.web.operation import Operation
from gateway.web.usage_reports import AS_CSV, UsageAsked, UsageShape, read_by


class AllUsageAsked(UsageAsked):
    team: str | None = Field(None, description="Only this team.")
    by: str = Field(
        ",".join(UsagePart),
        description="What the rows are told apart by: some of day, team, model.",
    )


REPORTS_AT_ONCE: Final = 2
"""A year of hundreds of teams by day takes 100 MB while it is put together."""


class UsageReports:
    def __init__(self, ledger: Reports) -> None:
        self._ledger = ledger
        self._turns = asyncio.Semaphore(REPORTS_AT_ONCE)

    @Operation(
        "GET /admin/v1/usage",
        USAGE,
        "Usage for chargeback",
        "By team, model and day, or fewer of these; the totals equal the ledger.",
        query=AllUsageAsked,
        answer=UsageShape,
        media=AS_CSV,
    )
    async def usage(self, call: OperatorCall[AllUsageAsked]) -> Response:
        asked = call.query
        by = read_by(asked.by, tuple(UsagePart))
        days = asked.period(call.clock(), call.policy.zone)
        async with self._turns:
            found = await report(self._ledger, days, by, team=asked.team, model=asked.model)
            return await usage_reports.answer(call.request, asked, found)
