"""Routes that lead to OpenAI, and over to it and back: the same task, the same links, and a bill
that is the vendor's to the micro-dollar.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
import pytest_asyncio
from house import until
from sdk import sdk
from two_vendors import MODEL, ONLY_OPENAI, Vendors, vendors


@pytest_asyncio.fixture
async def only(tmp_path: Path) -> AsyncIterator[Vendors]:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        yield one


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[Vendors]:
    async with vendors(tmp_path) as one:
        yield one


async def adds_up(one: Vendors) -> None:
    assert await one.house.violations() == []
    assert await one.spent_usd_micros() == one.billed_usd_micros
    await until(lambda: one.spool == [])


async def test_an_order_is_made_kept_and_settled_by_its_usage(only: Vendors) -> None:
    task = await only.made(quality="medium", size="3:2", n=2)
    assert task["status"] == "completed" and len(task["results"]) == 2
    for link in task["results"]:
        answer = await only.house.client.get(httpx.URL(link).path)
        assert answer.status_code == 200 and len(answer.content) > 100
    run = await only.run_of(task["id"])
    assert run.route == f"openai/{MODEL}"
    assert 0 < run.spent.usd_micros == only.billed_usd_micros
    again = (await only.post("a red bicycle", quality="medium", size="3:2", n=2)).json()
    assert (again["status"], again["results"]) == ("completed", task["results"])
    assert only.openai.state.image_requests == 1
    await adds_up(only)


async def test_a_long_call_is_a_task_that_goes_on(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        first = await asyncio.wait_for(one.post("slow [sandbox:delay=6]"), 5)
        assert first.status_code == 200
        task = first.json()
        assert task["status"] == "processing" and 0 <= task["progress"] < 100
        second = (await one.post("slow [sandbox:delay=6]")).json()
        assert second["id"] != task["id"]
        ended = await one.house.ended(task["id"])
        joined = await one.house.ended(second["id"])
        assert ended["results"] == joined["results"]
        assert one.openai.state.image_requests == 1
        await adds_up(one)


async def test_a_picture_of_our_own_is_sent_along_as_it_lies_here(only: Vendors) -> None:
    """Its address is an internal one, which nothing else may be fetched from."""
    mug = (await only.made("a mug"))["results"][0]
    task = await only.made("put it on a table", image_urls=[mug])
    assert task["status"] == "completed"
    assert only.openai.state.requests[-1].path.endswith("/edits")
    await adds_up(only)
    digest = mug.rpartition("/")[2].partition(".")[0]
    gone = mug.replace(digest, "0" * 64)
    answer = await only.post("put that on a table", image_urls=[gone])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image_urls[0]")


async def test_references_elsewhere_are_fetched_and_sent_along(tmp_path: Path) -> None:
    inside = {"allow_private_addresses": True}
    async with vendors(tmp_path, references=inside) as one:
        cheap = await one.made("a mug of the other vendor")
        (link,) = (await one.run_of(cheap["id"])).links
        one.evolink.state.down = True
        task = await one.made("put it on a table", image_urls=[link])
        assert task["status"] == "completed"
        assert (await one.run_of(task["id"])).upstream == "openai"
        assert one.openai.state.requests[-1].path.endswith("/edits")


async def test_it_goes_over_when_the_cheaper_vendor_is_down_and_back(both: Vendors) -> None:
    assert (await both.run_of((await both.made("one"))["id"])).upstream == "evolink"
    both.evolink.state.down = True
    tasks = await asyncio.gather(*(both.made(f"while it is down {n}") for n in range(5)))
    assert {(await both.run_of(task["id"])).upstream for task in tasks} == {"openai"}
    both.evolink.state.down = False

    async def is_back() -> bool:
        task = await both.made(f"is it back {asyncio.get_running_loop().time()}")
        return str((await both.run_of(task["id"])).upstream) == "evolink"

    for _ in range(50):
        if await is_back():
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("it did not go back")
    assert await both.house.violations() == []
    assert both.spool == []


async def test_a_magic_word_sends_an_order_on_to_the_other_vendor(both: Vendors) -> None:
    task = await both.made("a red bicycle [sandbox:elsewhere]")
    assert (await both.run_of(task["id"])).upstream == "openai"
    assert both.evolink.state.submits == 1
    assert await both.spent_usd_micros() == both.billed_usd_micros > 0


@pytest.mark.parametrize("words", ["drop", "cut", "garbage", "empty-data", "late-http=502"])
async def test_a_lost_answer_is_spent_and_never_sent_again(both: Vendors, words: str) -> None:
    both.evolink.state.down = True
    prompt = f"lost [sandbox:{words}]"
    answer = await both.post(prompt)
    if answer.status_code == 200:
        task = await both.house.ended(answer.json()["id"])
        assert task["error"]["code"] == "outcome_unknown", task
    else:
        assert answer.json()["error"]["code"] == "outcome_unknown", answer.text
    again = await both.post(prompt)
    assert again.status_code != 200
    assert both.openai.state.image_requests == 1
    assert await both.spent_usd_micros() >= both.billed_usd_micros > 0
    assert await both.house.violations() == []
    assert both.spool == []


async def test_refused_content_is_not_shopped_around(tmp_path: Path) -> None:
    swapped: tuple[dict[str, Any], ...] = (
        {"upstream": "openai", "model": MODEL, "price": 0.02},
        {"upstream": "evolink", "model": MODEL, "price": 0.9},
    )
    async with vendors(tmp_path, routes=swapped) as one:
        answer = await one.post("bad [sandbox:fail=moderation_blocked]")
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "moderation_blocked"
        assert one.evolink.state.submits == 0
        assert await one.spent_usd_micros() == 0


@pytest.mark.parametrize("delay", [0, 3])
async def test_what_was_refused_after_the_work_is_told_so_that_nobody_pays_again(
    tmp_path: Path, delay: int
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True) as one:
        prompt = f"bad [sandbox:late-fail=moderation_blocked] [sandbox:delay={delay}]"
        async with sdk(one.house, max_retries=2) as client:
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(model=MODEL, prompt=prompt)
        assert refused.value.code == "moderation_blocked"
        assert one.openai.state.image_requests == 1
        answer = await one.post(f"{prompt} again")
        if not delay:
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "moderation_blocked"


@pytest.mark.parametrize("when", ["fail", "late-fail"])
async def test_what_azure_calls_content_is_told_in_the_one_word_for_it(
    tmp_path: Path, when: str
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True) as one:
        prompt = f"bad [sandbox:{when}=contentFilter]"
        async with sdk(one.house, max_retries=0) as client:
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(model=MODEL, prompt=prompt)
        assert refused.value.code == "moderation_blocked"


async def test_what_does_not_fit_goes_to_the_route_that_it_fits(tmp_path: Path) -> None:
    swapped: tuple[dict[str, Any], ...] = (
        {"upstream": "openai", "model": MODEL, "price": 0.02},
        {"upstream": "evolink", "model": MODEL, "price": 0.9},
    )
    async with vendors(tmp_path, routes=swapped) as one:
        task = await one.made("wide", size="16:9")
        assert (await one.run_of(task["id"])).upstream == "evolink"
        task = await one.made("square")
        assert (await one.run_of(task["id"])).upstream == "openai"


SAYS_NO = "[sandbox:http=400:unknown_parameter]"


async def test_what_a_vendor_says_it_cannot_make_goes_to_the_other_at_once(tmp_path: Path) -> None:
    swapped: tuple[dict[str, Any], ...] = (
        {"upstream": "openai", "model": MODEL, "price": 0.02},
        {"upstream": "evolink", "model": MODEL, "price": 0.9},
    )
    async with vendors(tmp_path, routes=swapped) as one:
        for number in range(5):
            error = (await one.post(f"odd {number} {SAYS_NO}")).json()["error"]
            assert error["message"] == "Invalid request parameters", "which is EvoLink's to say"
        task = await one.made("plain")
        assert (await one.run_of(task["id"])).upstream == "openai", "others need not wait for it"


async def test_what_no_vendor_can_make_is_refused_at_once_and_costs_nothing(
    tmp_path: Path,
) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True) as one:
        for number in range(5):
            answer = await one.post(f"odd {number} {SAYS_NO}")
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, "invalid_request"), answer.text
            assert "unknown_parameter" in error["message"]
        assert one.openai.state.image_requests == 5, "asked once each"
        await one.made("plain")
        assert await one.spent_usd_micros() == one.billed_usd_micros
        assert await one.house.violations() == []


async def test_a_stop_waits_for_an_open_call(tmp_path: Path) -> None:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        answer = asyncio.create_task(one.post("while it stops [sandbox:delay=3]"))
        await until(lambda: one.openai.state.open_now == 1)
        await one.house.gateway.stop(1)
        answer.cancel()
        assert one.spool == []
        assert one.billed_usd_micros > 0
    async with vendors(tmp_path, routes=ONLY_OPENAI) as again:
        assert await again.spent_usd_micros() == one.billed_usd_micros
        assert await again.house.violations() == []
        assert again.openai.state.image_requests == 0


async def test_what_fits_nobody_is_refused_at_once(only: Vendors) -> None:
    answer = await only.post("unheard of [sandbox:http=422]")
    assert answer.status_code == 400, answer.text
    assert "No upstream of this model takes the order as it is" in answer.json()["error"]["message"]
    assert only.openai.state.image_requests == 1
    assert await only.spent_usd_micros() == 0
    assert await only.house.violations() == []
