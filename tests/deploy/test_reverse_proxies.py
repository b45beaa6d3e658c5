"""What a client finds behind nginx, Caddy and haproxy: the gateway whole, and no more than that.

Each test runs behind all, as they are set up for one gateway (at the root of a site and below a
path of another one) and for three, which here are one and the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import pytest_asyncio
import trustme
from house import ADMIN_KEY, TEAM_KEY, House, house
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from PIL import Image
from processes import free_port
from proxies import BELOW, FOR_ONE, FOR_THREE, FROM, NEIGHBOUR, OUTSIDE, PROXIES, Front, Site, proxy
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.serving import InProcessServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "gpt-image-1.5"
SITES = [*(Site(name) for name in PROXIES), *(Site(name, BELOW) for name in FOR_ONE)]
TEAM = {"Authorization": f"Bearer {TEAM_KEY}"}
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
SHUT = "Operators reach this from inside the network only."


@dataclass(frozen=True)
class Town:
    """A gateway behind a proxy, and a client that only knows the proxy."""

    house: House
    front: Front
    client: httpx.AsyncClient

    @property
    def path(self) -> str:
        return self.front.site.path

    async def ask(self, path: str, *lines: str, body: bytes = b"") -> tuple[int, str]:
        """One request as it is written, its path untouched by any client → status and the rest."""
        head = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *lines]
        return told(await self.front.raw("\r\n".join([*head, "", ""]).encode() + body))


def told(answer: bytes) -> tuple[int, str]:
    """Of the last of the answers: before it, a client may be told to go on."""
    while answer.startswith(b"HTTP/1.1 100"):
        answer = answer.partition(b"\r\n\r\n")[2]
    assert answer, "closed without an answer"
    return int(answer.split(b" ", 2)[1]), answer.decode("utf-8", "replace")


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=SITES, ids=lambda site: site.proxy + site.path
)
async def town(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: trustme.CA,
) -> AsyncIterator[Town]:
    site: Site = request.param
    folder = tmp_path_factory.mktemp("proxy")
    async with house(folder / "data", server={"public_url": site.base}) as one:
        address = one.http.base_url.removeprefix("http://")
        async with (
            proxy(site, [address], folder / "proxy", authority) as front,
            httpx.AsyncClient(base_url=site.base, verify=front.trust) as client,
        ):
            yield Town(one, front, client)


# --- clients' orders -----------------------------------------------------------------------------


async def ordered(town: Town, prompt: str) -> str:
    """A picture's permanent link, by an order that waits."""
    body = {"model": MODEL, "prompt": prompt}
    headers = {**TEAM, "Prefer": "wait=20"}
    answer = await town.client.post("/v1/images/generations", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["preference-applied"] == "wait=20"
    (link,) = answer.json()["results"]
    return str(link)


async def test_an_order_waits_and_its_link_leads_through_the_proxy(town: Town) -> None:
    link = await ordered(town, "a red bicycle")
    assert link.startswith(f"{town.front.site.base}/pictures/")
    whole = await town.client.get(link, headers={"Accept-Encoding": "gzip"})
    assert whole.content.startswith(b"\x89PNG")
    assert "content-encoding" not in whole.headers
    head = await town.client.head(link)
    assert int(head.headers["content-length"]) == len(whole.content)
    part = await town.client.get(link, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    tag = whole.headers["etag"]
    assert (await town.client.get(link, headers={"If-None-Match": tag})).status_code == 304


@contextlib.asynccontextmanager
async def sdk_at(front: Front, **more: Any) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client, behind the proxy."""
    async with DefaultAsyncHttpxClient(verify=front.trust) as client:
        base = f"{front.site.base}/openai/v1"
        yield AsyncOpenAI(api_key=TEAM_KEY, base_url=base, http_client=client, **more)


def noise(mebibytes: int) -> bytes:
    """A picture of about this size, which no compression makes smaller."""
    width, height = 1024, mebibytes * 1024 // 3
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(
        file, "PNG", compress_level=0
    )
    return file.getvalue()


async def test_a_large_edit_passes(town: Town) -> None:
    large = noise(12)
    assert len(large) > 12_000_000
    async with sdk_at(town.front) as sdk:
        made = await sdk.images.edit(model=MODEL, image=("in.png", large), prompt="bluer")
    assert len(made.data or ()) == 1
    assert large in [one.content for one in town.house.sandbox.state.files.newest_first()]


async def test_a_file_goes_up_while_it_comes_in(town: Town) -> None:
    files = {"file": ("cat.png", noise(2), "image/png")}
    answer = await town.client.post("/api/v1/files/upload/stream", files=files, headers=TEAM)
    assert answer.status_code == 200, answer.text


async def test_a_body_too_large_is_refused_before_it_comes(town: Town) -> None:
    """By the proxy in the gateway's shape, or by the gateway itself."""
    path = f"{town.path}/api/v1/files/upload/stream"
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Authorization: Bearer {TEAM_KEY}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {300 * 1024 * 1024}",
    )
    reader, writer = await town.front.connect()
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(10):
        status, text = told(await reader.readuntil(b"\r\n\r\n"))
    writer.close()
    assert status == 413
    assert "content-type: application/json" in text.lower()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_an_sdk_waits_longer_than_proxies_usually_do(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """A minute is nginx's own patience. Behind all at a time, since waiting costs nothing."""

    async def waited(name: str, address: str) -> None:
        site = Site(name)
        async with (
            proxy(site, [address], tmp_path / name, authority) as front,
            sdk_at(front, timeout=100, max_retries=0) as sdk,
        ):
            prompt = f"behind {name} [sandbox:delay=65]"
            made = await sdk.images.generate(model=MODEL, prompt=prompt)
        assert len(made.data or ()) == 1

    async with house(tmp_path / "data", models={MODEL: {"deadline": "120s"}}) as one:
        address = one.http.base_url.removeprefix("http://")
        await asyncio.gather(*(waited(name, address) for name in PROXIES))


# --- who may see what ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/%6Detrics",
        "/%2Fmetrics",
        "/.//metrics?x=1",
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/v1/..%2fmetrics",
        "/METRICS",
        "/admin",
        "/admin/v1/health",
        "//admin//v1/health",
        "/%61dmin/v1/health",
        "/v1/../Admin/v1/health",
    ],
)
async def test_operators_pages_are_shut_outside(town: Town, path: str) -> None:
    """Even with an operator's key, however the address is written and wherever it is said to be."""
    for lines in ((), ("X-Forwarded-For: 10.0.0.1",), ("X-Real-IP: 127.0.0.1",)):
        key = f"Authorization: Bearer {ADMIN_KEY}"
        status, text = await town.ask(town.path + path, f"{FROM}: {OUTSIDE}", key, *lines)
        assert status == 403, text
        assert json.loads(re.findall(r"\{.*\}", text)[0])["error"]["message"] == SHUT


