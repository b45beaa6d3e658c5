"""References that the gateway looks at itself: proven pictures, counted by their bytes."""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import stores
from house import TEAM_KEY, House, house, settings_text
from pace import slowness
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.config import parse
from gateway.core.addresses import Address, parse_address
from gateway.core.buckets import MARKER
from gateway.services import references
from gateway.serving import InProcessServer
from gateway.wiring import Outside

NOISE = random.Random(5)
FETCH = {"blue": {"references": "fetch"}}


def picture(kind: str = "PNG", side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), NOISE.randbytes(side * side * 3)).save(file, kind)
    return file.getvalue()


class Host:
    """A picture host of somebody else's: `content` by path, and how often each was asked for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.now = self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.base_url = ""

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.open.wait()
        finally:
            self.now -= 1
        if path.startswith("/to/"):
            return RedirectResponse(request.query_params["url"], 302)
        if path.startswith("/endless"):
            return StreamingResponse(self._endless(), media_type="image/png")
        if path not in self.content:
            return Response(status_code=404)
        return Response(self.content[path], media_type="image/png")

    async def busy(self, count: int) -> None:
        """Returns once so many wait for an answer at the same time."""
        async with asyncio.timeout(10):
            while self.now < count:
                await asyncio.sleep(0.01)

    async def _endless(self) -> AsyncIterator[bytes]:
        yield picture()
        for _ in range(1200):
            yield bytes(50_000)

    def add(self, path: str, content: bytes) -> str:
        self.content[path] = content
        return self.base_url + path


@asynccontextmanager
async def hosted() -> AsyncIterator[Host]:
    host = Host()
    app = Starlette(routes=[Route("/{path:path}", host.answer)])
    async with InProcessServer(app).running() as server:
        host.base_url = server.base_url
        yield host


@asynccontextmanager
async def both(folder: Path, **changes: Any) -> AsyncIterator[tuple[House, Host]]:
    changes = {"teams": FETCH, "references": {"allow_private_addresses": True}, **changes}
    async with hosted() as host, house(folder, **changes) as one:
        yield one, host


async def refused(one: House, *urls: str, param: str = "image_urls[0]") -> str:
    """The message of the refusal that names `param`; nothing else has happened."""
    answer = await one.post(image_urls=list(urls))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param), error
    return str(error["message"])


async def test_equal_bytes_are_the_same_order_wherever_they_lie(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        content = picture()
        urls = [host.add(f"/{n}.png", content) for n in range(3)]
        made = await one.made(image_urls=[urls[0]])
        for url in urls[1:]:
            hit = await one.post(image_urls=[url])
            assert "hit" in hit.headers["cache-status"]
            assert hit.json()["results"] == made["results"]
        host.add("/other.png", picture())
        miss = await one.post(image_urls=[f"{host.base_url}/other.png"])
        assert "fwd=miss" in miss.headers["cache-status"]
        await one.settled()
        assert await one.violations() == []


async def test_another_picture_under_the_same_link_is_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(tmp_path) as (one, host):
        url = host.add("/a.png", picture())
        await one.made(image_urls=[url])
        monkeypatch.setattr(references, "MEMO_SECONDS", 0.0)
        host.add("/b.png", host.content["/a.png"])
        url = host.base_url + "/b.png"
        assert "hit" in (await one.post(image_urls=[url])).headers["cache-status"]
        host.add("/b.png", picture())
        miss = await one.post(image_urls=[url])
        assert "fwd=miss" in miss.headers["cache-status"]
        await one.settled()


async def test_trust_looks_behind_no_link(tmp_path: Path) -> None:
    async with both(tmp_path, teams={}) as (one, host):
        await one.made(image_urls=[f"{host.base_url}/nothing.png"])
        assert host.asked == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_each_kind_of_picture_is_taken(tmp_path: Path, kind: str) -> None:
    async with both(tmp_path) as (one, host):
        url = host.add("/some", picture(kind))
        await one.made(image_urls=[url])
        assert host.asked == ["/some"]


async def test_what_is_no_whole_picture_is_refused_by_its_place(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        good = host.add("/good.png", picture())
        whole = picture(side=200)
        gif = io.BytesIO()
        Image.new("P", (8, 8)).save(gif, "GIF")
        bodies = {
            "/page.png": b"<!doctype html><title>Sign in</title>",
            "/cut.png": whole[: len(whole) // 2],
            "/cut.jpg": picture("JPEG", 200)[:2000],
            "/tail.png": whole[:-8],
            "/gif.png": gif.getvalue(),
            "/empty.png": b"",
        }
        for path, body in bodies.items():
            said = await refused(one, good, host.add(path, body), param="image_urls[1]")
            assert "not a whole JPEG, PNG or WebP" in said, path
        said = await refused(one, good, host.base_url + "/gone.png", param="image_urls[1]")
        assert "nothing can be fetched" in said
        assert "more than 50 MB" in await refused(one, host.base_url + "/endless.png")
        host.add("/large.png", bytes(60_000_000))
        assert "more than 50 MB" in await refused(one, host.base_url + "/large.png")
        down = "http://127.0.0.1:1/a.png"
        assert "could not be fetched" in await refused(one, down)
        assert one.sandbox.state.tasks == {}
        assert sum((await one.gateway.ledger.run_counts()).values()) == 0
        assert stores.kept(tmp_path) == [MARKER]
        assert (await one.metrics())[
            'gateway_orders_total{model="gpt-image-1.5",team="blue",verdict="invalid"}'
        ] == 10


INTERNAL = [
    "http://127.0.0.1/a.png",
    "http://127.1/a.png",
    "http://2130706433/a.png",
    "http://0x7f.0.0.1/a.png",
    "http://0177.0.0.1/a.png",
    "http://localhost/a.png",
    "http://localhost./a.png",
    "http://[::1]/a.png",
    "http://[::ffff:127.0.0.1]/a.png",
    "http://[::ffff:7f00:1]/a.png",
    "http://[64:ff9b::7f00:1]/a.png",
    "http://0.0.0.0/a.png",
    "http://10.1.2.3/a.png",
    "http://172.16.0.1/a.png",
    "http://192.168.1.1/a.png",
    "http://100.64.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/a.png",
    "http://[fd00:ec2::254]/a.png",
    "http://[fe80::1]/a.png",
    "http://metadata.google.internal/a.png",
    "http://\uff11\uff12\uff17.0.0.1/a.png",
]


async def test_no_internal_address_is_asked(tmp_path: Path) -> None:
    """What the upstream may reach, which is on loopback here, is no licence for references."""
    async with both(tmp_path, references={}) as (one, host):
        for url in [*INTERNAL, host.add("/a.png", picture())]:
            said = await refused(one, url)
            assert any(
                words in said for words in ("may not call", "must be written", "not allowed")
            )
        assert host.asked == []


async def test_an_internal_address_does_not_tell_what_is_there(tmp_path: Path) -> None:
    async with both(tmp_path, references={}) as (one, host):
        host.add("/page.png", b"<!doctype html>")
        picture_there = host.add("/a.png", picture())
        nobody = "http://127.0.0.1:1/a.png"
        links = (picture_there, f"{host.base_url}/page.png", f"{host.base_url}/none.png", nobody)
        assert len({await refused(one, link) for link in links}) == 1
        assert host.asked == []


async def test_a_name_that_leads_inside_is_not_asked(tmp_path: Path) -> None:
    inside = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
    names = {f"n{number}.example": [text] for number, text in enumerate(inside)}
    names["mixed.example"] = ["93.184.216.34", "192.168.1.1"]

    def ask(name: str) -> list[Address]:
        return [parse_address(text) for text in names[name]]

    changes = {"references": {}, "outside": Outside(ask=ask)}
    async with both(tmp_path, **changes) as (one, host):
        port = host.base_url.rpartition(":")[2]
        said = {await refused(one, f"http://{name}:{port}/a.png") for name in names}
        assert [sentence for sentence in said if "may not call" not in sentence] == []
        assert len(said) == 1
        assert host.asked == []


async def test_private_references_are_a_setting_that_a_reload_takes_over(tmp_path: Path) -> None:
    async with both(tmp_path, references={}) as (one, host):
        url = host.add("/a.png", picture())
        await refused(one, url)
        changes = {"teams": FETCH, "references": {"allow_private_addresses": True}}
        new = parse(settings_text(one.sandbox.base_url, one.folder, **changes), {})
        assert one.gateway.reload(new) == []
        await one.made(image_urls=[url])


async def test_a_redirect_leads_to_no_internal_address(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        for url in ("http://169.254.169.254/a", "http://[fe80::1]/a", "file:///etc/passwd"):
            await refused(one, f"{host.base_url}/to/a.png?url={url}")
        fine = host.add("/a.png", picture())
        await one.made(image_urls=[f"{host.base_url}/to/b.png?url={fine}"])


async def test_one_fetch_for_many_orders_and_tries(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        url = host.add("/a.png", picture())
        answers = await asyncio.gather(*(one.post(image_urls=[url, url]) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert host.asked == ["/a.png"]
        await one.settled()
        assert len(one.sandbox.state.tasks) == 1


async def test_fetches_are_bounded_for_a_team_and_in_all(tmp_path: Path) -> None:
    teams = {"blue": FETCH["blue"], "green": FETCH["blue"]}
    async with both(tmp_path, teams=teams) as (one, host):
        urls = [host.add(f"/{n}.png", picture()) for n in range(16)]
        host.open.clear()
        order = asyncio.create_task(one.post(image_urls=urls))
        share = references.FETCHES // 2
        await host.busy(share)
        other = asyncio.create_task(one.post(image_urls=[urls[-1]], key="team-green-key"))
        await host.busy(share + 1)
        host.open.set()
        assert {(await order).status_code, (await other).status_code} == {200}
        assert host.most == share + 1
        assert sorted(host.asked) == sorted([f"/{n}.png" for n in range(16)] + ["/15.png"])
        await one.settled()


async def test_what_hangs_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, patience = references.FETCH_SECONDS, slowness()
    async with both(tmp_path) as (one, host):
        good = host.add("/good.png", picture())
        await one.made(image_urls=[good])
        monkeypatch.setattr(references, "FETCH_SECONDS", patience)
        host.open.clear()
        slow = host.add("/slow.png", picture())
        start = time.monotonic()
        said = await refused(one, good, slow, param="image_urls[1]")
        assert time.monotonic() - start < 5 * patience
        assert "could not be fetched" in said or "did not arrive" in said
        monkeypatch.setattr(references, "FETCH_SECONDS", usual)
        host.open.set()
        await one.made(image_urls=[slow])


async def test_a_mask_is_looked_at_too(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        url, mask = host.add("/a.png", picture()), picture()
        first, second = host.add("/m1.png", mask), host.add("/m2.png", mask)
        await one.made(image_urls=[url], mask_url=first)
        hit = await one.post(image_urls=[url], mask_url=second)
        assert "hit" in hit.headers["cache-status"]
        dead = await one.post(image_urls=[url], mask_url=host.base_url + "/none.png")
        assert (dead.status_code, dead.json()["error"]["param"]) == (400, "mask_url")


async def test_what_was_uploaded_meets_what_was_fetched(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        content = picture()
        answer = await one.client.post(
            "/api/v1/files/upload/stream",
            files={"file": ("a.png", content, "image/png")},
            headers={"Authorization": f"Bearer {TEAM_KEY}"},
        )
        await one.made(image_urls=[answer.json()["data"]["file_url"]])
        hit = await one.post(image_urls=[host.add("/elsewhere.png", content)])
        assert "hit" in hit.headers["cache-status"]


async def test_an_estimate_knows_the_bytes_as_well(tmp_path: Path) -> None:
    async with both(tmp_path) as (one, host):
        content = picture()
        await one.made(image_urls=[host.add("/a.png", content)])
        answer = await one.client.post(
            "/v1/images/estimate",
            json={
                "model": "gpt-image-1.5",
                "prompt": "a red bicycle",
                "image_urls": [host.add("/b.png", content)],
            },
            headers={"Authorization": f"Bearer {TEAM_KEY}"},
        )
        assert answer.json()["verdict"] == "hit", answer.text
