"""Pictures that nginx and Caddy send themselves: the same answers as the gateway's own.

Each stands in front of one gateway twice over: with the lines of `server.hand_over` in its file
switched on, and without them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2 as httpx
import pytest
import pytest_asyncio
import trustme
from house import House, house
from proxies import BELOW, Site, proxy

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.files]

OF_ONE_ANSWER = {"date", "server", "via", "x-request-id", "server-timing", "accept-ranges"}
"""What differs from one answer to the next, or is the proxy's own word."""
SITES = [Site("nginx"), Site("nginx", BELOW), Site("caddy")]
ORIGIN = {"Origin": "https://anywhere.example.org"}


@dataclass(frozen=True)
class Town:
    """A picture of one gateway: sent by a proxy itself, and passed on."""

    house: House
    proxy: str
    name: str
    path: str
    sends: httpx.AsyncClient
    passes: httpx.AsyncClient

    @property
    def file(self) -> Path:
        return self.house.folder / "pictures" / self.name[:2] / self.name

    async def both(self, method: str = "GET", **headers: str) -> list[httpx.Response]:
        return [
            await client.request(method, self.path, headers={**ORIGIN, **headers})
            for client in (self.sends, self.passes)
        ]

    @contextmanager
    def marked(self) -> Iterator[bytes]:
        """The file with other bytes of the same length, which only who reads it can send."""
        bytes_ = self.file.read_bytes()
        self.file.write_bytes(marked := b"sent by whom?".ljust(len(bytes_)))
        try:
            yield marked
        finally:
            self.file.write_bytes(bytes_)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=SITES, ids=lambda site: site.proxy + site.path
)
async def town(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: trustme.CA,
) -> AsyncIterator[Town]:
    site: Site = request.param
    folder = tmp_path_factory.mktemp("handed")
    async with AsyncExitStack() as opened:
        server = {"hand_over": "x-accel-redirect"}
        one = await opened.enter_async_context(house(folder / "data", server=server))
        address = one.http.base_url.removeprefix("http://")
        clients = []
        pictures = one.folder / "pictures"
        for each in (replace(site, pictures=pictures), Site(site.proxy, site.path)):
            place = folder / str(each.port)
            front = await opened.enter_async_context(proxy(each, [address], place, authority))
            client = httpx.AsyncClient(base_url=front.site.base, verify=front.trust)
            clients.append(await opened.enter_async_context(client))
        (link,) = (await one.made())["results"]
        name = link.rpartition("/")[2]
        yield Town(one, site.proxy, name, f"/pictures/{name}", *clients)


def told(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_ONE_ANSWER}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=10-19"},
        {"Range": "bytes=-5"},
        {"If-None-Match": '"another"'},
        {"If-None-Match": "*"},
        {"If-Match": '"another"'},
        {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Accept-Encoding": "gzip, br"},
        {"Accept": "text/html"},
    ],
    ids=str,
)
async def test_it_is_the_answer_of_the_gateway(
    town: Town, method: str, headers: dict[str, str]
) -> None:
    sent, passed = await town.both(method, **headers)
    assert (sent.status_code, sent.content) == (passed.status_code, passed.content)
    assert told(sent) == told(passed)
    assert "accept-ranges" in sent.headers or sent.status_code != 200
    assert [sent.headers.get_list(name) for name in sent.headers] == [
        [sent.headers[name]] for name in sent.headers
    ], "said twice"
    assert "x-request-id" in sent.headers and "server-timing" in sent.headers
    assert sent.headers["access-control-allow-origin"] == "*"


async def test_a_digest_that_is_known_is_not_sent_again(town: Town) -> None:
    tag = f'"{town.name.partition(".")[0]}"'
    sent, passed = await town.both(**{"If-None-Match": tag})
    assert (sent.status_code, sent.content) == (passed.status_code, passed.content) == (304, b"")
    assert told(sent) == told(passed)


async def test_a_part_is_of_the_picture_that_its_asker_has(town: Town) -> None:
    """Which an interrupted download says by its digest."""
    for tag, status in ((town.name.partition(".")[0], 206), ("another", 200)):
        sent, passed = await town.both(**{"If-Range": f'"{tag}"', "Range": "bytes=3-8"})
        assert sent.status_code == passed.status_code == status
        assert sent.content == passed.content


