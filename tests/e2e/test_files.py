"""The file API over the running gateway: what goes up is the team's, and known by its bytes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import random
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import ORGANISATION_KEY, OTHER_KEY, TEAM_KEY, House, house
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.services import uploads
from gateway.serving import InProcessServer

BASE = "/api/v1/files"
NOISE = random.Random(11)


def png(side: int = 24) -> bytes:
    """A picture like no other."""
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), NOISE.randbytes(side * side * 3)).save(file, "PNG")
    return file.getvalue()


def auth(key: str = TEAM_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def stream(
    one: House, content: bytes, *, key: str = TEAM_KEY, name: str = "cat.png", **fields: str
) -> httpx.Response:
    uploads = {"file": (name, content, "image/png")}
    path = f"{BASE}/upload/stream"
    return await one.client.post(path, files=uploads, data=fields, headers=auth(key))


async def encoded(one: House, content: bytes, *, key: str = TEAM_KEY, **body: Any) -> Any:
    body = {"base64_data": base64.b64encode(content).decode(), **body}
    return await one.client.post(f"{BASE}/upload/base64", json=body, headers=auth(key))


async def listed(one: House, key: str = TEAM_KEY, query: str = "") -> Any:
    answer = await one.client.get(f"{BASE}/list{query}", headers=auth(key))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def behind(url: str) -> bytes:
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(url)
    assert answer.status_code == 200, answer.text
    return answer.content


def is_refusal(answer: httpx.Response, status: int, code: int | None = None) -> bool:
    body = answer.json()
    return (
        answer.status_code == status
        and body.keys() == {"success", "code", "msg"}
        and body["success"] is False
        and body["code"] == (code or status)
        and bool(body["msg"])
    )


# --- the calls -----------------------------------------------------------------------------------


async def test_three_ways_up_answer_in_upstreams_shape(a_house: House) -> None:
    content = png()
    streamed = await stream(a_house, content, upload_path="avatars", file_name="me.png")
    told = await encoded(a_house, content, upload_path="avatars", file_name="me.png")
    link = streamed.json()["data"]["file_url"]
    body = {"file_url": link, "uploadPath": "avatars", "fileName": "me.png"}
    fetched = await a_house.client.post(f"{BASE}/upload/url", json=body, headers=auth())
    links = set()
    for answer in (streamed, told, fetched):
        assert answer.status_code == 200, answer.text
        value = answer.json()
        assert (value["success"], value["code"]) == (True, 200)
        assert value["msg"] == "File uploaded successfully"
        data = value["data"]
        assert data.keys() == {
            "file_id", "file_name", "original_name", "file_size", "mime_type", "upload_path",
            "file_url", "download_url", "upload_time", "expires_at",
        }  # fmt: skip
        assert (data["upload_path"], data["file_name"]) == ("avatars", "me.png")
        assert (data["file_size"], data["mime_type"]) == (len(content), "image/png")
        assert await behind(data["file_url"]) == await behind(data["download_url"]) == content
        links.add(data["file_url"])
    assert len(links) == 3  # the same name never overwrites


async def test_upstream_sees_the_organisations_key_and_never_the_teams(a_house: House) -> None:
    await stream(a_house, png())
    await encoded(a_house, png())
    await listed(a_house)
    await a_house.client.get(f"{BASE}/quota", headers=auth())
    seen = [one for one in a_house.sandbox.state.requests if one.path.startswith(BASE)]
    assert len(seen) == 3  # the list is answered here
    for one in seen:
        assert one.headers["authorization"] == f"Bearer {ORGANISATION_KEY}"
        assert TEAM_KEY not in str(one.headers)


async def test_list_quota_and_delete(a_house: House) -> None:
    ids = [(await stream(a_house, png(), name=f"{n}.png")).json()["data"]["file_id"] for n in "abc"]
    data = await listed(a_house, query="?page=1&pageSize=2")
    assert data["total"] == 3
    assert [file["file_id"] for file in data["files"]] == ids[:0:-1]
    file = data["files"][0]
    assert file.keys() == {"file_id", "file_name", "file_size", "upload_time"}
    assert file["file_name"] == "c.png" and file["upload_time"].endswith("+08:00")
    assert [f["file_id"] for f in (await listed(a_house, query="?page=2&pageSize=2"))["files"]] == [
        ids[0]
    ]
    quota = (await a_house.client.get(f"{BASE}/quota", headers=auth())).json()
    assert (quota["success"], quota["data"]["used_files"]) == (True, 3)
    gone = await a_house.client.delete(f"{BASE}/{ids[0]}", headers=auth())
    assert (gone.status_code, gone.json()["success"]) == (200, True)
    assert (await listed(a_house))["total"] == 2
    assert len(a_house.sandbox.state.files) == 2
    again = await a_house.client.delete(f"{BASE}/{ids[0]}", headers=auth())
    assert is_refusal(again, 404)


async def test_a_file_that_upstream_has_lost_is_forgotten(a_house: House) -> None:
    file_id = (await stream(a_house, png())).json()["data"]["file_id"]
    a_house.sandbox.state.files.delete(file_id)
    answer = await a_house.client.delete(f"{BASE}/{file_id}", headers=auth())
    assert is_refusal(answer, 404)
    assert (await listed(a_house))["total"] == 0


# --- teams ---------------------------------------------------------------------------------------


async def test_a_team_sees_and_deletes_its_own_only(a_house: House) -> None:
    data = (await stream(a_house, png())).json()["data"]
    assert await listed(a_house, OTHER_KEY) == {"files": [], "total": 0}
    answer = await a_house.client.delete(f"{BASE}/{data['file_id']}", headers=auth(OTHER_KEY))
    assert is_refusal(answer, 404)
    await behind(data["file_url"])


@pytest.mark.parametrize(
    "path", ["avatars", "", "/", "../blue", "..\\..\\blue", "%2e%2e/%252e%252e/blue", "blue/./.."]
)
async def test_no_team_reaches_anothers_files(a_house: House, path: str) -> None:
    mine, others = png(), png()
    first = (await stream(a_house, mine, upload_path=path, file_name="me.png")).json()["data"]
    for send in (stream, encoded):
        for name in ("me.png", "../me.png", "..%2f..%2fme.png"):
            taken = await send(a_house, others, key=OTHER_KEY, upload_path=path, file_name=name)
            assert taken.json()["data"]["file_name"] == "me.png", taken.text
    assert await behind(first["file_url"]) == mine
    places = [stored.path.split("/") for stored in a_house.sandbox.state.files.newest_first()]
    assert [place[0] for place in places] == ["green"] * 6 + ["blue"]
    assert len({place[1] for place in places}) == 7


@pytest.mark.parametrize("order", ["first", "last", "none"])
async def test_the_path_may_come_before_or_after_the_file(a_house: House, order: str) -> None:
    """Chunked, and written by hand: clients put the parts in any order."""
    content = png(200)
    path = b'--xx\r\nContent-Disposition: form-data; name="uploadPath"\r\n\r\ncats\r\n'
    unknown = b'--xx\r\nContent-Disposition: form-data; name="folder"\r\n\r\nother\r\n'
    head = (
        b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n"
    )
    first = path if order == "first" else b""
    last = path if order == "last" else b""
    body = unknown + first + head + content + b"\r\n" + last + b"--xx--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 7001):
            yield body[at : at + 7001]

    answer = await a_house.client.post(
        f"{BASE}/upload/stream",
        content=pieces(),
        headers={**auth(), "Content-Type": "multipart/form-data; boundary=xx"},
    )
    data = answer.json()["data"]
    assert data["upload_path"] == ("uploads" if order == "none" else "cats")
    assert await behind(data["file_url"]) == content
    assert a_house.sandbox.state.files.newest_first()[0].folder.startswith("blue/")


async def test_many_at_once(a_house: House) -> None:
    contents = [png() for _ in range(24)]
    keys = [TEAM_KEY, OTHER_KEY] * 12
    answers = await asyncio.gather(
        *(stream(a_house, c, key=k) for c, k in zip(contents, keys, strict=True))
    )
    for content, answer in zip(contents, answers, strict=True):
        assert await behind(answer.json()["data"]["file_url"]) == content
    assert (await listed(a_house))["total"] == (await listed(a_house, OTHER_KEY))["total"] == 12
    assert await a_house.violations() == []


# --- base64 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 200_000, 786_432, 3_000_001])
async def test_base64_of_any_size_comes_out_as_it_went_in(a_house: House, size: int) -> None:
    content = b"\x89PNG\r\n\x1a\n" + NOISE.randbytes(size)
    plain = base64.b64encode(content).decode()
    texts = [
        json.dumps({"base64_data": plain}),
        json.dumps({"file_name": "a.png", "base64_data": "data:image/png;base64," + plain}),
        json.dumps({"base64_data": plain}).replace("+", "\\u002B").replace("/", "\\/"),
        json.dumps({"x": {"base64_data": "QUJD"}, "base64_data": plain}),
    ]
    for text in texts:
        answer = await a_house.client.post(f"{BASE}/upload/base64", content=text, headers=auth())
        assert answer.status_code == 200, answer.text
        assert await behind(answer.json()["data"]["file_url"]) == content


@pytest.mark.parametrize("filler", [b"", b"A" * 400_000])
async def test_base64_that_is_none(a_house: House, filler: bytes) -> None:
    bodies = [
        b'{"base64_data":"%s*AAA"}' % filler,
        b'{"base64_data":"%sAA=A"}' % filler,
        b'{"base64_data":"%sA"}' % filler,
        b'{"base64_data":"%s",}' % filler,
        b'{"base64_data":"%s' % filler,
        b'{"x":"%s"}' % filler,
        b'{"base64_data":["%s"]}' % filler,
        b'{"base64_data":"%sAAAA","file_name":7}' % filler,
        b'["%s"]' % filler,
        b'{"base64_data":""}',
    ]
    for body in bodies:
        answer = await a_house.client.post(f"{BASE}/upload/base64", content=body, headers=auth())
        assert is_refusal(answer, 400), (body[-40:], answer.text)
    assert len(a_house.sandbox.state.files) == 0


# --- what is refused -----------------------------------------------------------------------------


async def test_errors_have_the_file_apis_own_shape(a_house: House) -> None:
    client = a_house.client
    for headers in ({}, auth("no-such-key"), auth(ORGANISATION_KEY)):
        assert is_refusal(await client.get(f"{BASE}/list", headers=headers), 401)
        assert is_refusal(await client.get(f"{BASE}/quota", headers=headers), 401)
        answer = await client.post(f"{BASE}/upload/stream", headers=headers, content=b"x")
        assert is_refusal(answer, 401)
    assert is_refusal(await client.get(f"{BASE}/nothing/here", headers=auth()), 404)
    assert is_refusal(await client.put(f"{BASE}/list", headers=auth()), 405)
    for url in (None, 7, "ftp://example.com/a.png", "/etc/passwd", "https://user@example.com/a"):
        answer = await client.post(f"{BASE}/upload/url", json={"file_url": url}, headers=auth())
        assert is_refusal(answer, 400), url
    forms = [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=xx", b"no form at all"),
        ("multipart/form-data; boundary=xx", b"--xx--\r\n"),
        (
            "multipart/form-data; boundary=xx",
            b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nabc',
        ),
        (
            "multipart/form-data; boundary=xx",
            b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--xx--',
        ),
    ]
    for kind, body in forms:
        answer = await client.post(
            f"{BASE}/upload/stream", content=body, headers={**auth(), "Content-Type": kind}
        )
        assert is_refusal(answer, 400), (kind, body, answer.text)
    twice = [("file", ("a.png", png())), ("file", ("b.png", png()))]
    answer = await client.post(f"{BASE}/upload/stream", files=twice, headers=auth())
    assert is_refusal(answer, 400)
    other = await client.post(f"{BASE}/upload/stream", files={"f": png()}, headers=auth())
    assert is_refusal(other, 400)
    assert len(a_house.sandbox.state.files) == 0
    assert (await listed(a_house))["total"] == 0


async def test_a_file_over_the_limit(tmp_path: Path) -> None:
    async with house(tmp_path, server={"upload_limit": "400KB"}) as one:
        fits, large = NOISE.randbytes(399_000), NOISE.randbytes(1_900_000)

        async def chunked() -> AsyncIterator[bytes]:
            yield b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
            for at in range(0, len(large), 50_000):
                yield large[at : at + 50_000]
            yield b"\r\n--xx--\r\n"

        png_head = b"\x89PNG\r\n\x1a\n"
        assert (await stream(one, png_head + fits)).status_code == 200
        assert (await encoded(one, png_head + fits)).status_code == 200
        assert is_refusal(await stream(one, large), 413, 40001)
        assert is_refusal(await stream(one, large[:500_000]), 413, 40001)
        assert is_refusal(await encoded(one, large), 413, 40001)
        assert is_refusal(await encoded(one, large[:410_000]), 413, 40001)
        kind = {"Content-Type": "multipart/form-data; boundary=xx"}
        path = f"{BASE}/upload/stream"
        answer = await one.client.post(path, content=chunked(), headers={**auth(), **kind})
        assert is_refusal(answer, 413, 40001)
        assert (await listed(one))["total"] == len(one.sandbox.state.files) == 2


async def test_upstreams_own_refusals_come_through(a_house: House) -> None:
    answer = await stream(a_house, b"just words", name="a.png")
    assert is_refusal(answer, 400, 40002)
    body = {"file_url": "http://127.0.0.1:9/a.png"}
    answer = await a_house.client.post(f"{BASE}/upload/url", json=body, headers=auth())
    assert is_refusal(answer, 400, 40004)


async def test_a_store_that_is_down_or_knows_no_key(a_house: House, tmp_path: Path) -> None:
    wrong = {"evolink": {"api_key": "sk-wrong"}}
    async with house(tmp_path / "other", upstreams=wrong) as one:
        assert is_refusal(await stream(one, png()), 502)
    file_id = (await stream(a_house, png())).json()["data"]["file_id"]
    await a_house.sandbox.refuse_connections()
    assert is_refusal(await stream(a_house, png()), 502)
    assert is_refusal(await encoded(a_house, png()), 502)
    assert is_refusal(await a_house.client.get(f"{BASE}/quota", headers=auth()), 502)
    answer = await a_house.client.delete(f"{BASE}/{file_id}", headers=auth())
    assert is_refusal(answer, 502)
    assert (await listed(a_house))["total"] == 1
    await a_house.sandbox.accept_connections()
    answer = await a_house.client.delete(f"{BASE}/{file_id}", headers=auth())
    assert answer.status_code == 200


async def test_without_a_store_upstream_the_gateways_own_takes_files(tmp_path: Path) -> None:
    async with house(tmp_path, upstreams={"evolink": {"files_url": None}}) as one:
        answer = await stream(one, picture := png())
        link = answer.json()["data"]["file_url"]
        assert (await one.client.get(httpx.URL(link).path)).content == picture
        assert len(one.sandbox.state.files) == 0


ODD_ANSWERS = [
    Response(b"<html>", 200),
    Response(b"<html>Bad Gateway", 502),
    JSONResponse({"success": True, "code": 200, "data": {}}),
    JSONResponse({"success": True, "code": 200, "data": None}),
    JSONResponse({"success": False, "code": 50001, "msg": "storage"}, 200),
    JSONResponse({"success": False, "code": 401, "msg": "bad token"}, 200),
    JSONResponse({"success": False, "code": 403, "msg": "bad token"}, 403),
    RedirectResponse("http://127.0.0.1:9/elsewhere", 307),
    Response(b"[" * 2_000_000, 200),
]


async def test_answers_that_are_no_success(tmp_path: Path) -> None:
    answers = iter(ODD_ANSWERS)

    async def odd(request: Request) -> Response:
        await request.body()
        return next(answers)

    app = Starlette(routes=[Route(f"{BASE}/upload/stream", odd, methods=["POST"])])
    async with InProcessServer(app).running() as store:
        uploads = {"evolink": {"files_url": store.base_url}}
        async with house(tmp_path, upstreams=uploads) as one:
            for _ in ODD_ANSWERS:
                answer = await stream(one, png())
                assert is_refusal(answer, 502), answer.text
            assert (await listed(one))["total"] == 0


async def test_a_refusal_with_status_200_stays_as_it_is(tmp_path: Path) -> None:
    said = {"success": False, "code": 40003, "msg": "quota exceeded"}

    async def full(request: Request) -> Response:
        await request.body()
        return JSONResponse(said, 200)

    app = Starlette(routes=[Route(f"{BASE}/upload/stream", full, methods=["POST"])])
    async with InProcessServer(app).running() as store:
        uploads = {"evolink": {"files_url": store.base_url}}
        async with house(tmp_path, upstreams=uploads) as one:
            answer = await stream(one, png())
            assert (answer.status_code, answer.json()) == (200, said)


# --- size ----------------------------------------------------------------------------------------


BLOCK = NOISE.randbytes(49_152)


@contextlib.asynccontextmanager
async def swallowing(tmp_path: Path) -> AsyncIterator[tuple[House, list[int]]]:
    """The store here swallows what it gets, and counts it: so all memory that is seen is the
    gateway's and the test's."""
    swallowed: list[int] = []

    async def swallow(request: Request) -> Response:
        swallowed.append(0)
        number = len(swallowed) - 1
        async for chunk in request.stream():
            swallowed[number] += len(chunk)
        data = {"file_id": f"f_{number}", "file_name": "a", "file_url": "https://example.com/a.png"}
        return JSONResponse({"success": True, "code": 200, "data": data})

    routes = [Route(f"{BASE}/upload/{{way}}", swallow, methods=["POST"])]
    async with (
        InProcessServer(Starlette(routes=routes)).running() as store,
        house(tmp_path, upstreams={"evolink": {"files_url": store.base_url}}) as one,
    ):
        yield one, swallowed


async def blocks(one: House, way: str, count: int) -> httpx.Response:
    """Sends a file of so many blocks."""

    async def body() -> AsyncIterator[bytes]:
        form = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield form if way == "stream" else b'{"base64_data":"'
        piece = BLOCK if way == "stream" else base64.b64encode(BLOCK)
        for _ in range(count):
            yield piece
        yield b"\r\n--xx--\r\n" if way == "stream" else b'"}'

    headers = {**auth(), "Content-Type": "multipart/form-data; boundary=xx"}
    return await one.client.post(f"{BASE}/upload/{way}", content=body(), headers=headers)


@contextlib.contextmanager
def little_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


async def test_sixty_megabytes_pass_through_little_memory(tmp_path: Path) -> None:
    async with swallowing(tmp_path) as (one, swallowed):
        with little_memory(12_000_000):
            answer = await blocks(one, "stream", 1280)
        assert answer.status_code == 200, answer.text
    assert swallowed[0] > 1280 * len(BLOCK)


def resident(line: str) -> int:
    """Bytes of memory that this process has now (`VmRSS`), or had at most (`VmHWM`)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


