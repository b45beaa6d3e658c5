"""The gateway's own file store: edits and uploads where no upstream has one, or it is down."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import openai
import pytest
import pytest_asyncio
import stores
from house import OTHER_KEY, TEAM_KEY, digest, until
from PIL import Image
from sdk import drawn, sdk
from test_files import BASE, auth, encoded, listed, png, stream
from two_vendors import CHEAP, DEAR, MODEL, ONLY_OPENAI, Vendors, vendors

from gateway.adapters import own_files
from gateway.core.transaction import Keys, Writes

DAY: Final = 86_400.0


class Clock:
    """The machine's, and what a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest_asyncio.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Vendors]:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True) as one:
        yield one


async def adds_up(one: Vendors) -> None:
    assert await one.house.violations() == []
    assert await one.spent_usd_micros() == one.billed_usd_micros


def kept(one: Vendors) -> set[str]:
    """The digests of all pictures that lie in the store."""
    names = (Path(name) for name in stores.kept(one.house.folder))
    return {name.stem for name in names if len(name.stem) == 64 and name.suffix != ".json"}


def sums(*pictures: bytes) -> set[str]:
    return {hashlib.sha256(picture).hexdigest() for picture in pictures}


async def fetched(one: Vendors, link: str) -> httpx.Response:
    return await one.house.client.get(httpx.URL(link).path)


def holed() -> bytes:
    """A mask as OpenAI wants one, of the size that `drawn` has."""
    file = io.BytesIO()
    Image.new("RGBA", (48, 32), (0, 0, 0, 0)).save(file, "PNG")
    return file.getvalue()


async def test_an_edit_is_paid_once_and_a_repeated_one_is_a_hit(alone: Vendors) -> None:
    wish: Any = {
        "model": MODEL,
        "image": [drawn("red"), drawn("green", "JPEG")],
        "mask": holed(),
        "prompt": "all together",
    }
    async with sdk(alone.house) as client:
        edits = client.images.with_raw_response
        first = await edits.edit(**wish)
        again = await edits.edit(**wish)
    assert "fwd=miss" in first.headers["cache-status"]
    assert again.headers["cache-status"].startswith("image-gateway; hit")
    assert first.parse().data[0].b64_json == again.parse().data[0].b64_json
    assert alone.openai.state.image_requests == 1
    assert alone.openai.state.requests[-1].path.endswith("/edits")
    assert sums(drawn("red"), drawn("green", "JPEG"), holed()) < kept(alone)
    assert (await listed(alone.house))["total"] == 3
    assert list((alone.house.folder / "forms").iterdir()) == []
    await adds_up(alone)


async def test_what_is_no_picture_is_refused_before_money_moves(alone: Vendors) -> None:
    async with sdk(alone.house) as client:
        for content in (b"hello", drawn("red")[:60]):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.edit(model=MODEL, image=("a.png", content), prompt="x")
            assert refused.value.param == "image"
    for content in (b"hello", drawn("red")[:60], drawn("red", "GIF")):
        for answer in (await stream(alone.house, content), await encoded(alone.house, content)):
            told = answer.json()
            assert (answer.status_code, told["code"], told["success"]) == (400, 400, False)
            assert "not a whole JPEG, PNG or WebP picture" in told["msg"]
    assert alone.openai.state.image_requests == await alone.spent_usd_micros() == 0
    assert kept(alone) == set() and (await listed(alone.house))["total"] == 0
    assert list((alone.house.folder / "forms").iterdir()) == []


