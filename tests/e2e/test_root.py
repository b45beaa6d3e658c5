"""The address that people type: it leads a browser to the console, and tells a program the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
import pytest_asyncio
from house import House
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.serving import InProcessServer
from gateway.web.root import prefers_pages

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROWSERS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "text/html, */*",
    "application/json;q=0.5, text/html",
)
PROGRAMS = (
    "",
    "*/*",
    "application/json",
    "application/json, text/plain, */*",
    "application/json, text/html;q=0.5",
    "text/html;q=0, */*",
    "text/html;q=nonsense, */*",
    "text/*",
    "image/png",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def below(shared_house: House) -> AsyncIterator[str]:
    """The gateway behind a proxy that serves it at `/images/`; its address there."""
    inside = shared_house.client

    async def passed_on(request: Request) -> Response:
        headers = {"Accept": request.headers["accept"]}
        got = await inside.get(f"/{request.path_params['path']}", headers=headers)
        return Response(got.content, got.status_code, headers=dict(got.headers))

    server = InProcessServer(Starlette(routes=[Route("/images/{path:path}", passed_on)]))
    await server.start()
    yield f"{server.base_url}/images/"
    await server.stop(1)


@pytest.mark.parametrize("accept", BROWSERS)
async def test_a_browser_is_led_to_the_console(shared_house: House, accept: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await shared_house.client.request(method, "/", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["location"]) == (307, "console")
        assert answer.headers["vary"] == "Accept" and not answer.content


@pytest.mark.parametrize("accept", PROGRAMS)
async def test_a_program_is_told_where_things_are(shared_house: House, accept: str) -> None:
    client = shared_house.client
    answer = await client.get("/", headers={"Accept": accept})
    assert answer.status_code == 200
    base, told = str(client.base_url).rstrip("/"), answer.json()
    assert told["name"] == "image-gateway"
    assert (told["docs"], told["console"]) == (f"{base}/docs", f"{base}/console")
    assert (told["api"], told["openai"]) == (f"{base}/v1", f"{base}/openai/v1")
    head = await client.head("/", headers={"Accept": accept})
    assert head.status_code == 200 and not head.content
    assert not prefers_pages(accept)


async def test_it_leads_there_below_a_path_as_well(below: str) -> None:
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        for address in (below, f"{below}console/", f"{below}console"):
            page = await browser.get(address, headers={"Accept": BROWSERS[0]})
            assert (page.status_code, str(page.url)) == (200, f"{below}console")
            assert "<html" in page.text
        page = await browser.get(f"{below}docs/", headers={"Accept": BROWSERS[0]})
        assert (page.status_code, str(page.url)) == (200, f"{below}docs")


async def test_nothing_else_is_taken_there(shared_house: House) -> None:
    answer = await shared_house.client.post("/", json={})
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"
    for path in ("/v1", "/index.html"):
        answer = await shared_house.client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404