async def test_eight_large_files_as_base64_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    """One alone takes its text twice and its bytes; the others lie on disk meanwhile.

    What the parser reserves and never touches is many times that, so touched memory is looked at.
    """
    async with swallowing(tmp_path) as (one, swallowed):
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
        answers = await asyncio.gather(*(blocks(one, "base64", 400) for _ in range(8)))
        assert resident("VmHWM") - before < 120_000_000
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len(swallowed) == 8 and min(swallowed) > 400 * len(BLOCK) * 4 // 3
        assert list((one.folder / "forms").iterdir()) == []


async def test_a_file_as_base64_that_is_too_large_is_told_of_the_other_ways(tmp_path: Path) -> None:
    async with swallowing(tmp_path) as (one, swallowed):
        with little_memory(12_000_000):
            refused = await blocks(one, "base64", 1280)
        assert is_refusal(refused, 413, 40001)
        assert refused.json()["msg"] == (
            "file too large, the limit is 20000000 bytes as base64; "
            "send a larger one with upload/stream or upload/url"
        )
        longer = await encoded(one, bytes(20_000_001))
        assert (longer.status_code, longer.json()) == (413, refused.json())
        assert (await encoded(one, bytes(20_000_000))).status_code == 200
        assert len(swallowed) == 1
        assert list((one.folder / "forms").iterdir()) == []