async def test_an_edit_that_fails_names_the_part_that_was_sent(
    alone: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_form = own_files.OwnFiles.upload_form

    async def lost(self: Any, form: Any, *, folder: str) -> Any:
        stored = await upload_form(self, form, folder=folder)
        stores.lose_pictures(alone.house.folder)
        return stored

    monkeypatch.setattr(own_files.OwnFiles, "upload_form", lost)
    async with sdk(alone.house, max_retries=0) as client:
        for mask in (openai.omit, holed()):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.edit(
                    model=MODEL, image=drawn("red"), mask=mask, prompt=f"bluer {mask!r}"
                )
            error = refused.value
            sent = {"image": "'image[0]'", "mask": "'mask'"}[error.param or ""]
            assert f"{sent}: nothing can be fetched there" in error.message
            assert "_url" not in error.message


async def test_a_file_goes_up_is_named_in_an_order_and_is_listed(alone: Vendors) -> None:
    one, picture = alone.house, png()
    answer = await stream(one, picture, name="a/cat 1.png", upload_path="../pets/./x")
    data = answer.json()["data"]
    assert data["file_url"].startswith(f"{one.http.base_url}/pictures/")
    assert (data["file_name"], data["upload_path"]) == ("cat_1.png", "pets/x")
    assert (data["file_size"], data["mime_type"]) == (len(picture), "image/png")
    assert (await fetched(alone, data["file_url"])).content == picture
    (shown,) = (await listed(one))["files"]
    assert shown == {name: data[name] for name in shown}
    quota = (await one.client.get(f"{BASE}/quota", headers=auth())).json()["data"]
    assert (quota["used_files"], quota["remain_files"]) == (1, own_files.MAX_FILES - 1)

    task = await alone.made("bluer", image_urls=[data["file_url"]])
    assert task["status"] == "completed"
    assert alone.openai.state.requests[-1].path.endswith("/edits")
    twice = (await encoded(one, picture, file_name="other.png")).json()["data"]
    assert (twice["file_id"], twice["file_url"]) == (data["file_id"], data["file_url"])
    again = (await alone.post("bluer", image_urls=[twice["file_url"]])).json()
    assert again["results"] == task["results"]
    await adds_up(alone)


async def test_another_team_neither_sees_nor_deletes_a_file(alone: Vendors) -> None:
    one, picture = alone.house, png()
    mine = (await stream(one, picture)).json()["data"]
    path = f"{BASE}/{mine['file_id']}"
    assert (await listed(one, OTHER_KEY))["total"] == 0
    assert (await one.client.delete(path, headers=auth(OTHER_KEY))).status_code == 404
    theirs = (await stream(one, picture, key=OTHER_KEY)).json()["data"]
    assert theirs["file_id"] == mine["file_id"], "equal bytes"
    assert (await one.client.delete(path, headers=auth())).status_code == 200
    assert (await one.client.delete(path, headers=auth())).status_code == 404
    assert ((await listed(one))["total"], (await listed(one, OTHER_KEY))["total"]) == (0, 1)
    assert (await fetched(alone, theirs["file_url"])).content == picture


async def test_a_link_is_fetched_from_where_references_may_lie(tmp_path: Path) -> None:
    async def up(one: Vendors, url: str) -> httpx.Response:
        return await one.house.client.post(
            f"{BASE}/upload/url", json={"file_url": url}, headers=auth()
        )

    inside = {"allow_private_addresses": True}
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, references=inside) as one:
        elsewhere = one.evolink.state.files.put(
            picture := png(), name="x.png", original_name="x.png", folder=""
        )
        data = (await up(one, f"{one.evolink.base_url}/{elsewhere.path}")).json()["data"]
        assert (await fetched(one, data["file_url"])).content == picture
        text = await up(one, f"{one.house.http.base_url}/healthz")
        assert text.status_code == 400 and "file_url" in text.json()["msg"]
    async with vendors(tmp_path / "strict", routes=ONLY_OPENAI, alone=True) as one:
        refused = await up(one, f"{one.evolink.base_url}/x.png")
        assert refused.status_code == 400
        assert "an address that the gateway may not call" in refused.json()["msg"]
        assert kept(one) == set()


@stores.both
async def test_bytes_go_some_time_after_the_file_unless_a_run_made_them(tmp_path: Path) -> None:
    clock = Clock()
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, clock=clock) as one:
        files = one.house.gateway.services.own_files
        first, second = png(), png()
        link = (await stream(one.house, first)).json()["data"]["file_url"]
        deleted = (await stream(one.house, second)).json()["data"]
        path = f"{BASE}/{deleted['file_id']}"
        assert (await one.house.client.delete(path, headers=auth())).status_code == 200
        task = await one.made("bluer", image_urls=[link])
        (result,) = task["results"]
        made = (await fetched(one, result)).content
        await stream(one.house, made)

        clock.ahead = 4 * DAY
        await files.sweep()
        assert (await listed(one.house))["total"] == 0
        assert sums(first, second, made) <= kept(one), "an order of the last moment may need them"
        await stream(one.house, first)

        clock.ahead = 6 * DAY
        await files.sweep()
        assert kept(one) == sums(first, made)
        digest = httpx.URL(result).path.rpartition("/")[2].partition(".")[0]
        pictures = await one.house.gateway.ledger.transact(
            Keys(picture=digest), lambda view: (view.pictures, Writes())
        )
        assert len(pictures) == 1 and (await fetched(one, result)).content == made

        clock.ahead = 12 * DAY
        await files.sweep()
        assert kept(one) == sums(made)
        quota = (await one.house.client.get(f"{BASE}/quota", headers=auth())).json()["data"]
        assert quota["used_files"] == 0
        assert await one.house.violations() == []


