"""`/admin/v1/settings`: what is in force, and the file read again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.config import Settings, SettingsError, managed
from gateway.core.teams.changes import Act
from gateway.errors import CallerError, Conflict, RequestTooLarge
from gateway.web.admin import BODY_BYTES
from gateway.web.calls import OperatorCall
from gateway.web.chapters import SETTINGS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, read_json
from gateway.web.responses import json_response


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload took over, by dotted path, and all that only a restart brings."""

    over: Sequence[str]
    waiting: Sequence[str]


Reread = Callable[[Act], Awaitable[Reloaded | None]]
"""Reads the settings file again on behalf of an operator, and puts it in force.

None where there is no file. Raises `SettingsError`.
"""


class SettingsShape(TypedDict):
    """The effective settings, secrets masked."""

    settings: dict[str, Any]
    notices: list[str]


class ReloadedShape(TypedDict):
    """Dotted paths of what was taken over, and of what is in force only after a restart."""

    reloaded: bool
    taken_over: list[str]
    restart_needed: list[str]
    notices: list[str]


class InvalidSettings(CallerError):
    code = "invalid_settings"


class NoSettingsFile(Conflict):
    code = "no_settings_file"


class SettingsPage:
    """`settings` gives those that were read last, `waiting` the paths of those among them that are
    in force only after a restart, `notices` what is worth a sentence."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        waiting: Callable[[], Sequence[str]],
        notices: Callable[[], Sequence[str]],
        reread: Reread,
    ) -> None:
        self._settings = settings
        self._waiting = waiting
        self._notices = notices
        self._reread = reread

    @Operation(
        "GET /admin/v1/settings",
        SETTINGS,
        "The settings in force, secrets masked",
        answer=SettingsShape,
    )
    async def shown(self, _: OperatorCall[NoParameters]) -> Response:
        shown = managed.plain(self._settings().shown())
        waiting = (
            f"{path}: as the file has it, in force only after a restart" for path in self._waiting()
        )
        answer: SettingsShape = {"settings": shown, "notices": [*waiting, *self._notices()]}
        return json_response(answer)

    @Operation(
        "POST /admin/v1/settings/reload",
        SETTINGS,
        "Read the settings file again",
        "All or nothing: a file with a problem changes nothing, and each is told.",
        answer=ReloadedShape,
        errors=(RequestTooLarge, InvalidSettings, NoSettingsFile),
    )
    async def reload(self, call: OperatorCall[NoParameters]) -> Response:
        await read_json(call.request, NoParameters, BODY_BYTES)
        try:
            taken = await self._reread(call.act())
        except SettingsError as error:
            raise InvalidSettings(str(error)) from None
        if taken is None:
            raise NoSettingsFile(
                "This gateway was started without a settings file, so there is none to read again."
            )
        answer: ReloadedShape = {
            "reloaded": True,
            "taken_over": list(taken.over),
            "restart_needed": list(taken.waiting),
            "notices": list(self._notices()),
        }
        return json_response(answer)