@pytest.mark.parametrize("line", [64, 76])
async def test_breaks_between_the_lines_of_base64_are_none_of_the_file(
    tmp_path: Path, line: int
) -> None:
    """As MIME writes it, and with the slashes escaped as PHP's JSON has them."""
    text = base64.b64encode(bytes(range(256)) * 78_125).decode()
    assert len(base64.b64decode(text)) == 20_000_000
    lines = r"\r\n".join(text[at : at + line] for at in range(0, len(text), line))
    body = f'{{"base64_data":"{lines.replace("/", chr(92) + "/")}"}}'
    async with swallowing(tmp_path) as (one, swallowed):
        answer = await one.client.post(f"{BASE}/upload/base64", content=body, headers=auth())
        assert answer.status_code == 200, answer.text
        assert len(swallowed) == 1


# --- references ----------------------------------------------------------------------------------


async def test_the_same_bytes_under_a_new_link_are_the_same_order(a_house: House) -> None:
    content = png()
    first = (await stream(a_house, content)).json()["data"]
    again = (await encoded(a_house, content, file_name="other.png")).json()["data"]
    other = (await stream(a_house, png())).json()["data"]
    made = await a_house.made(image_urls=[first["file_url"]])
    for url in (again["file_url"], again["download_url"], first["download_url"]):
        hit = await a_house.post(image_urls=[url])
        assert "hit" in hit.headers["cache-status"], hit.text
        assert hit.json()["results"] == made["results"]
    miss = await a_house.post(image_urls=[other["file_url"]])
    assert "fwd=miss" in miss.headers["cache-status"]
    await a_house.ended(miss.json()["id"])


