"""Forms on their way in: to disk, within bounds, and gone afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.errors import GatewayError, InvalidRequest, RequestTooLarge, Unavailable
from gateway.web.openai.form import Form, FormLimits, received_form

LIMITS = FormLimits(
    files=3, file_bytes=1000, files_bytes=2000, fields=4, fields_bytes=300, seconds=5
)
BOUNDARY = "----one-boundary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def field(name: str, value: str) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value.encode() + b"\r\n"


def file(name: str, content: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def request_of(chunks: Sequence[bytes], *, kind: str = KIND, **headers: str) -> Request:
    lines = {"content-type": kind, **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
    }
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return Request(scope, receive)


async def read(
    folder: Path, *chunks: bytes, limits: FormLimits = LIMITS
) -> tuple[Form, Sequence[bytes]]:
    """The form, and the bytes of its files before they are gone."""
    async with received_form(request_of(chunks), folder, limits) as form:
        assert all(one.path.is_relative_to(folder) for one in form.files)
        return form, [one.path.read_bytes() for one in form.files]


async def refused(folder: Path, *chunks: bytes, limits: FormLimits = LIMITS) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await read(folder, *chunks, limits=limits)
    assert list(folder.iterdir()) == []
    return caught.value


def cut(body: bytes, length: int) -> list[bytes]:
    return [body[at : at + length] for at in range(0, len(body), length)]


@pytest.mark.parametrize("length", [1, 7, 100_000])
async def test_fields_and_files_in_their_order_however_they_are_cut(
    tmp_path: Path, length: int
) -> None:
    first = b"first \r\n--" + BOUNDARY.encode()[:-1]
    body = (
        field("prompt", "grüße\r\n--no boundary")
        + file("image[]", first)
        + field("n", "2")
        + file("image[]", b"")
        + file("mask", bytes(range(256)))
        + END
    )
    form, contents = await read(tmp_path, *cut(body, length))
    assert form.fields == [("prompt", "grüße\r\n--no boundary"), ("n", "2")]
    assert [one.part for one in form.files] == ["image[]", "image[]", "mask"]
    assert contents == [first, b"", bytes(range(256))]
    assert list(tmp_path.iterdir()) == []


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=300), max_size=3), st.integers(1, 50))
async def test_any_bytes_come_through(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], length: int
) -> None:
    folder = tmp_path_factory.mktemp("form")
    body = b"".join(file("image", content) for content in contents) + END
    assert (await read(folder, *cut(body, length)))[1] == contents


TOO_MUCH = {
    "a large file": file("image", b"x" * 1001) + END,
    "large files": file("image", b"x" * 999) * 2 + file("image", b"xxx") + END,
    "many files": file("image", b"x") * 4 + END,
    "many fields": field("a", "1") * 5 + END,
    "large fields": field("a", "1" * 299) + field("b", "1") + END,
    "much behind its end": END + b"x" * 60_000,
}


@pytest.mark.parametrize("body", TOO_MUCH.values(), ids=TOO_MUCH)
async def test_what_is_too_much_is_refused(tmp_path: Path, body: bytes) -> None:
    error = await refused(tmp_path, *cut(body, 200))
    assert isinstance(error, RequestTooLarge)


BROKEN = {
    "cut": file("image", b"x"),
    "nothing": b"",
    "no boundary": b"hello" * 20,
    "large headers": file("i" * 9000, b"x") + END,
    "not text": field("a", "1").replace(b"1\r\n", b"\xff\xfe\r\n") + END,
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_form_is_refused(tmp_path: Path, body: bytes) -> None:
    assert isinstance(await refused(tmp_path, body), InvalidRequest)


@pytest.mark.parametrize(
    "kind", ["application/json", "multipart/form-data", "multipart/form-data;"]
)
async def test_the_kind_of_body_is_looked_at_first(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidRequest):
        async with received_form(request_of([END], kind=kind), tmp_path, LIMITS):
            pass


async def test_an_announced_length_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    request = request_of([], **{"content-length": "1000000"})
    with pytest.raises(RequestTooLarge):
        async with received_form(request, tmp_path, LIMITS):
            pass


async def test_a_slow_form_and_a_client_that_leaves_are_given_up(tmp_path: Path) -> None:
    import asyncio

    async def stuck() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    request = request_of([])
    slow = Request(request.scope, stuck)
    with pytest.raises(InvalidRequest):
        async with received_form(slow, tmp_path, replace(LIMITS, seconds=0.05)):
            pass
    with pytest.raises(InvalidRequest):
        async with received_form(request, tmp_path, LIMITS):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_files_are_gone_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with received_form(request_of([file("a", b"1") + END]), tmp_path, LIMITS):
            assert list(tmp_path.iterdir())
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_takes_nothing_is_ours_to_mend(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        async with received_form(request_of([END]), tmp_path / "missing", LIMITS):
            pass
