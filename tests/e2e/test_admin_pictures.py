"""Pictures on record: found, shown to their team, and taken away for good."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import stores
from click.testing import CliRunner
from house import OTHER_KEY, PRICE_USD, TEAM_KEY, House, opened, settings_text

from gateway.cli import main
from gateway.core.model import Picture
from gateway.core.picture_errors import LinkBroken, StoreFull
from gateway.sandbox import RunningSandbox

PROMPT = "A red bicycle in the rain"


@pytest.fixture
async def home(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path)
    yield one
    await one.stop()


async def found(home: House, **asked: Any) -> list[Any]:
    answer = await home.admin("GET", "pictures", params=asked)
    assert answer.status_code == 200, answer.text
    data: list[Any] = answer.json()["data"]
    return data


async def gallery(home: House, *, key: str = TEAM_KEY, **asked: Any) -> list[Any]:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await home.client.get("/team/v1/pictures", params=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    data: list[Any] = answer.json()["data"]
    return data


def of(picture: Mapping[str, Any], *facts: str) -> list[Any]:
    return [picture[fact] for fact in facts]


def files(home: House, digest: str) -> list[str]:
    """What the picture store keeps of it: the bytes and where they came from."""
    return [name for name in stores.kept(home.folder) if name.startswith(digest)]


async def audited(home: House, folder: Path) -> None:
    """Nothing is wrong with the ledger and its pictures, by the command that proves it."""
    assert await home.violations() == []
    settings = folder / "audited.yaml"
    settings.write_text(settings_text(home.sandbox.base_url, home.folder))
    result = await asyncio.to_thread(
        CliRunner().invoke, main, ["audit", "--deep", "--config", str(settings)]
    )
    assert result.exit_code == 0, result.output


# --- finding -------------------------------------------------------------------------------------


async def test_pictures_are_found_by_what_is_known_of_them(home: House) -> None:
    task = await home.made(PROMPT)
    other = await home.made("a green boat", key=OTHER_KEY)
    boat, bicycle = await found(home)
    assert of(bicycle, "team", "prompt", "model", "task", "erased_at") == [
        "blue", PROMPT, "gpt-image-1.5", task["id"], None,
    ]  # fmt: skip
    assert bicycle["url"] == task["results"][0]
    assert bicycle["size_bytes"] == len((await home.client.get(bicycle["url"])).content)
    for asked in (
        {"team": "blue"},
        {"task": task["id"]},
        {"run": bicycle["run"]},
        {"q": "RED bicycle"},
        {"q": "bicycle red"},
        {"q": "BICYCLE r\u00e9d"},
        {"q": '"red bicycle'},
        {"from": bicycle["created_at"], "to": boat["created_at"]},
    ):
        assert await found(home, **asked) == [bicycle], asked
    assert await found(home, q="green", team="blue") == []
    assert await found(home, task=other["id"]) == [boat]


async def test_lists_go_on_page_by_page(home: House) -> None:
    for number in range(3):
        await home.made(f"picture {number}")
    headers = {"Authorization": f"Bearer {TEAM_KEY}"}
    for path, key in (("/admin/v1/pictures", None), ("/team/v1/pictures", headers)):
        seen, cursor = list[str](), ""
        for _ in range(3):
            asked = {"limit": 1, "cursor": cursor}
            if key is None:
                answer = await home.admin("GET", "pictures", params=asked)
            else:
                answer = await home.client.get(path, params=asked, headers=key)
            seen += [one["prompt"] for one in answer.json()["data"]]
            cursor = answer.json()["next"]
        assert (seen, cursor) == (["picture 2", "picture 1", "picture 0"], None)


async def test_what_is_asked_wrongly_is_named(home: House) -> None:
    for asked, param in (({"colour": "red"}, "colour"), ({"from": "soon"}, "from")):
        answer = await home.admin("GET", "pictures", params=asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    for method, path in (("GET", "pictures"), ("DELETE", "pictures/x")):
        assert (await home.admin(method, path, key=TEAM_KEY)).status_code == 401


async def test_a_team_sees_what_its_own_tasks_show(tmp_path: Path, sandbox: RunningSandbox) -> None:
    one = await opened(sandbox, tmp_path, cache={"scope": "organization"})
    try:
        made = await one.made(PROMPT)
        assert await gallery(one, key=OTHER_KEY) == []
        hit = await one.made(PROMPT, key=OTHER_KEY)
        [shown] = await gallery(one, key=OTHER_KEY)
        assert of(shown, "url", "task", "team") == [made["results"][0], hit["id"], "green"]
        [own] = await gallery(one)
        assert of(own, "url", "task", "team") == [made["results"][0], made["id"], "blue"]
        assert await gallery(one, q="boat") == []
    finally:
        await one.stop()


# --- erasing -------------------------------------------------------------------------------------


async def test_an_erased_picture_is_gone_and_its_numbers_stay(home: House, tmp_path: Path) -> None:
    first = await home.made(PROMPT)
    [picture] = await found(home)
    before = await home.metrics()
    assert len(files(home, picture["digest"])) == 2

    answer = await home.admin("DELETE", f"pictures/{picture['digest']}")
    assert answer.status_code == 200
    erased = answer.json()
    assert erased["erased_at"] is not None
    assert erased == {**picture, "prompt": "", "erased_at": erased["erased_at"]}
    assert files(home, picture["digest"]) == []
    assert (await home.client.get(picture["url"])).status_code == 404
    assert await found(home, run=picture["run"]) == [erased]
    assert await found(home, q="bicycle") == []
    assert await gallery(home) == []
    after = await home.metrics()
    spend = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
    assert after[spend] == before[spend] == pytest.approx(PRICE_USD)
    assert after["gateway_pictures"] == before["gateway_pictures"] - 1
    assert after["gateway_cache_entries"] == 0
    await audited(home, tmp_path)

    again = await home.post(PROMPT)
    assert again.headers["cache-status"].startswith("image-gateway; fwd=miss")
    second = await home.ended(again.json()["id"])
    assert second["results"] != first["results"]
    assert (await home.client.get(second["results"][0])).status_code == 200
    assert (await home.metrics())[spend] == pytest.approx(2 * PRICE_USD)
    await audited(home, tmp_path)


async def test_an_erasure_is_written_down_once_and_without_the_prompt(home: House) -> None:
    await home.made(PROMPT)
    [picture] = await found(home)
    answers = [await home.admin("DELETE", f"pictures/{picture['digest']}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    changes = (await home.admin("GET", "audit", params={"action": "picture.erase"})).json()["data"]
    [change] = changes
    assert change["subject"] == picture["digest"]
    assert of(change["before"], "team", "run") == ["blue", picture["run"]]
    assert PROMPT not in json.dumps(changes)


async def test_one_of_several_pictures_takes_their_answer_out_of_the_cache(home: House) -> None:
    first = await home.made(PROMPT, n=2)
    pictures = await found(home)
    assert len(pictures) == 2
    await home.admin("DELETE", f"pictures/{pictures[0]['digest']}")
    assert [one["digest"] for one in await gallery(home)] == [pictures[1]["digest"]]
    second = await home.made(PROMPT, n=2)
    assert not {*second["results"]} & {*first["results"]}
    assert await home.violations() == []


async def test_there_is_no_such_picture(home: House) -> None:
    for digest in ("0" * 64, "nothing"):
        answer = await home.admin("DELETE", f"pictures/{digest}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "picture_not_found")


@stores.both
async def test_what_a_crash_left_is_finished_at_the_next_start(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path)
    try:
        await home.made(PROMPT)
        [picture] = await found(home)
        full = _broken(home)
        answer = await home.admin("DELETE", f"pictures/{picture['digest']}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "60"
        assert full == [picture["digest"]]
        assert len(files(home, picture["digest"])) == 2
        assert (await found(home))[0]["prompt"] == ""
    finally:
        await home.stop()
    home = await opened(sandbox, tmp_path)
    try:
        async with asyncio.timeout(10):
            while await home.gateway.ledger.unremoved(limit=10):
                await asyncio.sleep(0.02)
        assert files(home, picture["digest"]) == []
        assert (await home.made(PROMPT))["results"][0] != picture["url"]
        assert await home.violations() == []
    finally:
        await home.stop()


def _broken(home: House) -> list[str]:
    """Lets no picture be removed; returns those that should have been."""
    asked: list[str] = []

    async def remove(picture: Picture) -> None:
        asked.append(picture.digest)
        raise StoreFull("read-only")

    home.gateway.adapters.pictures.remove = remove  # type: ignore[method-assign]
    return asked


# --- the same bytes again ------------------------------------------------------------------------


async def the_same_bytes(home: House) -> tuple[Any, Picture]:
    """A picture on record; from now on every result link leads to these very bytes."""
    task = await home.made(PROMPT)
    digest, extension = task["results"][0].rpartition("/")[2].split(".")
    body = (await home.client.get(task["results"][0])).content
    assert hashlib.sha256(body).hexdigest() == digest

    @contextlib.asynccontextmanager
    async def stream(*_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        yield chunks()

    home.gateway.adapters.connections.links["evolink"].stream = stream  # type: ignore[method-assign,assignment]
    [kept] = await home.gateway.ledger.pictures(after="", limit=10)
    assert kept.name == f"{digest}.{extension}"
    return task, kept


async def test_bytes_that_come_again_are_there_again(home: House, tmp_path: Path) -> None:
    first, picture = await the_same_bytes(home)
    await home.admin("DELETE", f"pictures/{picture.digest}")
    second = await home.made(PROMPT)
    assert second["results"] == first["results"]
    assert (await home.client.get(second["results"][0])).status_code == 200
    shown, former = await found(home)
    assert of(shown, "task", "prompt", "erased_at") == [second["id"], PROMPT, None]
    assert of(former, "task", "prompt") == [first["id"], ""]
    assert len(files(home, picture.digest)) == 2
    await audited(home, tmp_path)


async def test_a_run_that_has_just_kept_the_same_bytes_keeps_them_once_more(
    home: House, tmp_path: Path
) -> None:
    """The erasure comes whole between the moment the run has kept the bytes and its commit."""
    _, picture = await the_same_bytes(home)
    pictures = home.gateway.adapters.pictures
    keep, answers = pictures.keep, list[int]()

    async def erase_then(body: AsyncIterator[bytes], **more: Any) -> Picture:
        one = await keep(body, **more)
        if not answers:
            answer = await home.admin("DELETE", f"pictures/{one.digest}")
            answers.append(answer.status_code)
        return one

    pictures.keep = erase_then  # type: ignore[method-assign]
    task = await home.made(PROMPT, headers={"Cache-Control": "no-cache"})
    assert answers == [200]
    assert (await home.client.get(task["results"][0])).status_code == 200
    shown, former = await found(home)
    assert of(shown, "digest", "erased_at") == [picture.digest, None]
    assert of(former, "digest", "prompt") == [picture.digest, ""]
    await audited(home, tmp_path)


@pytest.mark.files
async def test_what_is_told_of_a_picture_is_told_again_where_an_erasure_took_it_alone(
    home: House, tmp_path: Path
) -> None:
    """It takes the bytes; a run writes them anew, and the words are there still; it takes those."""
    pictures = home.gateway.adapters.pictures
    keep, taken = pictures.keep, list[Path]()

    async def take_words(body: AsyncIterator[bytes], **more: Any) -> Picture:
        one = await keep(body, **more)
        if not taken:
            taken.append(home.folder / "pictures" / one.digest[:2] / f"{one.digest}.json")
            taken[0].unlink()
        return one

    pictures.keep = take_words  # type: ignore[method-assign]
    task = await home.made(PROMPT)
    assert task["status"] == "completed"
    assert json.loads(taken[0].read_text())["prompt"] == PROMPT
    await audited(home, tmp_path)


@pytest.mark.files
async def test_a_picture_of_which_nothing_is_told_is_told_of_and_not_fetched_again(
    home: House, tmp_path: Path
) -> None:
    """As one that was kept before its fellow was, by a version that told of all together."""
    pictures = home.gateway.adapters.pictures
    keep, kept, bare = pictures.keep, list[int](), list[Path]()

    async def one_after_the_other(body: AsyncIterator[bytes], **more: Any) -> Picture:
        index = more["origin"].index
        if index == 1 and not bare:
            raise LinkBroken("later")
        kept.append(index)
        one = await keep(body, **more)
        if index == 0:
            bare.append(home.folder / "pictures" / one.digest[:2] / f"{one.digest}.json")
            bare[0].unlink()
        return one

    pictures.keep = one_after_the_other  # type: ignore[method-assign]
    task = await home.made(PROMPT, n=2)
    assert (task["status"], kept) == ("completed", [0, 1])
    assert json.loads(bare[0].read_text())["index"] == 0
    await audited(home, tmp_path)


async def test_an_erasure_waits_for_a_commit_that_has_begun(home: House, tmp_path: Path) -> None:
    """A run looks whether the bytes are there and owns them; nothing comes in between."""
    _, picture = await the_same_bytes(home)
    pictures = home.gateway.adapters.pictures
    readable, erasing = pictures.readable, list[asyncio.Task[Any]]()

    async def erase_meanwhile(asked: Sequence[Picture], *, told: bool = False) -> bool:
        there = await readable(asked, told=told)
        if not erasing:
            path = f"pictures/{picture.digest}"
            erasing.append(asyncio.create_task(home.admin("DELETE", path)))
            await asyncio.wait(erasing, timeout=0.2)
        return there

    pictures.readable = erase_meanwhile  # type: ignore[method-assign]
    task = await home.made(PROMPT, headers={"Cache-Control": "no-cache"})
    answer = await erasing[0]
    assert answer.status_code == 200
    assert task["status"] == "completed"
    assert (await home.client.get(task["results"][0])).status_code == 404
    erased = [picture.digest, answer.json()["erased_at"]]
    assert [of(one, "digest", "erased_at") for one in await found(home)] == [erased, erased]
    await audited(home, tmp_path)
