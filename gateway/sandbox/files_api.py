"""The file API: uploads in three ways, list, quota and delete, with its own error shape."""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2 as httpx
import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox.addresses import AddressError, outbound_request
from gateway.sandbox.answers import json_answer
from gateway.sandbox.files import FileError, file_json, listed_file_json
from gateway.sandbox.gate import has_key
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.state import SandboxState

_DATA_URL = re.compile(r"data:[^;,]*(?:;[^;,]*)*;base64,")
_FETCH_SECONDS = 30.0
_FORM_OVERHEAD_BYTES = 1024 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class FilesApi:
    """Routes under /api/v1/files."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        base = "/api/v1/files"
        return [
            Route(f"{base}/upload/base64", self._guarded(self.base64), methods=["POST"]),
            Route(f"{base}/upload/stream", self._guarded(self.stream), methods=["POST"]),
            Route(f"{base}/upload/url", self._guarded(self.url), methods=["POST"]),
            Route(f"{base}/list", self._guarded(self.list_files), methods=["GET"]),
            Route(f"{base}/quota", self._guarded(self.quota), methods=["GET"]),
            Route(f"{base}/{{file_id}}", self._guarded(self.delete), methods=["DELETE"]),
        ]

    async def base64(self, request: Request) -> Response:
        """JSON `base64_data`: a Data URL or bare base64."""
        body = await self._json(request)
        text = body.get("base64_data")
        if not isinstance(text, str) or not text:
            raise FileError(400, 400, "base64_data is required")
        try:
            content = base64.b64decode(_DATA_URL.sub("", text, count=1), validate=True)
        except (binascii.Error, ValueError) as error:
            raise FileError(400, 400, "base64_data is not valid base64") from error
        return self._keep(request, content, body, original_name="")

    async def stream(self, request: Request) -> Response:
        """Multipart with one part named `file`."""
        limit = self._state.options.max_file_bytes + _FORM_OVERHEAD_BYTES
        if int(request.headers.get("content-length") or 0) > limit:
            raise FileError(413, 40001, "file too large")
        try:
            async with request.form(max_files=1, max_fields=10) as form:
                part = form.get("file")
                if not isinstance(part, UploadFile):
                    raise FileError(400, 400, "file is required")
                content = await part.read(self._state.options.max_file_bytes + 1)
                return self._keep(request, content, form, original_name=part.filename or "")
        except MultiPartException as error:
            raise FileError(400, 400, error.message) from error

    async def url(self, request: Request) -> Response:
        """JSON `file_url`: the sandbox fetches it."""
        body = await self._json(request)
        url = body.get("file_url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise FileError(400, 400, "file_url must be an http or https URL")
        content = self._own(request, url)
        if content is None:
            content = await _fetch(url, self._state.options)
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
        return self._keep(request, content, body, original_name=name)

    async def list_files(self, request: Request) -> Response:
        """Newest first, in pages."""
        page = _whole(request.query_params.get("page"), 1, 1_000_000)
        size = _whole(request.query_params.get("pageSize"), 20, 100)
        files = self._state.files.newest_first()
        shown = files[(page - 1) * size : page * size]
        return _success({"files": [listed_file_json(one) for one in shown], "total": len(files)})

    async def quota(self, request: Request) -> Response:
        """How many files there are and may be."""
        used, most = len(self._state.files), self._state.options.max_files
        data = {
            "is_custom": False,
            "max_files": most,
            "quota_reason": "",
            "remain_files": most - used,
            "used_files": used,
            "user_group": "default",
        }
        return json_answer({"code": 200, "data": data, "success": True})

    async def delete(self, request: Request) -> Response:
        """Forgets one file."""
        if not self._state.files.delete(request.path_params["file_id"]):
            raise FileError(404, 404, "file not found")
        return json_answer({"code": 200, "msg": "File deleted successfully", "success": True})

    def _guarded(self, handler: Handler) -> Handler:
        """Checks the key and gives refusals this API's shape."""

        async def guarded(request: Request) -> Response:
            try:
                if not has_key(request, self._state):
                    raise FileError(401, 401, "Invalid or expired token")
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it
            except FileError as refused:
                body = {"code": refused.code, "msg": refused.message, "success": False}
                return json_answer(body, refused.status)

        return guarded

    async def _json(self, request: Request) -> dict[str, Any]:
        # base64 is a third longer than what it carries.
        limit = self._state.options.max_file_bytes * 4 // 3 + _FORM_OVERHEAD_BYTES
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise FileError(413, 40001, "file too large")
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise FileError(400, 400, "request body is not valid JSON") from error
        if not isinstance(content, dict):
            raise FileError(400, 400, "request body must be a JSON object")
        return content

    def _keep(
        self,
        request: Request,
        content: bytes,
        fields: dict[str, Any] | FormData,
        *,
        original_name: str,
    ) -> Response:
        name = _field(fields, "file_name", "fileName")
        stored = self._state.files.put(
            content,
            name=name or original_name,
            original_name=original_name,
            folder=_field(fields, "upload_path", "uploadPath"),
        )
        return _success(file_json(stored, self._base_url(request)), "File uploaded successfully")

    def _own(self, request: Request, url: str) -> bytes | None:
        """The content when `url` names a file of this sandbox, which then need not be fetched."""
        base = self._base_url(request) + "/"
        if not url.startswith(base):
            return None
        stored = self._state.files.by_path(url.removeprefix(base))
        return stored.content if stored else None

    def _base_url(self, request: Request) -> str:
        return (self._state.public_url or str(request.base_url)).rstrip("/")


async def _fetch(url: str, options: SandboxOptions) -> bytes:
    """Downloads a file. Raises FileError 40004 when it cannot, 40001 when it is too large."""
    try:
        async with asyncio.timeout(_FETCH_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            request = await outbound_request(
                client, "GET", url, allow_private=options.allow_private_addresses
            )
            answer = await client.send(request, stream=True)
            return await _read(answer, options.max_file_bytes)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, AddressError) as error:
        raise FileError(400, 40004, "URL download failed") from error


async def _read(answer: httpx.Response, limit: int) -> bytes:
    if answer.status_code != 200:
        raise FileError(400, 40004, f"URL download failed: HTTP {answer.status_code}")
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > limit:
            raise FileError(413, 40001, "file too large")
    return bytes(content)


def _success(data: dict[str, Any], message: str = "success") -> Response:
    return json_answer({"code": 200, "data": data, "msg": message, "success": True})


def _field(fields: dict[str, Any] | FormData, *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str):
            return value
    return ""


def _whole(text: str | None, usual: int, most: int) -> int:
    return min(max(int(text), 1), most) if text is not None and text.isdecimal() else usual