async def test_no_way_leads_around_the_path(town: Town) -> None:
    """What only begins elsewhere reaches nothing, or is shut as well."""
    for way in ("/x/..", "//", "/.", "/x/%2e%2e", "/%69mages/..", "/images/..", "/x/..%2f"):
        for page in ("/metrics", "/admin/v1/health"):
            key = f"Authorization: Bearer {ADMIN_KEY}"
            status, text = await town.ask(f"{way}{town.path}{page}", f"{FROM}: {OUTSIDE}", key)
            answered_by_gateway = "x-request-id" in text.lower()
            assert status in (400, 403, 404) or not answered_by_gateway, f"{way}: {text}"


async def test_the_rest_of_the_site_is_left_alone(town: Town) -> None:
    """Below a path, another program's /admin is not the gateway's to shut."""
    if not town.path:
        return
    for page in ("/admin", "/admin/v1/health", "/metrics", "/administration"):
        _, text = await town.ask(page, f"{FROM}: {OUTSIDE}")
        assert SHUT not in text and "x-request-id" not in text.lower(), text


@pytest.mark.parametrize("path", ["/metrics", "/admin/v1/health"])
async def test_inside_they_want_a_key(town: Town, path: str) -> None:
    for where in ({}, {FROM: NEIGHBOUR}, {FROM: "fd00::7"}):
        opened = await town.client.get(path, headers={**ADMIN, **where})
        assert opened.status_code == 200, opened.text
        shut = await town.client.get(path, headers=where)
        assert shut.status_code in (401, 403)
        assert SHUT not in shut.text


async def test_all_else_is_open_outside(town: Town) -> None:
    for path in ("/healthz", "/console", "/console/admin.css", "/docs", "/openapi.json"):
        answer = await town.client.get(path, headers={FROM: OUTSIDE})
        assert answer.status_code == 200, path
    models = await town.client.get("/v1/models", headers={**TEAM, FROM: OUTSIDE})
    assert models.status_code == 200


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["/console", "/docs"])
async def test_a_page_finds_its_files(town: Town, page: str) -> None:
    answer = await town.client.get(page)
    for name in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
        file = await town.client.get(str(answer.url.join(name)))
        assert file.status_code == 200, name
        kept = await town.client.get(file.url, headers={"If-None-Match": file.headers["etag"]})
        assert kept.status_code == 304


async def test_redirects_stay_on_the_site(town: Town) -> None:
    for path in ("/", "/console/", *([""] if town.path else [])):
        answer = await town.client.get(town.front.site.base + path, headers={"Accept": "text/html"})
        assert answer.is_redirect
        there = answer.url.join(answer.headers["location"])
        assert str(there).startswith(town.front.site.base)


async def test_what_is_described_is_where_it_says(town: Town) -> None:
    described = (await town.client.get("/openapi.json")).json()
    assert described["servers"] == [{"url": town.front.site.base}]
    unknown = await town.client.post("/images/generations", json={}, headers=TEAM)
    assert f"{town.front.site.base}/openai/v1" in unknown.json()["error"]["message"]


