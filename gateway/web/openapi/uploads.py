"""Reference files, as upstream's file API has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.errors import InvalidRequest, NotFound, RequestTooLarge, Unavailable, UpstreamError
from gateway.web.evolink import files
from gateway.web.openapi.operation import (
    Door,
    Operation,
    RequestBody,
    Schema,
    Tongue,
    answers_json,
    takes_json,
)
from gateway.web.openapi.schema import open_object, ref, text

SCHEMAS: Final[Mapping[str, Schema]] = {
    "FilesError": open_object(
        {
            "code": {"type": "integer"},
            "msg": text("What happened and what to do."),
            "success": {"const": False},
        },
        "code",
        "msg",
        "success",
    ),
    "File": open_object(
        {
            "success": {"type": "boolean"},
            "code": {"type": "integer"},
            "msg": {"type": "string"},
            "data": {"type": "object", "description": "Upstream's: the file's id and links."},
        },
        "success",
    ),
}

QUERY_SCHEMAS: Final[Mapping[str, Schema]] = {
    f"{files.BASE}/list": {
        "page": {"type": "integer", "default": 1},
        "pageSize": {
            "type": "integer",
            "default": files.PAGE_SIZE,
            "maximum": files.MAX_PAGE_SIZE,
        },
    },
}

_FILES: Final = "Reference files"
_UPLOADED: Final = answers_json(ref("File"))
_UPLOAD_WORDS: Final = {
    "upload_path": text("A folder of your own."),
    "file_name": text("A name; without one it gets one."),
}

OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        "POST",
        f"{files.BASE}/upload/base64",
        _FILES,
        "Upload a file as base64",
        Door.TEAM,
        _UPLOADED,
        body=takes_json(
            open_object(
                {
                    "base64_data": text("The file, with or without `data:`; 20 MB at most."),
                    **_UPLOAD_WORDS,
                },
                "base64_data",
            )
        ),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "POST",
        f"{files.BASE}/upload/stream",
        _FILES,
        "Upload a file as a form",
        Door.TEAM,
        _UPLOADED,
        body=RequestBody(
            {
                "multipart/form-data": open_object(
                    {
                        "file": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                        },
                        **_UPLOAD_WORDS,
                    },
                    "file",
                )
            }
        ),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "POST",
        f"{files.BASE}/upload/url",
        _FILES,
        "Have a file fetched",
        Door.TEAM,
        _UPLOADED,
        body=takes_json(
            open_object({"file_url": text("http or https."), **_UPLOAD_WORDS}, "file_url")
        ),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "GET",
        f"{files.BASE}/list",
        _FILES,
        "The team's files",
        Door.TEAM,
        _UPLOADED,
        refusals=(Unavailable,),
        tongue=Tongue.FILES,
    ),
    Operation(
        "GET",
        f"{files.BASE}/quota",
        _FILES,
        "The file store's numbers",
        Door.TEAM,
        _UPLOADED,
        refusals=(UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "DELETE",
        f"{files.BASE}/{{file_id}}",
        _FILES,
        "Delete a file",
        Door.TEAM,
        _UPLOADED,
        path_words={"file_id": "The id that its upload was answered with."},
        refusals=(NotFound, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
)
