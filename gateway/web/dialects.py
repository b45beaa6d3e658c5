"""How errors are told: as upstream's own API does, its file API, or OpenAI's; the path decides.

So does it for paths that lead nowhere, and therefore no endpoint has a say in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from gateway.errors import GatewayError
from gateway.web.evolink import files, wire
from gateway.web.openai import endpoints as openai
from gateway.web.schema import INTEGER, STRING, Component, null_or, open_object, text

_WHAT: Final = text("What happened and what to do.")
_DOC_URL: Final = text("Where this gateway explains the code: what it means and what to do.")


@dataclass(frozen=True, slots=True)
class Dialect:
    """`answer` tells an error, in JSON of this shape; it is given `server.public_url` besides."""

    shape: Component
    answer: Callable[[GatewayError, str], Response]


def _as_upstream(error: GatewayError, public_url: str) -> Response:
    return Response(
        wire.error_body(error, public_url),
        status_code=error.status,
        headers=wire.error_headers(error),
        media_type="application/json",
    )


_ERROR: Final = open_object(
    {
        "code": text("What happened, for programs."),
        "message": text("What happened and what to do, for people."),
        "type": text("The kind of fault."),
        "param": text("The field at fault."),
        "doc_url": _DOC_URL,
        "limit_scope": text("The limit that decided, such as `usd_per_day`."),
        "resets_at": {**null_or(STRING), "description": "When it renews."},
    },
    ["code", "message", "type"],
)
_FILES_ERROR: Final = {"code": INTEGER, "msg": _WHAT, "success": {"const": False}}
_OPENAI_ERROR: Final = {
    "message": _WHAT,
    **dict.fromkeys(("type", "code", "param"), null_or(STRING)),
    "doc_url": _DOC_URL,
}

OURS: Final = Dialect(
    Component(
        "Error",
        open_object(
            {"error": _ERROR},
            ["error"],
            text="Every error. Upstream's own refusals of a request come as they are.",
        ),
    ),
    _as_upstream,
)
FILES: Final = Dialect(
    Component("FilesError", open_object(_FILES_ERROR, list(_FILES_ERROR))), files.error_answer
)
OPENAI: Final = Dialect(
    Component(
        "OpenAIError",
        open_object({"error": open_object(_OPENAI_ERROR, ["message"])}, ["error"]),
    ),
    openai.error_answer,
)


def dialect_of(path: str) -> Dialect:
    if files.is_files(path):
        return FILES
    return OPENAI if openai.is_openai(path) else OURS