# --- how clients speak ---------------------------------------------------------------------------


async def test_bodies_come_in_any_way(town: Town) -> None:
    """Chunk by chunk, asked for first, slowly, by an old client."""
    body = json.dumps({"model": MODEL, "prompt": "in any way"}).encode()
    path = f"{town.path}/v1/images/generations"
    lines = [
        "Host: 127.0.0.1",
        f"Authorization: Bearer {TEAM_KEY}",
        "Content-Type: application/json",
    ]
    sized = f"Content-Length: {len(body)}"
    ways = {
        "1.1 chunked": ["Transfer-Encoding: chunked", "Connection: close"],
        "1.1 asked": [sized, "Expect: 100-continue", "Connection: close"],
        "1.1 large head": [sized, f"X-Large: {'x' * 6000}", "Connection: close"],
        "1.0 old": [sized],
    }
    for way, more in ways.items():
        head = "\r\n".join([f"POST {path} HTTP/{way[:3]}", *lines, *more, "", ""]).encode()
        reader, writer = await town.front.connect()
        writer.write(head)
        await writer.drain()
        if "asked" in way:
            async with asyncio.timeout(10):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        half = len(body) // 2
        for part in (body[:half], body[half:]):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if "chunked" in way else part)
            await writer.drain()
            await asyncio.sleep(0.2)
        if "chunked" in way:
            writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(20):
            status, text = told(await reader.read())
        writer.close()
        assert status == 200, f"{way}: {text}"
    assert town.house.sandbox.state.submits_by_prompt["in any way"] == 1


async def test_they_speak_http_2(town: Town) -> None:
    town.front.trust.set_alpn_protocols(["h2", "http/1.1"])
    try:
        _, writer = await town.front.connect()
        spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
    finally:
        town.front.trust.set_alpn_protocols(["http/1.1"])
    assert spoken == "h2"


# --- a gateway that is away ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PROXIES)
async def test_a_gateway_that_restarts_is_told_so(
    name: str, tmp_path: Path, authority: trustme.CA
) -> None:
    async with (
        proxy(Site(name), [f"127.0.0.1:{free_port()}"], tmp_path, authority) as front,
        httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
    ):
        answer = await client.post("/v1/images/generations", json={}, headers=TEAM)
    if name == "caddy-three":  # it has no words for a second error, see the file
        assert (answer.status_code, answer.content) == (503, b"")
        return
    assert answer.status_code == (503 if name == "haproxy" else 502)
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["error"]["code"] == "gateway_unreachable"


@pytest.mark.parametrize("name", PROXIES)
async def test_an_order_whose_answer_is_lost_is_not_sent_again(
    name: str, tmp_path: Path, authority: trustme.CA
) -> None:
    orders = 0

    async def lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal orders
        with contextlib.suppress(asyncio.IncompleteReadError):  # a probe, which has no body
            await reader.readuntil(b"}")
            orders += 1
        writer.close()

    server = await asyncio.start_server(lost, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        proxy(Site(name), [f"127.0.0.1:{port}"], tmp_path, authority) as front,
        httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
    ):
        headers = {**TEAM, "Idempotency-Key": "one"}
        answer = await client.post("/v1/images/generations", json={"n": 1}, headers=headers)
        assert (answer.status_code, orders) == (502, 1)


@pytest.mark.parametrize("name", FOR_THREE)
async def test_where_none_is_ready_those_that_live_say_why(
    name: str, tmp_path: Path, authority: trustme.CA
) -> None:
    """A ledger that is away makes all unready: pictures are answered all the same."""
    async with house(tmp_path / "data", storage={"free_space_floor": "900TB"}) as one:
        address = one.http.base_url.removeprefix("http://")
        async with (
            proxy(Site(name), [address], tmp_path / "proxy", authority) as front,
            httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
        ):
            for _ in range(3):
                assert (await client.get("/readyz")).status_code == 503
                assert (await client.get("/v1/models", headers=TEAM)).status_code == 200
                body = {"model": MODEL, "prompt": "into a full disk"}
                refused = await client.post("/v1/images/generations", json=body, headers=TEAM)
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == "service_unavailable"
                assert refused.headers["retry-after"] == "60"
                await asyncio.sleep(0.3)  # by now all have been asked whether they are ready


@pytest.mark.parametrize("name", FOR_THREE)
async def test_gateways_that_are_slow_for_a_moment_are_not_dead(
    name: str, tmp_path: Path, authority: trustme.CA
) -> None:
    """A busy machine answers a probe later than the next one is due."""

    async def slow(_: Request) -> JSONResponse:
        await asyncio.sleep(0.8)
        return JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", slow)])
    async with (
        InProcessServer(app).running() as gateway,
        proxy(Site(name), [f"127.0.0.1:{gateway.bound_port}"], tmp_path, authority) as front,
        httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
    ):
        for _ in range(4):  # by the second, each of them was probed
            answer = await client.get("/v1/models", headers=TEAM)
            assert (answer.status_code, answer.content) == (200, b"{}")