async def test_bytes_that_were_taken_away_come_back_with_the_next_edit(
    alone: Vendors,
) -> None:
    """They were proven before, and the record of the store is still there."""
    async with sdk(alone.house) as client:
        await client.images.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        stores.lose_pictures(alone.house.folder)
        assert not sums(drawn("red")) & kept(alone)
        await client.images.edit(model=MODEL, image=drawn("red"), prompt="greener")
    assert alone.openai.state.image_requests == 2 and sums(drawn("red")) < kept(alone)
    await adds_up(alone)


async def test_it_is_full_at_some_point(alone: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_files, "MAX_FILES", 1)
    first = png()
    assert (await stream(alone.house, first)).status_code == 200
    full = await stream(alone.house, png())
    assert full.status_code == 429
    assert "this team has its share of it: 1 files" in full.json()["msg"]
    assert 4 * DAY < float(full.headers["retry-after"]) <= 5 * DAY
    assert (await stream(alone.house, first)).status_code == 200


async def test_a_team_that_fills_it_stops_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    """Nor can it make room by taking its files from the list: the bytes stay."""
    monkeypatch.setattr(own_files, "MAX_FILES", 4)
    clock = Clock()
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, clock=clock) as one:
        assert len(one.house.gateway.services.own_files._deps.current.policy.teams) == 2
        mine = [(await stream(one.house, png())).json()["data"] for _ in range(4)]
        for data in mine:
            path = f"{BASE}/{data['file_id']}"
            assert (await one.house.client.delete(path, headers=auth())).status_code == 200
        assert (await stream(one.house, png())).status_code == 429
        for _ in range(2):
            assert (await stream(one.house, png(), key=OTHER_KEY)).status_code == 200
        assert (await stream(one.house, png(), key=OTHER_KEY)).status_code == 429
        clock.ahead = 5.1 * DAY
        await one.house.gateway.services.own_files.sweep()
        assert (await stream(one.house, png())).status_code == 200
        assert await one.house.violations() == []


async def test_what_is_uploaded_never_stops_what_is_ordered(
    alone: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = alone.house.gateway
    floor = gateway.services.own_files._deps.current.policy.room_floor_bytes
    assert floor > 0
    picture = png()
    left = 2 * floor + len(picture)

    async def free_bytes(_: object) -> int:
        return left

    monkeypatch.setattr(type(gateway.adapters.pictures), "free_bytes", free_bytes)
    assert (await stream(alone.house, picture)).status_code == 200
    left = 2 * floor - 1
    full = await stream(alone.house, png())
    assert (full.status_code, full.headers["retry-after"]) == (503, "30")
    assert "Name pictures by links" in full.json()["msg"]
    assert (await stream(alone.house, picture)).status_code == 200
    left = floor
    assert (await alone.made())["status"] == "completed"
    assert (await alone.house.client.get("/readyz")).status_code == 200
    await adds_up(alone)


def with_share(one: Vendors, share_bytes: int) -> None:
    """Smaller than settings may have it."""
    current = one.house.gateway.services.own_files._deps.current
    current.policy = replace(current.policy, uploads_per_team_bytes=share_bytes)


async def test_a_team_has_its_share_of_bytes(tmp_path: Path) -> None:
    """Deleting makes no room, since bytes stay, and what is here already takes none."""
    clock = Clock()
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, clock=clock) as one:
        first, second = png(), png()
        with_share(one, len(first) + len(second))
        mine = [(await stream(one.house, picture)).json()["data"] for picture in (first, second)]
        path = f"{BASE}/{mine[0]['file_id']}"
        assert (await one.house.client.delete(path, headers=auth())).status_code == 200
        clock.ahead = DAY
        for answer in (await stream(one.house, png()), await encoded(one.house, png())):
            told = answer.json()
            assert (answer.status_code, told["code"], told["success"]) == (429, 429, False)
            brought = len(first) + len(second)
            assert (
                f"2 files, {brought} bytes in all, where a team may have {brought}" in told["msg"]
            )
            assert "Name pictures by links to where they lie already" in told["msg"]
            assert 3.9 * DAY < float(answer.headers["retry-after"]) <= 4 * DAY
        async with sdk(one.house, max_retries=0) as client:
            with pytest.raises(openai.RateLimitError) as refused:
                await client.images.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        assert refused.value.code == "rate_limit_exceeded"
        assert (await stream(one.house, first)).status_code == 200
        theirs = png()
        assert (await stream(one.house, theirs, key=OTHER_KEY)).status_code == 200
        assert (await stream(one.house, theirs)).status_code == 200
        assert kept(one) == sums(first, second, theirs)
        clock.ahead = 6.1 * DAY
        await one.house.gateway.services.own_files.sweep()
        assert (await stream(one.house, png())).status_code == 200
        assert list((one.house.folder / "forms").iterdir()) == []
        assert await one.house.violations() == []


