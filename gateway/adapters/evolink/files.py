"""The vendor's file API as a client, and the only place that knows its JSON.

Every file goes into a folder of the gateway's choosing: upstream overwrites a file of the same
path, so a caller's own wish never decides where the path begins, nor can it climb out of it.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

import httpx2 as httpx
import orjson

from gateway.adapters.outbound.masking import Mask, received
from gateway.adapters.outbound.said import VendorAnswer
from gateway.adapters.outbound.vendor import (
    MAX_ANSWER_BYTES,
    Transports,
    VendorAccount,
    straight,
    vendor_client,
)
from gateway.errors import UpstreamError, UpstreamRefusal
from gateway.ports.files import FormField, FormFile, FormPiece, StoredFile

BASE: Final = "/api/v1/files"
MAX_CONNECTIONS: Final = 64
"""Files on their way at once; each holds a client's connection as well."""

MAX_NAME: Final = 255
MAX_URL: Final = 2048
"""No order may name a longer one."""

WRITE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 60.0
"""From the last byte sent: upstream stores the file, or fetches it from elsewhere, in this time."""

POOL_SECONDS: Final = 10.0

USUAL_FOLDER: Final = "uploads"
"""What upstream says of a file that came without a folder."""

_FIELDS: Final = {FormField.FOLDER: "upload_path", FormField.NAME: "file_name"}
_KEY_REFUSED: Final = frozenset({401, 402, 403})
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_SEPARATORS: Final = re.compile(r"[/\\]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BASE64_BYTES: Final = 3  # so many bytes become four characters, without padding in between


class EvolinkFiles:
    """See gateway.ports.files.FileStore; `account` names the file host."""

    def __init__(
        self,
        account: VendorAccount,
        *,
        connect_seconds: float,
        transports: Transports = straight,
    ) -> None:
        self._base_url = account.base_url.rstrip("/")
        self._mask = Mask(account.api_key)
        # A kept connection may be closed just as a file begins, which cannot be sent twice.
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        timeout = httpx.Timeout(
            connect=connect_seconds, write=WRITE_SECONDS, read=ANSWER_SECONDS, pool=POOL_SECONDS
        )
        self._client = vendor_client(account, transports(limits), timeout)

    async def upload_form(self, form: AsyncIterator[FormPiece], *, folder: str) -> StoredFile:
        boundary = secrets.token_hex(16)
        answer = await self._ask(
            "POST",
            "/upload/stream",
            content=_multipart(form, boundary, folder),
            media_type=f"multipart/form-data; boundary={boundary}",
        )
        return _stored(answer, folder)

    async def upload_content(
        self,
        content: AsyncIterator[bytes],
        fields: Mapping[FormField, str],
        *,
        media_type: str,
        folder: str,
    ) -> StoredFile:
        told = f"data:{media_type};base64," if _MEDIA_TYPE.fullmatch(media_type) else ""
        body = _base64_json(content, _wished(fields, folder), told)
        answer = await self._ask("POST", "/upload/base64", content=body)
        return _stored(answer, folder)

    async def upload_link(
        self, url: str, fields: Mapping[FormField, str], *, folder: str
    ) -> StoredFile:
        body = orjson.dumps({"file_url": url, **_wished(fields, folder)})
        return _stored(await self._ask("POST", "/upload/url", content=body), folder)

    async def quota(self, *, folder: str) -> Mapping[str, object]:
        return await self._ask("GET", "/quota")

    async def delete(self, file_id: str) -> Mapping[str, object]:
        return await self._ask("DELETE", f"/{quote(file_id, safe='')}")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        media_type: str = "application/json",
    ) -> dict[str, Any]:
        """The answer to one call, if it says success. Raises as the port says."""
        headers = None if content is None else {"Content-Type": media_type}
        with _translated():
            request = self._client.build_request(
                method, f"{self._base_url}{BASE}{path}", content=content, headers=headers
            )
            response = await self._client.send(request, stream=True)
            answer = await received(response, self._mask, max_bytes=MAX_ANSWER_BYTES)
        return _understood(answer)


# --- what goes up ------------------------------------------------------------------------------


async def _multipart(
    form: AsyncIterator[FormPiece], boundary: str, folder: str
) -> AsyncIterator[bytes]:
    """The form as multipart: each field once, and its folder within ours, also when none came."""
    told: set[FormField] = set()
    opening, ending = f"--{boundary}\r\n", b""
    async for piece in form:
        if isinstance(piece, bytes):
            yield piece
            continue
        if ending:
            yield ending
            ending = b""
        if isinstance(piece, FormFile):
            yield (opening + _file_head(piece)).encode()
            ending = b"\r\n"
        elif piece[0] not in told:
            told.add(piece[0])
            yield (opening + _field(*piece, folder)).encode()
    missing = "" if FormField.FOLDER in told else opening + _field(FormField.FOLDER, "", folder)
    yield ending + f"{missing}--{boundary}--\r\n".encode()


