"""The file API, mirrored: what goes up, what a team has there, and its errors in their own shape.

The shape differs from the rest of the surface: `{"success": ..., "code": N, "msg": ...}`. The
team sees its own files only; upstream's answers are passed on as they came otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.core.catalog import Team
from gateway.core.model import Upload
from gateway.core.policy import Current
from gateway.errors import GatewayError, InvalidRequest, NotFound, UpstreamError, UpstreamRefusal
from gateway.ports.files import file_time
from gateway.services.uploads import Answered, Uploads
from gateway.web import chapters
from gateway.web.body import read_object
from gateway.web.edge import add_upstream_seconds
from gateway.web.evolink import wire
from gateway.web.evolink.base64_file import Base64Files, said_of_file
from gateway.web.evolink.upload_form import read_upload
from gateway.web.operation import Operation
from gateway.web.responses import json_response
from gateway.web.schema import FILE, INTEGER, OBJECT, STRING, Component, Schema, open_object, text

BASE: Final = "/api/v1/files"
LINK_BODY_BYTES: Final = 64 * 1024
"""Of a request that names a file by its link."""

TOO_LARGE: Final = 40001
"""The file API's own code; its other errors of ours have the HTTP status as their code."""

PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100
_MAX_PAGE: Final = 1_000_000

FILE_ANSWER: Final = Component(
    "File",
    open_object(
        {
            "success": {"type": "boolean"},
            "code": INTEGER,
            "msg": STRING,
            "data": {**OBJECT, "description": "Upstream's: the file's id and links."},
        },
        ["success"],
    ),
)
_LIST_ASKED: Final = {
    "page": {**INTEGER, "default": 1},
    "pageSize": {**INTEGER, "default": PAGE_SIZE, "maximum": MAX_PAGE_SIZE},
}


def _upload(**file: Schema) -> Schema:
    """What an upload says: the file, and where it goes."""
    where = {
        "upload_path": text("A folder of your own."),
        "file_name": text("A name; without one it gets one."),
    }
    return open_object({**file, **where}, list(file))


class FilesApi:
    """The endpoints under `/api/v1/files`."""

    def __init__(self, files: Uploads, base64_files: Base64Files, current: Current) -> None:
        self._files = files
        self._base64_files = base64_files
        self._current = current

    @Operation(
        f"POST {BASE}/upload/base64",
        chapters.FILES,
        "Upload a file as base64",
        body=_upload(base64_data=text("The file, with or without `data:`; 20 MB at most.")),
        answer=FILE_ANSWER,
        errors=(InvalidRequest, UpstreamError),
    )
    async def upload_base64(self, request: Request, team: Team) -> Response:
        limit = self._current.policy.upload_limit_bytes
        async with self._base64_files.file(request, limit, team=team.name) as file:
            return _told(request, await self._files.upload_ready(team, file))

    @Operation(
        f"POST {BASE}/upload/stream",
        chapters.FILES,
        "Upload a file as a form",
        form=_upload(file=FILE),
        answer=FILE_ANSWER,
        errors=(InvalidRequest, UpstreamError),
    )
    async def upload_stream(self, request: Request, team: Team) -> Response:
        limit = self._current.policy.upload_limit_bytes
        async with aclosing(read_upload(request, limit_bytes=limit)) as form:
            return _told(request, await self._files.upload_form(team, form))

    @Operation(
        f"POST {BASE}/upload/url",
        chapters.FILES,
        "Have a file fetched",
        body=_upload(file_url=text("http or https.")),
        answer=FILE_ANSWER,
        errors=(InvalidRequest, UpstreamError),
    )
    async def upload_url(self, request: Request, team: Team) -> Response:
        values = await read_object(request, LINK_BODY_BYTES)
        url = values.get("file_url")
        if not isinstance(url, str):
            raise InvalidRequest("file_url is required: an http or https URL", param="file_url")
        return _told(request, await self._files.upload_link(team, url, said_of_file(values)))

    @Operation(
        f"GET {BASE}/list",
        chapters.FILES,
        "The team's files",
        query=_LIST_ASKED,
        answer=FILE_ANSWER,
    )
    async def list_files(self, request: Request, team: Team) -> Response:
        page = _whole(request.query_params.get("page"), 1, _MAX_PAGE)
        size = _whole(request.query_params.get("pageSize"), PAGE_SIZE, MAX_PAGE_SIZE)
        uploads, total = await self._files.page(team, page, size)
        data = {"files": _listed(uploads), "total": total}
        return json_response({"code": 200, "data": data, "msg": "success", "success": True})

    @Operation(
        f"GET {BASE}/quota",
        chapters.FILES,
        "The file store's numbers",
        answer=FILE_ANSWER,
        errors=(UpstreamError,),
    )
    async def quota(self, request: Request, team: Team) -> Response:
        return _told(request, await self._files.quota(team))

    @Operation(
        f"DELETE {BASE}/{{file_id}}",
        chapters.FILES,
        "Delete a file",
        path_words={"file_id": "The id that its upload was answered with."},
        answer=FILE_ANSWER,
        errors=(NotFound, UpstreamError),
    )
    async def delete(self, request: Request, team: Team) -> Response:
        return _told(request, await self._files.delete(team, request.path_params["file_id"]))


def is_files(path: str) -> bool:
    """Whether errors on this path have the file API's shape."""
    return path == BASE or path.startswith(f"{BASE}/")


def error_answer(error: GatewayError, _: str) -> Response:
    """In the file API's own shape, which has no place for a `doc_url`."""
    if isinstance(error, UpstreamRefusal):
        content = error.body.encode()
    else:
        code = TOO_LARGE if error.status == 413 else error.status
        content = wire.to_json({"code": code, "msg": error.message, "success": False})
    return Response(
        content,
        status_code=error.status,
        headers=wire.error_headers(error),
        media_type="application/json",
    )


def _told(request: Request, answered: Answered) -> Response:
    add_upstream_seconds(request, answered.upstream_seconds)
    return json_response(answered.answer)


def _listed(uploads: Sequence[Upload]) -> list[dict[str, object]]:
    return [
        {
            "file_id": upload.id,
            "file_name": upload.name,
            "file_size": upload.size_bytes,
            "upload_time": file_time(upload.created_at),
        }
        for upload in uploads
    ]


def _whole(text: str | None, usual: int, most: int) -> int:
    plain = text is not None and text.isascii() and text.isdecimal()
    return min(max(int(text[:10]), 1), most) if text and plain else usual