async def test_the_order_of_references_still_counts(a_house: House) -> None:
    one, two = png(), png()
    a, b = [(await stream(a_house, c)).json()["data"]["file_url"] for c in (one, two)]
    c, d = [(await stream(a_house, c)).json()["data"]["file_url"] for c in (one, two)]
    await a_house.made(image_urls=[a, b])
    assert "hit" in (await a_house.post(image_urls=[c, d])).headers["cache-status"]
    assert "hit" in (await a_house.post(image_urls=[a, d])).headers["cache-status"]
    swapped = await a_house.post(image_urls=[d, c])
    assert "fwd=miss" in swapped.headers["cache-status"]
    await a_house.ended(swapped.json()["id"])


async def test_upstream_gets_the_link_that_the_client_sent(a_house: House) -> None:
    url = (await stream(a_house, png())).json()["data"]["file_url"]
    await a_house.made(image_urls=[url])
    submits = [r for r in a_house.sandbox.state.requests if r.path == "/v1/images/generations"]
    assert len(submits) == 1
    [task] = a_house.sandbox.state.tasks.values()
    assert url in str(task)


async def test_what_a_file_uploaded_by_link_is_stays_unknown(a_house: House) -> None:
    source = (await stream(a_house, png())).json()["data"]["file_url"]
    copies = []
    for _ in range(2):
        body = {"file_url": source}
        answer = await a_house.client.post(f"{BASE}/upload/url", json=body, headers=auth())
        copies.append(answer.json()["data"]["file_url"])
    await a_house.made(image_urls=[copies[0]])
    assert "hit" in (await a_house.post(image_urls=[copies[0]])).headers["cache-status"]
    miss = await a_house.post(image_urls=[copies[1]])
    assert "fwd=miss" in miss.headers["cache-status"]
    await a_house.ended(miss.json()["id"])


