"""`/admin/v1/settings`: what is in force, and the file read again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Settings, SettingsError, managed
from gateway.core.policy import Current
from gateway.errors import CallerError, Conflict
from gateway.web.admin import BODY_BYTES
from gateway.web.auth import operator_of
from gateway.web.query import NoParameters, read_json, read_query
from gateway.web.responses import json_response
from gateway.web.shapes import ReloadedShape, SettingsShape

Reread = Callable[[str], Awaitable[Sequence[str] | None]]
"""Reads the settings file again on behalf of an operator, and puts it in force.

The paths that need a restart; None where there is no file. Raises `SettingsError`.
"""


class InvalidSettings(CallerError):
    code = "invalid_settings"


class NoSettingsFile(Conflict):
    code = "no_settings_file"


class SettingsPage:
    """`settings` gives those in force, `notices` what is worth a sentence."""

    def __init__(
        self,
        current: Current,
        *,
        settings: Callable[[], Settings],
        notices: Callable[[], Sequence[str]],
        reread: Reread,
    ) -> None:
        self._current = current
        self._settings = settings
        self._notices = notices
        self._reread = reread

    def routes(self) -> list[Route]:
        return [
            Route("/admin/v1/settings", self.shown, methods=["GET"]),
            Route("/admin/v1/settings/reload", self.reload, methods=["POST"]),
        ]

    async def shown(self, request: Request) -> Response:
        operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        shown = managed.plain(self._settings().shown())
        answer: SettingsShape = {"settings": shown, "notices": list(self._notices())}
        return json_response(answer)

    async def reload(self, request: Request) -> Response:
        actor = operator_of(request, self._current.policy)
        read_query(request, NoParameters)
        await read_json(request, NoParameters, BODY_BYTES)
        try:
            waiting = await self._reread(actor)
        except SettingsError as error:
            raise InvalidSettings(str(error)) from None
        if waiting is None:
            raise NoSettingsFile(
                "This gateway was started without a settings file, so there is none to read again."
            )
        answer: ReloadedShape = {
            "reloaded": True,
            "restart_needed": list(waiting),
            "notices": list(self._notices()),
        }
        return json_response(answer)
