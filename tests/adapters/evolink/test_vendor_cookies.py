"""Calls to the vendor share nothing: no cookie of an answer comes back with the next call."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.adapters.evolink.files import EvolinkFiles
from gateway.adapters.outbound.vendor import VendorAccount
from gateway.serving import InProcessServer


async def test_a_cookie_of_the_file_host_is_not_kept() -> None:
    seen: list[str | None] = []

    async def quota(request: Request) -> Response:
        seen.append(request.headers.get("cookie"))
        answer = {"success": True, "code": 200, "data": {}}
        return JSONResponse(answer, headers={"Set-Cookie": "a=b; Path=/"})

    app = Starlette(routes=[Route("/api/v1/files/quota", quota)])
    async with InProcessServer(app).running() as server:
        account = VendorAccount(server.base_url, "sk-key", "test", 100)
        files = EvolinkFiles(account, connect_seconds=5.0)
        await files.quota(folder="")
        await files.quota(folder="")
        await files.aclose()
    assert seen == [None, None]
