"""Pictures, health, and what a running gateway shows of itself."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import httpx2 as httpx
import pytest
import stores
from house import House, house


async def test_pictures_are_served_for_ever_and_cheaply(a_house: House) -> None:
    (link,) = (await a_house.made("served"))["results"]
    whole = await a_house.client.get(link)
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.headers["x-content-type-options"] == "nosniff"
    etag = whole.headers["etag"]
    unchanged = await a_house.client.get(link, headers={"If-None-Match": f'"other", W/{etag}'})
    assert unchanged.status_code == 304 and unchanged.content == b""
    head = await a_house.client.head(link)
    assert head.status_code == 200 and head.content == b""
    assert int(head.headers["content-length"]) == len(whole.content)
    part = await a_house.client.get(link, headers={"Range": "bytes=0-7"})
    assert part.status_code == 206 and part.content == whole.content[:8]
    beyond = await a_house.client.get(link, headers={"Range": "bytes=999999999-"})
    assert beyond.status_code == 416


@pytest.mark.files
async def test_small_and_large_pictures_are_told_the_same_of(a_house: House) -> None:
    """A small one is sent at once, a large one as it is read."""
    (link,) = (await a_house.made("of any size"))["results"]
    name = link.rpartition("/")[2]
    file = a_house.folder / "pictures" / name[:2] / name
    for size in (1, 256 * 1024, 256 * 1024 + 1, 3_000_000):
        file.write_bytes(content := os.urandom(size))
        whole, head = await a_house.client.get(link), await a_house.client.head(link)
        assert whole.content == content
        told = [
            {*one.headers.multi_items()} - {*picked(one, "date", "x-request-id", "server-timing")}
            for one in (whole, head)
        ]
        assert told[0] == told[1]
    file.write_bytes(b"")
    assert (await a_house.client.get(link)).status_code == 404


def picked(answer: httpx.Response, *names: str) -> list[tuple[str, str]]:
    return [(name, answer.headers[name]) for name in names]


async def test_no_other_file_is_served(a_house: House) -> None:
    (link,) = (await a_house.made("guarded"))["results"]
    digest = link.rpartition("/")[2].partition(".")[0]
    for name in (
        f"{digest}.json",
        f"{digest}.jpg",
        f"{digest}",
        "../ledger.sqlite3",
        "%2e%2e%2fledger.sqlite3",
        f"{'0' * 64}.png",
        f"{digest.upper()}.png",
    ):
        answer = await a_house.client.get(f"/pictures/{name}")
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "not_found"


async def test_a_sidecar_tells_where_a_picture_came_from(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        await one.made("told", size="1:1", quality="low")
        [told] = [
            json.loads(content)
            for name, content in stores.contents(tmp_path)
            if "/" in name and name.endswith(".json")
        ]
        assert told["prompt"] == "told" and told["team"] == "blue"
        assert told["parameters"] == {"quality": "low", "size": "1:1"}
        assert told["cost_usd"] == 0.05
        assert told["picture"] in stores.kept(tmp_path)


async def test_alive_and_ready(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        assert (await one.client.get("/healthz")).json() == {"status": "ok"}
        for path in ("/readyz", "/readyz?local"):
            assert (await one.client.get(path)).json() == {"reasons": [], "status": "ready"}
        one.gateway.stop_taking()
        stopping = await one.client.get("/readyz")
        assert stopping.status_code == 503
        assert stopping.json()["reasons"] == ["the gateway is stopping"]
        refused = await one.post("too late")
        assert refused.status_code == 503 and refused.headers["retry-after"]


async def test_below_the_disk_floor_no_new_run_starts(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        await one.made("before")
    async with house(tmp_path, storage={"free_space_floor": "900TB"}) as full:
        refused = await full.post("after")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "service_unavailable"
        assert refused.headers["retry-after"] == "60"
        assert "hit" in (await full.post("before")).headers["cache-status"]
        assert (await full.client.get("/readyz")).status_code == 503
        assert (await full.client.get("/readyz?local")).status_code == 503
        assert full.sandbox.state.submits == 0


async def test_a_floor_of_nothing_is_none_of_ours_and_not_that_nobody_looks(tmp_path: Path) -> None:
    """What may find no room for its picture is not ordered: it would be paid all the same."""
    full = {"free_space_floor": 0, "picture_limit": "900TB"}
    async with house(tmp_path, storage=full) as one:
        refused = await one.post("after")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        assert "picture store is nearly full" in refused.json()["error"]["message"]
        unready = await one.client.get("/readyz")
        assert unready.status_code == 503
        assert unready.json()["reasons"] == [
            "free disk space is below storage.picture_limit, which a picture may take"
        ]
        told = await one.client.get("/metrics")
        assert "\ngateway_free_floor_bytes 9e+14\n" in told.text
        assert one.sandbox.state.submits == 0


async def test_metrics_are_for_loopback_or_a_key(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        assert (await one.client.get("/metrics")).status_code == 200
        behind = await one.client.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"})
        assert behind.status_code == 403
        admin = {"X-Forwarded-For": "8.8.8.8", "Authorization": "Bearer admin-key"}
        assert (await one.client.get("/metrics", headers=admin)).status_code == 200


async def test_stopping_ends_what_is_in_flight(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        slow = [asyncio.create_task(one.post(f"late {i} [sandbox:delay=0.2]")) for i in range(5)]
        await asyncio.sleep(0.05)
        one.gateway.stop_taking()
        answers = await asyncio.gather(*slow)
        assert {answer.status_code for answer in answers} <= {200, 503}
        await one.http.stop(5)
        await one.gateway.stop(5)
        ids = [answer.json()["id"] for answer in answers if answer.status_code == 200]
        sandbox = one.sandbox
        from house import opened

        again = await opened(sandbox, tmp_path)
        for task_id in ids:
            assert (await again.ended(task_id))["status"] == "completed"
        await again.stop()
