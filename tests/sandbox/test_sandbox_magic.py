"""Magic words and chance rates: each does what the table says."""

import asyncio

import httpx2 as httpx
import pytest
from sandbox_bench import Bench, OpenBench

from gateway.sandbox import SandboxOptions
from gateway.sandbox.magic import WORDS, MagicError, read_magic, without_magic


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("http", 503, "service_unavailable"),
        ("http=400", 400, "invalid_request"),
        ("http=400:moderation_blocked", 400, "moderation_blocked"),
        ("http=402", 402, "insufficient_quota"),
        ("http=403", 403, "model_access_denied"),
        ("http=418", 418, "invalid_request"),
        ("http=429", 429, "rate_limit_exceeded"),
        ("http=524", 524, "service_error"),
    ],
)
async def test_http(bench: Bench, word: str, status: int, code: str) -> None:
    answer = await bench.submit(f"x [sandbox:{word}]")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert not bench.state.tasks


async def test_a_counted_word_acts_the_first_times_only(bench: Bench) -> None:
    answers = [(await bench.submit("x [sandbox:http=503*2]")).status_code for _ in range(4)]
    assert answers == [503, 503, 200, 200]


async def test_the_older_error_shape(bench: Bench) -> None:
    answer = await bench.submit("x [sandbox:http=402] [sandbox:integer-code]")
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == (402, "insufficient_quota_error")


async def test_drop_accepts_and_then_cuts(bench: Bench) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.submit("x [sandbox:drop*1]")
    assert bench.state.accepted_by_prompt["x [sandbox:drop*1]"] == 1
    assert (await bench.submit("x [sandbox:drop*1]")).status_code == 200


async def test_garbage_is_200_and_no_json(bench: Bench) -> None:
    answer = await bench.submit("x [sandbox:garbage]")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
    assert len(bench.state.tasks) == 1


async def test_hang_accepts_and_never_answers(bench: Bench) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await bench.client.post(
            "/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": "x [sandbox:hang]"},
            timeout=0.1,
        )
    assert len(bench.state.tasks) == 1


async def test_the_words_of_a_task(bench: Bench) -> None:
    task = await bench.finished("x [sandbox:credits=2.5][sandbox:results=1]", n=3)
    assert task["usage"]["credits_used"] == 2.5
    assert len(task["results"]) == 1
    stuck = await bench.finished("x [sandbox:stuck]")
    assert stuck["status"] == "processing"
    slow = await bench.task_id("x [sandbox:delay=1000]")
    bench.clock.now += 999
    assert (await bench.poll(slow)).json()["status"] == "processing"
    bench.clock.now += 1
    assert (await bench.poll(slow)).json()["status"] == "completed"


async def test_the_older_task_shape(bench: Bench) -> None:
    answer = await bench.submit("x [sandbox:old-shape]")
    assert answer.json()["usage"]["estimated_cost"] > 0
    bench.clock.now += 100
    task = (await bench.poll(answer.json()["id"])).json()
    assert task["results"]
    assert not {"result_data", "usage", "duration"} & set(task)


async def test_the_words_of_a_poll(bench: Bench) -> None:
    refused = await bench.task_id("x [sandbox:poll-http=429*1]")
    answer = await bench.poll(refused)
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "evo_api_error")
    assert (await bench.poll(refused)).status_code == 200
    garbled = await bench.task_id("x [sandbox:poll-garbage]")
    assert (await bench.poll(garbled)).content.startswith(b"<html>")
    cut = await bench.task_id("x [sandbox:poll-drop]")
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.poll(cut)
    hung = await bench.task_id("x [sandbox:poll-hang]")
    with pytest.raises(httpx.ReadTimeout):
        await bench.client.get(f"/v1/tasks/{hung}", timeout=0.1)


async def test_chances_are_near_their_rate_and_repeatable(open_bench: OpenBench) -> None:
    async def outcomes() -> list[int]:
        async with open_bench(rates={"http": 0.3}, seed=5) as bench:
            return [(await bench.submit()).status_code for _ in range(100)]

    first, second = await outcomes(), await outcomes()
    assert first == second
    assert 15 <= first.count(503) <= 45
    assert set(first) == {200, 503}


def test_wrong_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="'sparkle' cannot happen by chance"):
        SandboxOptions(rates={"sparkle": 0.1})
    with pytest.raises(ValueError, match="'delay' cannot happen by chance"):
        SandboxOptions(rates={"delay": 0.1})
    with pytest.raises(ValueError, match="from 0 to 1"):
        SandboxOptions(rates={"drop": 2})


def test_every_word_with_a_usual_value_is_understood_bare() -> None:
    for word in WORDS.values():
        if word.usual is not None:
            assert read_magic(f"[sandbox:{word.name}]", rates={}, salt="").acts(word.name)
        else:
            with pytest.raises(MagicError, match=word.name):
                read_magic(f"[sandbox:{word.name}]", rates={}, salt="")


@pytest.mark.parametrize("text", ["[sandbox:", "[sandbox:]", "[sandbox:fail=]", "[sandbox:a=b=c]"])
def test_what_looks_like_a_word_but_is_none_is_refused(text: str) -> None:
    with pytest.raises(MagicError):
        read_magic(f"a cat {text}", rates={}, salt="")


def test_words_are_not_drawn() -> None:
    assert without_magic("a [sandbox:drop] red  [sandbox:fail=x]bicycle") == "a red bicycle"


async def test_down_in_its_three_ways(bench: Bench) -> None:
    bench.state.down = True
    answer = await bench.submit()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_available_channel"
    bench.state.down_mode = "cut"
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.submit()
    bench.state.down = False
    assert (await bench.submit()).status_code == 200

    await bench.sandbox.refuse_connections()
    with pytest.raises(httpx.ConnectError):
        await bench.submit()
    await bench.sandbox.accept_connections()
    assert (await bench.submit()).status_code == 200
    assert len(bench.state.tasks) == 2


async def test_stopping_is_quick_while_clients_hang(open_bench: OpenBench) -> None:
    loop = asyncio.get_running_loop()
    async with open_bench() as bench:
        hanging = asyncio.create_task(bench.submit("x [sandbox:hang]"))
        while not bench.state.tasks:
            await asyncio.sleep(0.005)
        before = loop.time()
    assert loop.time() - before < 2
    with pytest.raises(httpx.HTTPError):
        await hanging
