"""One call, one charge, when its work is done: whoever is there, whatever becomes of the answer."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
from openai_bench import KEY, PLAIN, OpenAIBench, OpenBench, file_part, opened, picture

from gateway.sandbox.openai import Charge, key_id
from gateway.sandbox.openai.bill import Bill

PRICE = 3 * 5 + 196 * 30
"""Of `a red bicycle` (three tokens) at low quality, 1024x1024, in micro-dollars."""


@pytest.fixture
async def slow() -> AsyncIterator[OpenAIBench]:
    """A bench where a low picture takes half a second."""
    async with opened(seconds_per_picture=2.5) as one:
        yield one


async def test_a_call_is_charged_by_its_usage(bench: OpenAIBench) -> None:
    answer = await bench.generate()
    usage = answer.json()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 196)
    bill = await bench.bill()
    assert bill["usd_micros"] == bench.owed == PRICE
    assert bill["keys"] == {key_id(KEY): {"usd_micros": PRICE, "calls": 1, "images": 1}}
    (line,) = bill["charges"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["model"], line["source"], line["size"]) == (
        "gpt-image-2", "image.generation", "1024x1024",
    )  # fmt: skip


async def test_nothing_is_charged_before_the_work_is_done(slow: OpenAIBench) -> None:
    waiting = asyncio.create_task(slow.generate())
    while not slow.state.under_way:
        await asyncio.sleep(0.005)
    assert (slow.owed, slow.state.open_now) == (0, 1)
    assert (await waiting).status_code == 200
    assert (slow.owed, slow.state.open_now, slow.state.under_way) == (PRICE, 0, 0)


async def test_a_client_that_leaves_pays_all_the_same(slow: OpenAIBench) -> None:
    waiting = asyncio.create_task(slow.generate("a red bicycle [sandbox:delay=1.5]"))
    while not slow.state.under_way:
        await asyncio.sleep(0.005)
    waiting.cancel()
    async with asyncio.timeout(5):
        while slow.state.open_now:  # the simulator sees that it is gone ...
            await asyncio.sleep(0.005)
    assert (slow.owed, slow.state.under_way) == (0, 1)  # ... and works on
    await slow.all_done()
    assert slow.owed == 8 * 5 + 196 * 30


async def test_so_does_one_whose_connection_is_reset(slow: OpenAIBench) -> None:
    body = b'{"model":"gpt-image-2","prompt":"a red bicycle","size":"1024x1024","quality":"low"}'
    head = (
        f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = slow.sandbox.base_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    await writer.drain()
    while not slow.state.under_way:
        await asyncio.sleep(0.005)
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    writer.transport.abort()
    await slow.all_done()
    assert (slow.owed, slow.state.bill.total.calls) == (PRICE, 1)


async def test_a_request_that_never_came_in_whole_costs_nothing(bench: OpenAIBench) -> None:
    host, port = bench.sandbox.base_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    )
    writer.write(head.encode() + b'{"model":"gpt-image-2"')
    await writer.drain()
    while not bench.state.open_now:
        await asyncio.sleep(0.005)
    writer.close()
    async with asyncio.timeout(5):
        while bench.state.open_now:
            await asyncio.sleep(0.005)
    assert (bench.state.bill.total.calls, bench.state.under_way) == (0, 0)


async def test_the_same_request_twice_is_two_pictures_and_two_charges(bench: OpenAIBench) -> None:
    headers = {"Idempotency-Key": "0123456789abcdef0123"}
    body = {**PLAIN, "prompt": "a red bicycle"}
    first, second = [
        await bench.client.post("/v1/images/generations", json=body, headers=headers)
        for _ in range(2)
    ]
    assert first.json()["data"] != second.json()["data"]
    assert (bench.owed, bench.state.bill.total.calls) == (2 * PRICE, 2)


@pytest.mark.parametrize(
    "word",
    [
        "drop", "cut", "garbage", "error-200", "empty-data", "bad-base64", "not-a-picture", "url",
        "no-usage", "no-details", "bad-usage", "gzip", "late-http=500", "late-http=502",
        "late-fail=moderation_blocked", "late-fail=server_error", "hang",
    ],
)  # fmt: skip
async def test_every_broken_answer_is_charged_once(bench: OpenAIBench, word: str) -> None:
    prompt = f"x [sandbox:{word}]"
    try:
        body = {**PLAIN, "prompt": prompt}
        await bench.client.post("/v1/images/generations", json=body, timeout=0.5)
    except httpx.TransportError:
        pass
    await bench.all_done()
    assert bench.state.bill.total.calls == 1
    assert bench.owed == len(prompt) // 4 * 5 + 196 * 30


@pytest.mark.parametrize("word", ["http=503", "http=524", "fail=moderation_blocked", "redirect"])
async def test_what_is_refused_at_once_costs_nothing(bench: OpenAIBench, word: str) -> None:
    answer = await bench.generate(f"x [sandbox:{word}]")
    assert answer.status_code != 200
    assert (bench.owed, bench.state.under_way) == (0, 0)
    assert (await bench.bill())["requests"] == 1


@pytest.mark.parametrize("word", ["drop", "late-http=500", "late-fail=moderation_blocked"])
async def test_a_call_may_be_free(bench: OpenAIBench, word: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        await bench.generate(f"x [sandbox:{word}] [sandbox:free]")
    await bench.all_done()
    assert bench.owed == 0


async def test_late_failures_may_be_free_altogether(open_bench: OpenBench) -> None:
    async with open_bench(charge_late_failures=False) as bench:
        for word in ("late-http", "late-fail", "drop"):
            with contextlib.suppress(httpx.TransportError):
                await bench.generate(f"x [sandbox:{word}]")
        await bench.all_done()
        assert bench.state.bill.total.calls == 1


async def test_keys_have_bills_of_their_own(bench: OpenAIBench) -> None:
    await bench.generate()
    other = {"Authorization": "Bearer sk-other"}
    body = {**PLAIN, "prompt": "a red bicycle", "n": 2}
    await bench.client.post("/v1/images/generations", json=body, headers=other)
    assert bench.state.bill.of("sk-other").usd_micros == 15 + 2 * 196 * 30
    assert bench.owed == PRICE
    assert bench.state.bill.total.images == 3


async def test_references_cost_input_tokens(bench: OpenAIBench) -> None:
    parts = [file_part("image[]", picture((1024, 1024))), file_part("image[]")]
    usage = (await bench.edit(parts, prompt="a red bicycle")).json()["usage"]
    assert usage["input_tokens_details"] == {"image_tokens": 1024 + 64, "text_tokens": 3}
    assert bench.owed == PRICE + (1024 + 64) * 8
    (line,) = (await bench.bill())["charges"]
    assert line["source"] == "image.edit"


async def test_told_tokens(bench: OpenAIBench) -> None:
    prompt = "x [sandbox:tokens=50000][sandbox:text-out=7]"
    usage = (await bench.generate(prompt, model="gpt-image-1.5")).json()["usage"]
    assert usage["output_tokens_details"] == {"image_tokens": 50_000, "text_tokens": 7}
    assert bench.owed == 11 * 5 + 50_000 * 32 + 7 * 10


async def test_a_whole_micro_dollar_is_the_least(bench: OpenAIBench) -> None:
    answer = await bench.edit([file_part()], prompt="a", model="gpt-image-1-mini")
    tokens = answer.json()["usage"]["input_tokens_details"]["image_tokens"]
    assert tokens * 5 % 2 == 0  # 194 tokens at 2.50 are whole
    assert bench.owed == 2 + tokens * 5 // 2 + 272 * 8


async def test_many_at_once_are_each_charged_once(slow: OpenAIBench) -> None:
    """Half of the clients leave while their pictures are made."""

    async def order(number: int) -> None:
        timeout = 0.05 if number % 2 else 10
        with contextlib.suppress(httpx.TimeoutException):
            await slow.client.post(
                "/v1/images/generations",
                json={**PLAIN, "prompt": "a red bicycle"},
                timeout=timeout,
            )

    await asyncio.gather(*(order(number) for number in range(20)))
    await slow.all_done()
    assert slow.state.image_requests == slow.state.bill.total.calls
    assert slow.state.bill.total.calls >= 10
    assert slow.owed == slow.state.bill.total.calls * PRICE
    assert len({line.serial for line in slow.state.bill.lines()}) == slow.state.bill.total.calls


async def test_the_most_connections_open_at_once(slow: OpenAIBench) -> None:
    await asyncio.gather(*(slow.generate() for _ in range(5)))
    await slow.generate()
    bill = await slow.bill()
    assert (bill["requests"], bill["most_open"], bill["open_now"]) == (6, 5, 0)


def test_a_line_is_never_written_twice() -> None:
    bill = Bill(2)

    def line(serial: int) -> Charge:
        return Charge(
            serial, "req", "key_a", "gpt-image-2", "image.generation", "1024x1024", "x",
            1, 1, 0, 196, 0, 5_885, 0.0,
        )  # fmt: skip

    bill.charge(line(1))
    with pytest.raises(ValueError, match="call 1 is on the bill already"):
        bill.charge(line(1))
    bill.charge(line(2))
    bill.charge(line(3))
    assert [kept.serial for kept in bill.lines()] == [2, 3]
    assert (bill.total.usd_micros, bill.total.calls) == (3 * 5_885, 3)


async def test_a_key_without_credit_is_refused(open_bench: OpenBench) -> None:
    async with open_bench(credit_usd_micros=PRICE) as bench:
        assert (await bench.generate()).status_code == 200
        answer = await bench.generate()
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (
            429, "insufficient_quota", "credit_balance_exhausted",
        )  # fmt: skip
        assert "retry-after" not in answer.headers
        assert bench.owed == PRICE
