"""Pictures that nginx sends from their files without asking the gateway: the same answers.

What depends on the picture's tag, and what is not there, is still the gateway's to answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
import pytest_asyncio
import trustme
from house import House, house
from proxies import Site, proxy

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.files]

OF_ONE_ANSWER = {"date", "server", "connection", "accept-ranges", "x-request-id", "server-timing"}
ORIGIN = {"Origin": "https://anywhere.example.org"}


@dataclass(frozen=True)
class Town:
    house: House
    path: str
    client: httpx.AsyncClient

    @property
    def file(self) -> Path:
        name = self.path.rpartition("/")[2]
        return self.house.folder / "pictures" / name[:2] / name

    async def both(self, method: str, **headers: str) -> list[httpx.Response]:
        """nginx's answer, and the gateway's own."""
        told = {**ORIGIN, **headers}
        return [
            await self.client.request(method, self.path, headers=told),
            await self.house.client.request(method, self.path, headers=told),
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA
) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("files")
    async with house(folder / "data") as one:
        site = Site("nginx", pictures=one.folder / "pictures", asks=False)
        address = one.http.base_url.removeprefix("http://")
        (link,) = (await one.made())["results"]
        async with (
            proxy(site, [address], folder, authority) as front,
            httpx.AsyncClient(base_url=front.site.base, verify=front.trust) as client,
        ):
            yield Town(one, httpx.URL(link).path, client)


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
        {"If-Range": '"another"', "Range": "bytes=3-8"},
        {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"},
        {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
    ids=str,
)
async def test_it_is_the_answer_of_the_gateway(
    town: Town, method: str, headers: dict[str, str]
) -> None:
    sent, own = [
        (
            answer.status_code,
            answer.content,
            {name: answer.headers[name] for name in set(answer.headers) - OF_ONE_ANSWER},
        )
        for answer in await town.both(method, **headers)
    ]
    assert sent == own


async def test_it_is_the_file_that_is_sent(town: Town) -> None:
    bytes_ = town.file.read_bytes()
    town.file.write_bytes(marked := b"sent by whom?".ljust(len(bytes_)))
    try:
        assert (await town.client.get(town.path)).content == marked
    finally:
        town.file.write_bytes(bytes_)
    assert (await town.client.get(town.path)).content == bytes_


async def test_what_is_not_there_is_the_gateways_to_tell(town: Town) -> None:
    digest = town.path.rpartition("/")[2].partition(".")[0]
    for path in (
        f"/pictures/{'0' * 64}.png",
        f"/pictures/{digest}.json",
        f"/pictures/{digest[:2]}/{digest}.png",
        "/pictures/../config.yaml",
    ):
        answer = await town.client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store"), path
        assert answer.json()["error"], path


async def test_other_methods_are_the_gateways_to_refuse(town: Town) -> None:
    for method in ("POST", "DELETE", "OPTIONS"):
        sent, own = await town.both(method, **{"Access-Control-Request-Method": "GET"})
        assert (sent.status_code, sent.content[:40]) == (own.status_code, own.content[:40]), method
