"""What clients get wrong about an address, a key or a page, and what stands between them and us."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from house import ADMIN_KEY, TEAM_KEY, House, house
from sdk import MODEL, sdk

from gateway.web.edge import folded
from gateway.web.monitoring import takes_gzip

TEAM = {"Authorization": f"Bearer {TEAM_KEY}"}
PAGE = "https://app.example.com"


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/models", "/v1/models"),
        ("//v1/models", "/v1/models"),
        ("/v1//models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models//", "/v1/models"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1//v1/models/", "/v1/models"),
        ("///v1///v1///v1/models", "/v1/models"),
        ("/openai/v1/v1/models", "/openai/v1/models"),
        ("/openai//v1/models/", "/openai/v1/models"),
        ("/v1", "/v1"),
        ("/", "/"),
        ("//", "/"),
        ("/console/", "/console/"),
        ("/v1x/v1/models", "/v1x/v1/models"),
        ("/v1/v1x", "/v1/v1x"),
    ],
)
def test_doubles_in_a_path_are_taken_for_one(path: str, meant: str) -> None:
    assert folded(path) == meant


async def test_a_base_url_with_a_slash_works(a_house: House) -> None:
    base, body = a_house.http.base_url, {"model": "gpt-image-1.5", "prompt": "slashes"}
    for path in ("//v1/images/generations", "/v1//v1/images/generations/"):
        answer = await a_house.client.post(f"{base}{path}", json=body, headers=TEAM)
        assert answer.status_code == 200, path
    task_id = answer.json()["id"]
    polled = await a_house.client.get(f"{base}//v1/tasks//{task_id}/", headers=TEAM)
    assert polled.json()["id"] == task_id and not polled.history
    counted = 'gateway_http_requests_total{method="GET",route="/v1/tasks/{task_id}",status="200"}'
    assert (await a_house.metrics())[counted] == 1


# --- OpenAI's clients ----------------------------------------------------------------------------


async def test_openais_client_at_the_wrong_base_pays_nothing(a_house: House) -> None:
    for base in ("/v1", "/v1/"):
        async with sdk(a_house) as client:
            client.base_url = httpx.URL(f"{a_house.http.base_url}{base}")
            with pytest.raises(openai.BadRequestError) as caught:
                await client.images.generate(model=MODEL, prompt="lost")
        assert caught.value.code == "wrong_base_url"
        assert f"{a_house.gateway.settings.server.links_base(0).rpartition(':')[0]}" in str(caught)
        assert "/openai/v1" in caught.value.message
    assert a_house.sandbox.state.submits == 0


async def test_an_operator_may_let_it_through(tmp_path: Path) -> None:
    async with house(tmp_path, server={"openai_sdk_on_v1": True}) as one:
        answer = await one.post("raw", headers={"X-Stainless-Lang": "python"})
        assert answer.status_code == 200


async def test_an_unknown_path_for_pictures_names_the_right_base(a_house: House) -> None:
    for path in ("/images/generations", "/openai/images/edits", "/api/v1/images/generations"):
        answer = await a_house.client.post(path, headers=TEAM)
        assert answer.status_code == 404
        assert "/openai/v1." in answer.json()["error"]["message"], path
    assert "/openai/v1" not in (await a_house.client.get("/nowhere")).text


async def test_a_wait_that_a_stop_ends_says_when_to_come_again(a_house: House) -> None:
    waiting = asyncio.create_task(
        a_house.client.post(
            "/openai/v1/images/generations",
            json={"model": MODEL, "prompt": "stopped [sandbox:delay=30]"},
            headers=TEAM,
        )
    )
    while a_house.sandbox.state.submits == 0:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    a_house.gateway.stop_taking()
    answer = await asyncio.wait_for(waiting, 5)
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "still_running"
    assert 5 <= int(answer.headers["retry-after"]) <= 10


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "No API key"),
        ({"X-Api-Key": TEAM_KEY}, "A key in 'x-api-key' is not looked at"),
        ({"api-key": TEAM_KEY}, "A key in 'api-key' is not looked at"),
        ({"Authorization": TEAM_KEY}, "does not have the form 'Bearer <key>'"),
        ({"Authorization": f"Token {TEAM_KEY}"}, "does not have the form 'Bearer <key>'"),
        ({"Authorization": "Bearer"}, "does not have the form 'Bearer <key>'"),
        ([("Authorization", f"Bearer {key}") for key in (TEAM_KEY, ADMIN_KEY)], "more than once"),
        ([("Authorization", f"Bearer {key}") for key in ("old", TEAM_KEY)], "more than once"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_in_the_wrong_place_is_told_the_right_one(
    shared_house: House, headers: dict[str, str] | list[tuple[str, str]], said: str
) -> None:
    answer = await shared_house.client.get("/v1/models", headers=headers)
    message = answer.json()["error"]["message"]
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert said in message and "'Authorization: Bearer <key>'" in message
    assert TEAM_KEY not in message


@pytest.mark.parametrize("again", [f"Bearer {TEAM_KEY}", f"bearer  {TEAM_KEY}", ""])
@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_key_twice_is_one(shared_house: House, again: str) -> None:
    twice = [("Authorization", again), ("Authorization", f"Bearer {TEAM_KEY}")]
    assert (await shared_house.client.get("/v1/models", headers=twice)).status_code == 200


# --- pages in browsers ---------------------------------------------------------------------------


async def test_every_page_may_read_pictures(a_house: House) -> None:
    (link,) = (await a_house.made("for pages"))["results"]
    missing = link.replace(".png", ".webp")
    etag = (await a_house.client.get(link)).headers["etag"]
    asked = {
        "whole": (await a_house.client.get(link), 200),
        "from a page": (await a_house.client.get(link, headers={"Origin": PAGE}), 200),
        "head": (await a_house.client.head(link), 200),
        "part": (await a_house.client.get(link, headers={"Range": "bytes=0-3"}), 206),
        "beyond": (await a_house.client.get(link, headers={"Range": "bytes=99999999-"}), 416),
        "unchanged": (await a_house.client.get(link, headers={"If-None-Match": etag}), 304),
        "missing": (await a_house.client.get(missing), 404),
        "method": (await a_house.client.post(link), 405),
        "preflight": (
            await a_house.client.options(
                link, headers={"Origin": PAGE, "Access-Control-Request-Method": "GET"}
            ),
            204,
        ),
    }
    for what, (answer, status) in asked.items():
        assert answer.status_code == status, what
        assert answer.headers["access-control-allow-origin"] == "*", what
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ETag", "Content-Length", "Content-Range"} <= set(exposed.split(", ")), what
        assert "access-control-allow-credentials" not in answer.headers, what
    assert asked["preflight"][0].headers["access-control-allow-headers"] == "*"


def preflight(house: House, origin: str) -> object:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, prefer",
    }
    return house.client.options("/v1/images/generations", headers=headers)


async def test_only_named_pages_may_call_the_api(tmp_path: Path) -> None:
    async with house(tmp_path, server={"cors_origins": [PAGE, "http://localhost:3000/"]}) as one:
        for origin in (PAGE, "http://localhost:3000"):
            asked = await preflight(one, origin)  # type: ignore[misc]
            assert asked.status_code == 200
            assert asked.headers["access-control-allow-origin"] == origin
            allowed = asked.headers["access-control-allow-headers"]
            assert "authorization" in allowed and "prefer" in allowed
            for answer in (
                await one.post("named", headers={"Origin": origin}),
                await one.post("named", key="wrong", headers={"Origin": origin}),
                await one.client.get("/nowhere", headers={"Origin": origin}),
            ):
                assert answer.headers["access-control-allow-origin"] == origin
                assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
                assert "Origin" in answer.headers["vary"]
        for origin in (
            "https://evil.example",
            "null",
            f"{PAGE}.evil.example",
            "http://app.example.com",
        ):
            asked = await preflight(one, origin)  # type: ignore[misc]
            assert "access-control-allow-origin" not in asked.headers
            answer = await one.post("named", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers


async def test_without_named_pages_the_api_says_nothing_of_them(a_house: House) -> None:
    asked = await preflight(a_house, PAGE)  # type: ignore[misc]
    answer = await a_house.post("unnamed", headers={"Origin": PAGE})
    assert asked.status_code == 405
    for one in (asked, answer):
        assert not [name for name in one.headers if name.startswith("access-control")]


# --- metrics -------------------------------------------------------------------------------------


async def test_a_published_gateway_shows_its_metrics_to_keys_only(tmp_path: Path) -> None:
    """A proxy on this machine sends no forwarding header unless it is told to."""
    async with house(tmp_path, server={"public_url": "https://images.example.org"}) as one:
        assert (await one.client.get("/metrics")).status_code == 403
        assert (await one.client.get("/metrics", headers=TEAM)).status_code == 403
        admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
        assert (await one.client.get("/metrics", headers=admin)).status_code == 200


@pytest.mark.parametrize("host", ["images.example.org", "10.0.0.5:8080", "gateway", "[", ""])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_foreign_host_is_no_caller_on_this_machine(shared_house: House, host: str) -> None:
    answer = await shared_house.client.get("/metrics", headers={"Host": host})
    assert answer.status_code == 403
    assert "server.metrics_keys" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8080", "[::1]:8080"])
@pytest.mark.asyncio(loop_scope="module")
async def test_this_machine_by_any_name_may_scrape(shared_house: House, host: str) -> None:
    assert (await shared_house.client.get("/metrics", headers={"Host": host})).status_code == 200


async def test_a_scrape_is_small_and_zipped(a_house: House) -> None:
    plain = await a_house.client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(plain.content) < 500_000
    url = f"{a_house.http.base_url}/metrics"
    async with a_house.client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        zipped = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    assert len(zipped) < len(plain.content) / 8
    assert b"gateway_http_request_seconds_bucket" in gzip.decompress(zipped)


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=1.000", True),
        ("x-gzip", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
    ],
)
def test_who_takes_gzip(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
