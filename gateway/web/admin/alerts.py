"""`POST /admin/v1/alerts/test`: whether an alert would arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core import delivery
from gateway.core.model import Delivery, DeliveryState
from gateway.core.teams.changes import Act
from gateway.errors import Conflict, RequestTooLarge
from gateway.web.admin import BODY_BYTES
from gateway.web.calls import OperatorCall
from gateway.web.chapters import SETTINGS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, read_json
from gateway.web.responses import json_response

TryAlert = Callable[[Act], Awaitable[Delivery | None]]
"""Sends a test alert and says what came of it; None where nobody is to be told."""


class AlertTestShape(TypedDict):
    """`status` is what the receiver answered, null where it did not; `error` why that is no good.
    Of its address only the host is told."""

    delivered: bool
    id: str
    host: str
    status: int | None
    error: str | None


class NoAlertWebhook(Conflict):
    code = "no_alert_webhook"


class AlertTests:
    def __init__(self, try_alert: TryAlert) -> None:
        self._try_alert = try_alert

    @Operation(
        "POST /admin/v1/alerts/test",
        SETTINGS,
        "Send a test alert",
        "Once and at once, to `alerts.webhook`, signed and on the way of every alert.",
        answer=AlertTestShape,
        errors=(RequestTooLarge, NoAlertWebhook),
    )
    async def test(self, call: OperatorCall[NoParameters]) -> Response:
        await read_json(call.request, NoParameters, BODY_BYTES)
        tried = await self._try_alert(call.act())
        if tried is None:
            raise NoAlertWebhook(
                "Alerts have no receiver. Put the address that is to be told into alerts.webhook "
                "of the settings file, then reload it with POST /admin/v1/settings/reload or "
                "SIGHUP."
            )
        answer: AlertTestShape = {
            "delivered": tried.state is DeliveryState.DELIVERED,
            "id": tried.id,
            "host": delivery.receiver(tried.url),
            "status": tried.status,
            "error": tried.error,
        }
        return json_response(answer)