@stores.both
async def test_of_uploads_at_once_no_more_pass_than_the_share_has_room_for(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True) as one:
        pictures = [png() for _ in range(8)]
        with_share(one, 3 * max(map(len, pictures)))
        answers = await asyncio.gather(*(stream(one.house, picture) for picture in pictures))
        codes = [answer.status_code for answer in answers]
        passed = [one for one, code in zip(pictures, codes, strict=True) if code == 200]
        assert {*codes} == {200, 429}
        assert len(passed) == 3
        assert kept(one) == sums(*passed)


async def test_the_same_file_at_once_counts_once(alone: Vendors) -> None:
    picture = png()
    with_share(alone, len(picture))
    answers = await asyncio.gather(*(stream(alone.house, picture) for _ in range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6


@pytest.mark.files
async def test_a_team_leaves_to_others_as_much_of_a_disk_as_it_has(
    alone: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = alone.house.gateway
    floor = gateway.services.own_files._deps.current.policy.spare_floor_bytes
    disk = floor + 10 * len(png())

    async def free_bytes(_: object) -> int:
        pictures = gateway.adapters.pictures
        found = [await pictures.find(Path(one).name) for one in stores.kept(alone.house.folder)]
        return disk - sum(one.size_bytes for one in found if one is not None)

    monkeypatch.setattr(type(gateway.adapters.pictures), "free_bytes", free_bytes)
    answers = [await stream(alone.house, png()) for _ in range(10)]
    codes = [answer.status_code for answer in answers]
    assert codes == [200] * codes.count(200) + [429] * codes.count(429)
    assert 4 <= codes.count(200) <= 6
    theirs = [await stream(alone.house, png(), key=OTHER_KEY) for _ in range(2)]
    assert [answer.status_code for answer in theirs] == [200, 200]


async def test_a_team_that_is_alone_has_all_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, teams={"green": ...}) as one:
        gateway = one.house.gateway
        floor = gateway.services.own_files._deps.current.policy.spare_floor_bytes

        async def free_bytes(_: object) -> int:
            return floor

        monkeypatch.setattr(type(gateway.adapters.pictures), "free_bytes", free_bytes)
        assert (await stream(one.house, png())).status_code == 200


async def quota(one: Vendors, key: str = TEAM_KEY) -> tuple[int, int, int]:
    answer = await one.house.client.get(f"{BASE}/quota", headers=auth(key))
    told = answer.json()["data"]
    return told["max_files"], told["used_files"], told["remain_files"]


async def test_a_quota_is_the_teams_own(alone: Vendors) -> None:
    for _ in range(2):
        assert (await stream(alone.house, png())).status_code == 200
    assert await quota(alone) == (20_000, 2, 19_998)
    assert await quota(alone, OTHER_KEY) == (20_000, 0, 19_998)


async def test_names_that_look_alike_in_a_folder_are_two_teams(tmp_path: Path) -> None:
    names = ("a.b", "a_b", "a:b")
    keys = {name: f"key-of-{name}-long-enough" for name in names}
    teams = {name: {"keys": [digest(key)]} for name, key in keys.items()}
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, teams=teams) as one:
        for count, name in enumerate(names, 1):
            for _ in range(count):
                assert (await stream(one.house, png(), key=keys[name])).status_code == 200
        assert [(await quota(one, keys[name]))[1] for name in names] == [1, 2, 3]


async def test_an_edit_goes_to_openai_while_the_store_upstream_is_down(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=(CHEAP, DEAR)) as one, sdk(one.house) as client:
        edits = client.images.with_raw_response
        await one.evolink.refuse_connections()
        made = await edits.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        assert "fwd=miss" in made.headers["cache-status"]
        assert one.openai.state.requests[-1].path.endswith("/edits")
        await one.evolink.accept_connections()
        again = await edits.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        assert again.headers["cache-status"].startswith("image-gateway; hit")
        (upload,) = one.evolink.state.files.newest_first()
        assert upload.content == drawn("red"), "what is made there needs a link that leads there"
        assert one.openai.state.image_requests == 1
        await adds_up(one)


async def test_without_a_route_that_takes_them_from_here_it_fails(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=(CHEAP,)) as one:
        async with sdk(one.house, max_retries=0) as client:
            await one.evolink.refuse_connections()
            with pytest.raises(openai.APIStatusError) as refused:
                await client.images.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        assert refused.value.status_code == 502 and kept(one) == set()


async def test_a_gateway_removes_them_unasked_also_those_of_the_one_before(tmp_path: Path) -> None:
    clock = Clock()
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, clock=clock) as one:
        assert (await stream(one.house, picture := png())).status_code == 200
        assert kept(one) == sums(picture)
    clock.ahead = 5.1 * DAY
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, clock=clock) as one:
        await until(lambda: kept(one) == set())
        assert await one.house.violations() == []