def _file_head(file: FormFile) -> str:
    kind = file.media_type if _MEDIA_TYPE.fullmatch(file.media_type) else "application/octet-stream"
    name = _one_wished(FormField.NAME, file.name, "")[1].replace('"', "%22")
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    return f"{disposition}\r\nContent-Type: {kind}\r\n\r\n"


def _field(field: FormField, value: str, folder: str) -> str:
    name, text = _one_wished(field, value, folder)
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'


async def _base64_json(
    content: AsyncIterator[bytes], fields: Mapping[str, str], told: str
) -> AsyncIterator[bytes]:
    """`{..., "base64_data": "..."}`, encoded while it is read."""
    yield orjson.dumps(dict(fields))[:-1] + b',"base64_data":"' + told.encode()
    rest = b""
    async for chunk in content:
        ready = rest + chunk
        whole = len(ready) - len(ready) % _BASE64_BYTES
        rest = ready[whole:]
        yield binascii.b2a_base64(ready[:whole], newline=False)
    yield base64.b64encode(rest) + b'"}'


def _wished(fields: Mapping[FormField, str], folder: str) -> dict[str, str]:
    """The caller's wishes in the vendor's words; a folder is always among them."""
    every = {FormField.FOLDER: "", **fields}
    return dict(_one_wished(field, value, folder) for field, value in every.items())


def _one_wished(field: FormField, value: str, folder: str) -> tuple[str, str]:
    """A field's name and value as they go up."""
    inside = _parts(value)
    if field is FormField.NAME:
        return _FIELDS[field], "".join(inside[-1:])
    return _FIELDS[field], "/".join([folder, *inside])


def _parts(value: str) -> list[str]:
    """The parts of a path, however its separators are spelt, without those that are but dots.

    A part is judged as it reads once its control characters are gone: they could else keep an
    encoded `..` from being seen here, and are not sent.
    """
    found: list[str] = []
    for raw in _SEPARATORS.split(value):
        part = plain = _without_controls(raw)
        while "%" in plain and (decoded := _without_controls(unquote(plain))) != plain:
            plain = decoded
        hides = _SEPARATORS.search(plain) or not plain.strip(". ")
        found += [one.strip() for one in _SEPARATORS.split(plain)] if hides else [part]
    return [part for part in found if part.strip(". ")]


def _without_controls(text: str) -> str:
    return _CONTROL.sub("", text).strip()


# --- what comes back ---------------------------------------------------------------------------


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise UpstreamError(
            f"The file store upstream did not answer in time ({type(error).__name__}); try again."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UpstreamError(
            f"The file store upstream could not be reached ({type(error).__name__}); try again."
        ) from error


def _understood(told: VendorAnswer) -> dict[str, Any]:
    """The answer when it says success; errors may come with HTTP 200, so `success` decides."""
    answer, status = told.json_object(), told.status
    if answer is None or 300 <= status < 400:
        raise UpstreamError(f"The file store upstream gave no readable answer (HTTP {status}).")
    code = answer.get("code")
    code = code if type(code) is int else status
    if answer.get("success") is True and status < 300:
        return answer
    if code in _KEY_REFUSED or (status in _KEY_REFUSED and code < 40000):
        raise UpstreamError(
            "The file store upstream refuses the organisation's key: tell the platform team."
        )
    if status >= 500 or 500 <= code < 600 or code >= 50000:
        raise UpstreamError(f"The file store upstream failed ({code}); try again.")
    refusal = UpstreamRefusal(status, told.text())
    refusal.retry_after_seconds = told.retry_after_seconds()
    raise refusal


def _stored(answer: dict[str, Any], folder: str) -> StoredFile:
    data = answer.get("data")
    file_id = data.get("file_id") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(file_id, str) or not file_id:
        raise UpstreamError("The file store upstream took the file and named no id for it.")
    links = (data.get("file_url"), data.get("download_url"))
    size = data.get("file_size")
    return StoredFile(
        id=file_id,
        name=str(data.get("file_name") or "")[:MAX_NAME],
        size_bytes=size if type(size) is int and size > 0 else 0,
        urls=tuple(dict.fromkeys(u for u in links if isinstance(u, str) and 0 < len(u) <= MAX_URL)),
        expires_at=_time(data.get("expires_at")),
        answer={**answer, "data": _without_folder(data, folder)},
    )


def _without_folder(data: dict[str, Any], folder: str) -> dict[str, Any]:
    """The data with the caller's own path; by the parts, since upstream may respell them."""
    shown = data.get("upload_path")
    if not isinstance(shown, str):
        return data
    parts = shown.strip("/").split("/")
    return {**data, "upload_path": "/".join(parts[len(folder.split("/")) :]) or USUAL_FOLDER}


def _time(value: object) -> float | None:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
