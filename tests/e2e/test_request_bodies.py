"""Bodies that are zipped, on every endpoint that reads one."""

from __future__ import annotations

import gzip
import json

import httpx2 as httpx
from house import TEAM_KEY, House

ORDER = {"model": "gpt-image-1.5", "prompt": "café", "size": "1:1", "quality": "low"}
BODY = json.dumps(ORDER, ensure_ascii=False).encode()


async def post(house: House, path: str, body: bytes, **headers: str) -> httpx.Response:
    return await house.client.post(
        path, content=body, headers={"Authorization": f"Bearer {TEAM_KEY}", **headers}
    )


async def test_every_json_endpoint_reads_a_zipped_body(a_house: House) -> None:
    zipped = gzip.compress(BODY)
    for path in ("/v1/images/estimate", "/v1/images/generations", "/openai/v1/images/generations"):
        body = zipped
        if path.startswith("/openai"):
            body = gzip.compress(json.dumps({**ORDER, "size": "1024x1024"}).encode())
        answer = await post(a_house, path, body, **{"Content-Encoding": "gzip"})
        assert answer.status_code == 200, (path, answer.text)
    ids = gzip.compress(json.dumps({"task_ids": ["task-unified-1-a"]}).encode())
    batch = await post(a_house, "/v1/tasks/batch", ids, **{"Content-Encoding": "gzip"})
    assert "valid JSON" not in batch.text
    refused = await post(a_house, "/v1/images/estimate", BODY, **{"Content-Encoding": "br"})
    assert refused.status_code == 415
    assert refused.headers["accept-encoding"] == "gzip, deflate"
    assert "'Content-Encoding: br'" in refused.json()["error"]["message"]


async def test_files_are_taken_as_they_are(a_house: House) -> None:
    form = "multipart/form-data; boundary=x"
    for path, kind in (
        ("/api/v1/files/upload/base64", "application/json"),
        ("/api/v1/files/upload/stream", form),
        ("/openai/v1/images/edits", form),
    ):
        headers = {"Content-Encoding": "gzip", "Content-Type": kind}
        answer = await post(a_house, path, gzip.compress(b"{}"), **headers)
        assert answer.status_code == 415, path
        assert answer.headers["accept-encoding"] == "identity"