async def test_what_is_not_there_is_not_kept_by_anybody(town: Town) -> None:
    """Nor is what lies behind the end."""
    sent, passed = await town.both(Range="bytes=99999999-")
    assert sent.status_code == passed.status_code == 416
    once = {name: sent.headers.get_list(name) for name in sent.headers if name != "cache-control"}
    assert {len(values) for values in once.values()} == {1}, once
    assert sent.headers["access-control-allow-origin"] == "*"
    assert "no-store" in sent.headers.get("cache-control", "no-store"), sent.headers
    for path in (f"/pictures/{'0' * 64}.png", "/pictures/x.png", "/pictures/../config.yaml"):
        answer = await town.sends.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
        assert answer.json()["error"]


async def test_it_is_the_proxy_that_reads_the_file(town: Town) -> None:
    with town.marked() as marked:
        assert (await town.sends.get(town.path)).content == marked
    asked = {"X-Sendfile-Type": "X-Accel-Redirect"}
    told = await town.house.client.get(town.path, headers=asked)
    assert told.headers["x-accel-redirect"] == f"/kept-pictures/{town.name[:2]}/{town.name}"
    assert told.content == b""
    assert told.headers["vary"] == "X-Sendfile-Type", "a cache would give it to others"


async def test_no_client_hears_of_it_nor_asks_for_it(town: Town) -> None:
    """What a client says of itself is the proxy's to say."""
    for asked in ({}, {"X-Sendfile-Type": "X-Sendfile"}, {"X-Sendfile-Type": ""}):
        for answer in await town.both(**asked):
            assert answer.status_code == 200 and len(answer.content) > 100
            assert not {"x-accel-redirect", "x-sendfile"} & set(answer.headers)


async def test_nothing_of_the_folder_is_reached_from_outside(town: Town) -> None:
    digest = town.name.partition(".")[0]
    inside = f"/kept-pictures/{town.name[:2]}/"
    for name in (town.name, f"{digest}.json", "", "../marker", f"%2e%2e/{town.name}"):
        answer = await town.sends.get(inside + name)
        assert answer.status_code == 404, name
        assert town.file.read_bytes() != answer.content


async def test_who_comes_past_the_proxy_gets_the_picture(town: Town) -> None:
    for headers in ({}, {"X-Sendfile-Type": "X-Sendfile"}):
        answer = await town.house.client.get(town.path, headers=headers)
        assert answer.content == town.file.read_bytes()


async def test_a_folder_that_the_proxy_cannot_read_makes_no_picture_missing(
    town: Town, tmp_path: Path, authority: trustme.CA
) -> None:
    address = town.house.http.base_url.removeprefix("http://")
    site = Site(town.proxy, pictures=tmp_path / "elsewhere")
    async with (
        proxy(site, [address], tmp_path / "proxy", authority) as front,
        httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
    ):
        answer = await client.get(town.path, headers=ORIGIN)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "service_unavailable"
    assert answer.headers["retry-after"] == "30"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_with_x_sendfile_it_is_told_the_place(tmp_path: Path) -> None:
    """As an address, which is how Apache and lighttpd read it."""
    folder = tmp_path / "a folder, 100%"
    async with house(folder, server={"hand_over": "x-sendfile"}) as one:
        (link,) = (await one.made())["results"]
        asked = {"X-Sendfile-Type": "X-Sendfile"}
        told = await one.client.get(httpx.URL(link).path, headers=asked)
        name = link.rpartition("/")[2]
    place = f"{tmp_path}/a%20folder%2C%20100%25/pictures/{name[:2]}/{name}"
    assert (told.headers["x-sendfile"], told.content) == (place, b"")


async def test_nobody_hears_of_places_where_it_is_not_set(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        (link,) = (await one.made())["results"]
        for kind in ("X-Sendfile", "X-Accel-Redirect", "none", "", "None"):
            answer = await one.client.get(link, headers={"X-Sendfile-Type": kind})
            assert len(answer.content) > 100
            assert not {"x-accel-redirect", "x-sendfile", "none"} & set(answer.headers)
