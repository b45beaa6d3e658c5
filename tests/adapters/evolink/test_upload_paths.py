"""Where a file goes upstream: inside the folder it was given, whatever the client wishes."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.adapters.evolink.files import EvolinkFiles, _wished
from gateway.adapters.outbound.vendor import VendorAccount
from gateway.errors import UpstreamRefusal
from gateway.ports.files import FormField, FormFile, FormPiece, StoredFile
from gateway.serving import InProcessServer

FOLDER = "blue/0123456789abcdef"
BITS = ["/", "\\", ".", "..", "%", "%2e%2e", "%252e", "%2F", "%255C", "a", "b c", "\r\n", "\x00"]
spelt = st.lists(st.sampled_from(BITS) | st.characters(), max_size=16).map("".join)


@given(spelt, spelt)
@example("", "%2e%2e\r\n")
@example("\x00%2e%2e/a", "%2\r\ne.")
@example("%2e%0d%2e", "%252%00e%2e")
def test_no_spelling_climbs_out(folder: str, name: str) -> None:
    sent = _wished({FormField.FOLDER: folder, FormField.NAME: name}, FOLDER)
    path = f"{sent['upload_path']}/{sent['file_name']}"
    for _ in range(6):
        plain = posixpath.normpath(path.replace("\\", "/"))
        assert plain == FOLDER or plain.startswith(f"{FOLDER}/"), (folder, name)
        path = unquote(path)
    assert not set("\r\n\x00") & set("".join(sent.values()))


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ("avatars", f"{FOLDER}/avatars"),
        ("a/b/c", f"{FOLDER}/a/b/c"),
        ("/a//b/", f"{FOLDER}/a/b"),
        ("50% off/Ünïcode", f"{FOLDER}/50% off/Ünïcode"),
        ("a%20b", f"{FOLDER}/a%20b"),
        ("", FOLDER),
        ("..", FOLDER),
    ],
)
def test_an_honest_wish_stays_as_it_is(wish: str, sent: str) -> None:
    assert _wished({FormField.FOLDER: wish}, FOLDER) == {"upload_path": sent}


# --- what is really sent -------------------------------------------------------------------------


class Store:
    """A file store that remembers forms, and answers with what it was told."""

    def __init__(self) -> None:
        self.forms: list[list[tuple[str, Any]]] = []
        self.answer: dict[str, Any] = {}

    async def take(self, request: Request) -> Response:
        async with request.form() as form:
            parts = [
                (k, v if isinstance(v, str) else (v.filename, v.content_type, await v.read()))
                for k, v in form.multi_items()
            ]
        self.forms.append(parts)
        said = dict(part for part in parts if isinstance(part[1], str))
        data = {"file_id": "f1", "upload_path": said.get("upload_path"), **self.answer}
        return JSONResponse({"success": True, "code": 200, "data": data, "more": [1]})


async def sent(store: Store, *pieces: FormPiece) -> StoredFile:
    async def form() -> AsyncIterator[FormPiece]:
        for piece in pieces:
            yield piece

    app = Starlette(routes=[Route("/api/v1/files/upload/stream", store.take, methods=["POST"])])
    async with InProcessServer(app).running() as server:
        files = EvolinkFiles(
            VendorAccount(server.base_url, "sk-key", "test", 100), connect_seconds=5.0
        )
        try:
            return await files.upload_form(form(), folder=FOLDER)
        finally:
            await files.aclose()


async def test_a_form_is_written_anew() -> None:
    store = Store()
    stored = await sent(
        store,
        (FormField.NAME, "me.png"),
        (FormField.NAME, "second.png"),
        FormFile('a"b\r\nX: y/..\\c.png', "image/png\r\nX-Evil: 1"),
        b"\x89PNG",
        b"\r\n--not-the-boundary",
        (FormField.FOLDER, "cats"),
    )
    assert store.forms == [
        [
            ("file_name", "me.png"),
            ("file", ("c.png", "application/octet-stream", b"\x89PNG\r\n--not-the-boundary")),
            ("upload_path", f"{FOLDER}/cats"),
        ]
    ]
    assert stored.answer["data"] == {"file_id": "f1", "upload_path": "cats"}
    assert stored.answer["more"] == [1]


async def test_a_quote_in_a_name_stays_in_the_name() -> None:
    store = Store()
    await sent(store, FormFile('a"; name="x', "image/png"), b"1")
    [[(_, (name, *_)), folder]] = store.forms
    assert name == "a%22; name=%22x"
    assert folder == ("upload_path", FOLDER)


async def test_the_answer_is_read_with_care() -> None:
    store = Store()
    store.answer = {"upload_path": 7, "file_size": "big", "expires_at": "soon", "file_url": None}
    stored = await sent(store, FormFile("a.png", "image/png"), b"1")
    assert (stored.size_bytes, stored.urls, stored.expires_at) == (0, (), None)
    store.answer = {
        "file_size": 3,
        "expires_at": "2025-10-12T00:00:00+08:00",
        "file_url": "https://files.example/a.png",
        "download_url": "https://files.example/a.png",
    }
    stored = await sent(store, FormFile("a.png", "image/png"), b"1")
    assert (stored.size_bytes, stored.urls) == (3, ("https://files.example/a.png",))
    assert stored.expires_at == 1_760_198_400.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("", None), ("soon", None), ("9" * 400, None), ("-1", None)],
)
async def test_a_refusal_tells_when_to_come_again(header: str, seconds: float | None) -> None:
    async def busy(_: Request) -> Response:
        body = {"success": False, "code": 429, "msg": "slower"}
        return JSONResponse(body, 429, headers={"Retry-After": header})

    app = Starlette(routes=[Route("/api/v1/files/quota", busy)])
    async with InProcessServer(app).running() as server:
        files = EvolinkFiles(
            VendorAccount(server.base_url, "sk-key", "test", 100), connect_seconds=5.0
        )
        with pytest.raises(UpstreamRefusal) as refused:
            await files.quota(folder="")
        await files.aclose()
    assert refused.value.retry_after_seconds == seconds
