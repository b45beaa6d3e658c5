"""The file API: three ways in, one way out, and its own error shape."""

import asyncio
import base64
from typing import Any

import pytest
from sandbox_bench import Bench, OpenBench

PNG = b"\x89PNG\r\n\x1a\n" + b"content"
BASE = "/api/v1/files"


async def upload(bench: Bench, content: bytes = PNG, **fields: Any) -> Any:
    body = {"base64_data": base64.b64encode(content).decode(), **fields}
    return await bench.client.post(f"{BASE}/upload/base64", json=body)


async def test_base64_upload_list_download_delete(bench: Bench) -> None:
    answer = await upload(bench, upload_path="avatars", file_name="me.png")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["code"]) == (True, 200)
    data = body["data"]
    assert data["file_url"] == f"{bench.sandbox.base_url}/avatars/me.png"
    assert (data["file_size"], data["mime_type"]) == (len(PNG), "image/png")
    assert data["upload_time"].endswith("+08:00")
    for url in (data["file_url"], data["download_url"]):
        got = await bench.anonymous.get(url)
        assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    listed = (await bench.client.get(f"{BASE}/list?page=1&pageSize=20")).json()["data"]
    assert (listed["total"], listed["files"][0]["file_id"]) == (1, data["file_id"])
    quota = (await bench.client.get(f"{BASE}/quota")).json()["data"]
    assert (quota["used_files"], quota["remain_files"]) == (1, 1999)
    assert (await bench.client.delete(f"{BASE}/{data['file_id']}")).json()["success"] is True
    assert (await bench.anonymous.get(data["file_url"])).status_code == 404
    assert (await bench.client.delete(f"{BASE}/{data['file_id']}")).status_code == 404


async def test_a_data_url_and_a_name_made_safe(bench: Bench) -> None:
    data_url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    body = {"base64_data": data_url, "file_name": "../../etc/pass wd", "upload_path": "/../a/./b"}
    data = (await bench.client.post(f"{BASE}/upload/base64", json=body)).json()["data"]
    assert data["file_url"] == f"{bench.sandbox.base_url}/a/b/pass_wd.png"


async def test_stream_upload(bench: Bench) -> None:
    answer = await bench.client.post(
        f"{BASE}/upload/stream",
        files={"file": ("cat.png", PNG, "image/png")},
        data={"uploadPath": "cats"},
    )
    data = answer.json()["data"]
    assert (data["file_name"], data["original_name"], data["upload_path"]) == (
        "cat.png",
        "cat.png",
        "cats",
    )


async def test_url_upload_copies_a_file_of_its_own(bench: Bench) -> None:
    own = (await upload(bench, file_name="first.png")).json()["data"]["file_url"]
    body = {"file_url": own, "file_name": "second.png"}
    copied = (await bench.client.post(f"{BASE}/upload/url", json=body)).json()["data"]
    assert (await bench.anonymous.get(copied["file_url"])).content == PNG


async def test_url_upload_reaches_private_addresses_only_when_allowed(
    open_bench: OpenBench,
) -> None:
    async def fetched(bench: Bench, *, dead: bool = False) -> Any:
        url = (await bench.finished())["results"][0] + ("x.png" if dead else "")
        return (await bench.client.post(f"{BASE}/upload/url", json={"file_url": url})).json()

    async with open_bench(allow_private_addresses=True) as bench:
        assert (await fetched(bench))["data"]["mime_type"] == "image/png"
        assert (await fetched(bench, dead=True))["code"] == 40004
    async with open_bench() as bench:
        assert (await fetched(bench))["code"] == 40004


async def test_the_same_name_replaces(bench: Bench) -> None:
    first = (await upload(bench, file_name="a.png")).json()["data"]
    await upload(bench, PNG + b"2", file_name="a.png")
    assert (await bench.anonymous.get(first["file_url"])).content == PNG + b"2"
    assert len(bench.state.files) == 1


async def test_files_expire_after_72_hours(bench: Bench) -> None:
    url = (await upload(bench)).json()["data"]["file_url"]
    bench.clock.now += 72 * 3600 - 1
    assert (await bench.anonymous.get(url)).status_code == 200
    bench.clock.now += 1
    assert (await bench.anonymous.get(url)).status_code == 404


@pytest.mark.parametrize(
    ("content", "code"), [(b"", 400), (b"#!/bin/sh", 40002), (PNG + b"x" * 200, 40001)]
)
async def test_refusals(open_bench: OpenBench, content: bytes, code: int) -> None:
    async with open_bench(max_file_bytes=100) as bench:
        body = (await upload(bench, content)).json()
        assert (body["success"], body["code"]) == (False, code)


async def test_quota_and_key(open_bench: OpenBench) -> None:
    async with open_bench(max_files=1) as bench:
        await upload(bench, file_name="a.png")
        assert (await upload(bench, file_name="b.png")).json()["code"] == 40003
        answer = await bench.anonymous.get(f"{BASE}/quota")
        assert (answer.status_code, answer.json()["success"]) == (401, False)


async def test_malformed_uploads(bench: Bench) -> None:
    for body in ({}, {"base64_data": "%%%"}, {"base64_data": 1}):
        assert (await bench.client.post(f"{BASE}/upload/base64", json=body)).status_code == 400
    for url in (None, "file:///etc/passwd"):
        answer = await bench.client.post(f"{BASE}/upload/url", json={"file_url": url})
        assert answer.status_code == 400
    without = await bench.client.post(f"{BASE}/upload/stream", files={"other": ("a", PNG)})
    assert without.json()["msg"] == "file is required"


@pytest.mark.parametrize("way", ["base64", "stream"])
async def test_who_hangs_up_leaves_no_error(
    bench: Bench, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(bench.sandbox.base_url.rpartition(":")[2])
    key = bench.client.headers["authorization"]
    head = (
        f"POST {BASE}/upload/{way} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