async def test_a_shared_cache_meets_in_the_bytes_and_not_in_anothers_link(tmp_path: Path) -> None:
    async with house(tmp_path, cache={"scope": "organization"}) as one:
        content = png()
        blue = (await stream(one, content)).json()["data"]["file_url"]
        green = (await stream(one, content, key=OTHER_KEY)).json()["data"]["file_url"]
        await one.made(image_urls=[blue])
        hit = await one.post(image_urls=[green], key=OTHER_KEY)
        assert "hit" in hit.headers["cache-status"]
        # Whether a foreign link was ever uploaded, and what it is, is nothing that green may learn.
        miss = await one.post(image_urls=[blue], key=OTHER_KEY)
        assert "fwd=miss" in miss.headers["cache-status"]
        await one.ended(miss.json()["id"], key=OTHER_KEY)


async def test_slow_uploads_of_one_team_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOADS_AT_ONCE", 4)
    monkeypatch.setattr(uploads, "UPLOADS_WAITING", 3)
    async with house(tmp_path) as a_house:
        await slow_uploads(a_house)


async def slow_uploads(a_house: House) -> None:
    """Two of five are under way and three wait; a sixth of that team is turned away."""
    arrived = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield b"\x89PNG\r\n\x1a\n"
        await arrived.wait()
        yield b"\r\n--xx--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=xx"}
    path = f"{BASE}/upload/stream"
    tasks = [
        asyncio.create_task(a_house.client.post(path, content=slow(), headers={**auth(), **kind}))
        for _ in range(5)
    ]
    assert (await stream(a_house, png(), key=OTHER_KEY)).status_code == 200
    assert not any(task.done() for task in tasks)
    turned_away = await stream(a_house, png())
    assert turned_away.status_code == 429 and int(turned_away.headers["retry-after"]) > 0
    assert "2 uploads under way" in turned_away.json()["msg"]
    arrived.set()
    assert {(await task).status_code for task in tasks} == {200}
    assert (await listed(a_house))["total"] == 5


async def test_a_client_that_goes_away_leaves_nothing(a_house: House) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", a_house.http.bound_port)
    head = (
        f"POST {BASE}/upload/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TEAM_KEY}\r\n"
        "Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: 100000\r\n\r\n"
        '--xx\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    )
    writer.write(head.encode() + png())
    await writer.drain()
    async with asyncio.timeout(5):
        while not any(r.path.startswith(BASE) for r in a_house.sandbox.state.requests):
            await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    route = (
        f'gateway_http_requests_total{{method="POST",route="{BASE}/upload/stream",status="400"}}'
    )
    async with asyncio.timeout(5):
        while not (await a_house.metrics()).get(route):
            await asyncio.sleep(0.02)
    assert (await listed(a_house))["total"] == len(a_house.sandbox.state.files) == 0
