"""Answers with something wrong about them, limits, headers and time: each word does as it says."""

import asyncio
import base64
import gzip
import time

import httpx2 as httpx
import pytest
from openai_bench import PLAIN, OpenAIBench, OpenBench, file_part, look, picture, pictures_in

from gateway.sandbox.openai import OpenAIOptions
from gateway.sandbox.openai.models import MODELS
from gateway.sandbox.openai.pace import Pace, duration
from gateway.sandbox.openai.refusals import RefusedError, Style
from gateway.sandbox.openai.wishes import Sheet, read_wish
from gateway.sandbox.openai.words import WORDS
from gateway.sandbox.openai.workshop import slowness


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
async def test_real_pictures_of_the_asked_size(open_bench: OpenBench, kind: str) -> None:
    async with open_bench(picture_scale=1.0) as bench:
        answer = await bench.generate(n=2, size="1280x720", output_format=kind)
    body = answer.json()
    first, second = pictures_in(answer)
    assert look(first) == look(second) == (kind.upper(), (1280, 720))
    assert first != second
    assert (body["size"], body["output_format"], body["background"]) == (
        "1280x720", kind, "opaque",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "fields", "size"),
    [
        ("gpt-image-2", {}, "1024x1024"),
        ("gpt-image-1.5", {"size": "1536x1024"}, "1536x1024"),
    ],
)
async def test_auto_is_resolved(
    bench: OpenAIBench, model: str, fields: dict[str, str], size: str
) -> None:
    body = {"model": model, "prompt": "x", **fields}
    answer = (await bench.client.post("/v1/images/generations", json=body)).json()
    assert (answer["size"], answer["quality"], answer["background"]) == (size, "medium", "opaque")


async def test_an_edit_takes_the_shape_of_its_reference(bench: OpenAIBench) -> None:
    for pixels, size in (((200, 100), "1536x1024"), ((100, 200), "1024x1536")):
        answer = await bench.edit([file_part(content=picture(pixels))], size="auto")
        assert answer.json()["size"] == size


async def test_off_size(open_bench: OpenBench) -> None:
    async with open_bench(picture_scale=1.0) as bench:
        answer = await bench.generate("x [sandbox:off-size]", size="1024x1024")
    assert look(pictures_in(answer)[0])[1] == (1027, 1027)
    assert answer.json()["size"] == "1024x1024"


async def test_drop_cuts_before_the_first_byte(bench: OpenAIBench) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending"):
        await bench.generate("x [sandbox:drop*1]")
    assert (await bench.generate("x [sandbox:drop*1]")).status_code == 200
    assert bench.state.bill.total.calls == 2


async def test_cut_cuts_in_the_middle(bench: OpenAIBench) -> None:
    got = b""
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        async with bench.client.stream(
            "POST", "/v1/images/generations", json={**PLAIN, "prompt": "x [sandbox:cut]"}
        ) as answer:
            length = int(answer.headers["content-length"])
            async for chunk in answer.aiter_raw():
                got += chunk
    assert 0 < len(got) < length


async def test_hang_never_answers(bench: OpenAIBench) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await bench.client.post(
            "/v1/images/generations", json={**PLAIN, "prompt": "x [sandbox:hang]"}, timeout=0.2
        )


async def test_drip(bench: OpenAIBench) -> None:
    got = []
    async with bench.client.stream(
        "POST", "/v1/images/generations", json={**PLAIN, "prompt": "x [sandbox:drip=0.01]"}
    ) as answer:
        async for chunk in answer.aiter_raw():
            got.append(len(chunk))
            if len(got) == 5:
                break
    assert sum(got) < 50


async def test_huge_is_streamed(bench: OpenAIBench) -> None:
    length, largest = 0, 0
    async with bench.client.stream(
        "POST", "/v1/images/generations", json={**PLAIN, "prompt": "x [sandbox:huge=16]"}
    ) as answer:
        assert "content-length" not in answer.headers
        async for chunk in answer.aiter_raw():
            length, largest = length + len(chunk), max(largest, len(chunk))
    assert length > 16 * 1024 * 1024
    assert largest < 1024 * 1024


async def test_gzip_comes_unasked(bench: OpenAIBench) -> None:
    async with bench.client.stream(
        "POST",
        "/v1/images/generations",
        json={**PLAIN, "prompt": "x [sandbox:gzip]"},
        headers={"Accept-Encoding": "identity"},
    ) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert b"b64_json" in gzip.decompress(raw)


async def test_a_redirect_leads_inside(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:redirect]")
    assert (answer.status_code, answer.headers["location"][:23]) == (307, "http://169.254.169.254/")


async def test_garbage_is_no_json(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:garbage]")
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


async def test_an_error_dressed_as_success(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:error-200]")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, "rate_limit_exceeded")


async def test_pictures_that_are_none(bench: OpenAIBench) -> None:
    assert (await bench.generate("x [sandbox:empty-data]")).json()["data"] == []
    with pytest.raises(ValueError, match=r"base64|characters"):
        pictures_in(await bench.generate("x [sandbox:bad-base64]"))
    assert pictures_in(await bench.generate("x [sandbox:not-a-picture]"))[0].startswith(b"<!doc")


async def test_fewer_pictures_than_asked(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:results=1]", n=3)
    assert len(pictures_in(answer)) == 1
    assert bench.state.bill.total.images == 1


async def test_a_link_instead_of_base64(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:url]", output_format="webp", n=2)
    first, second = answer.json()["data"]
    assert (list(first), list(second)) == (["url"], ["url"])
    found = await bench.client.get(second["url"])
    assert look(found.content)[0] == "WEBP"
    assert found.headers["content-type"] == "image/webp"
    assert (await bench.client.get("/sandbox/pictures/9-9.png")).status_code == 404


async def test_usage_with_and_without(bench: OpenAIBench, open_bench: OpenBench) -> None:
    usage = (await bench.generate("a red bicycle")).json()["usage"]
    assert usage == {
        "input_tokens": 3, "input_tokens_details": {"image_tokens": 0, "text_tokens": 3},
        "output_tokens": 196, "output_tokens_details": {"image_tokens": 196, "text_tokens": 0},
        "total_tokens": 199,
    }  # fmt: skip
    assert "usage" not in (await bench.generate("x [sandbox:no-usage]")).json()
    plain = (await bench.generate("x [sandbox:no-details]")).json()["usage"]
    assert "output_tokens_details" not in plain
    assert (await bench.generate("x [sandbox:bad-usage]")).json()["usage"]["input_tokens"] < 0
    async with open_bench(output_details=False) as other:
        usage = (await other.generate()).json()["usage"]
        assert "output_tokens_details" not in usage


async def test_a_safety_identifier_is_echoed(bench: OpenAIBench) -> None:
    assert (await bench.generate(safety_identifier="u1")).json()["safety_identifier"] == "u1"
    assert "safety_identifier" not in (await bench.generate()).json()


async def test_a_prompt_shows_without_its_words(bench: OpenAIBench) -> None:
    (content,) = pictures_in(await bench.generate("a red bicycle [sandbox:delay=0]"))
    assert b"a red bicycle (" in content
    assert b"[sandbox:" not in content


# --- time ---------------------------------------------------------------------------------------


async def test_no_byte_comes_before_the_picture_is_done(bench: OpenAIBench) -> None:
    body = {**PLAIN, "prompt": "x [sandbox:delay=0.4]"}
    begun = time.monotonic()
    async with bench.client.stream("POST", "/v1/images/generations", json=body) as answer:
        head = time.monotonic() - begun
        await answer.aread()
    assert head >= 0.4
    assert int(answer.headers["openai-processing-ms"]) >= 400


def test_better_larger_and_more_pictures_take_longer() -> None:
    def wished(**fields: object) -> float:
        sheet = Sheet({"prompt": "x", "size": "1024x1024", **fields}, is_form=False)
        return slowness(read_wish(sheet, MODELS["gpt-image-2"], Style.OPENAI))

    assert wished() == 1.0
    assert wished(quality="low") < 0.5
    assert wished(quality="high") > 2
    assert wished(size="2048x2048") == 2.0
    assert wished(n=5) == 2.0


# --- headers and limits -------------------------------------------------------------------------


async def test_headers_of_every_answer(bench: OpenAIBench) -> None:
    first, second = await bench.generate(), await bench.generate(size="1:1")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for answer in (first, second):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-organization"] == "org-sandbox"
        assert answer.headers["openai-version"] == "2020-10-01"


async def test_limits_per_minute(open_bench: OpenBench) -> None:
    async with open_bench(images_per_minute=5, requests_per_minute=100) as bench:
        first = await bench.generate(n=4)
        assert first.headers["x-ratelimit-limit-images"] == "5"
        assert first.headers["x-ratelimit-remaining-images"] == "1"
        assert first.headers["x-ratelimit-remaining-requests"] == "99"
        refused = await bench.generate(n=2)
        error = refused.json()["error"]
        assert (refused.status_code, error["type"], error["code"]) == (
            429, "images", "rate_limit_exceeded",
        )  # fmt: skip
        assert 55 <= int(refused.headers["retry-after"]) <= 60
        assert 55_000 < int(refused.headers["retry-after-ms"]) <= 60_000
        assert (await bench.generate()).status_code == 200  # one still fits: 429s count nothing
        other = {"Authorization": "Bearer sk-other"}
        body = {**PLAIN, "prompt": "x", "n": 5}
        answer = await bench.client.post("/v1/images/generations", json=body, headers=other)
        assert answer.status_code == 200


async def test_references_count_too(open_bench: OpenBench) -> None:
    async with open_bench(input_images_per_minute=3) as bench:
        assert (await bench.edit([file_part("image[]")] * 2)).status_code == 200
        refused = await bench.edit([file_part("image[]")] * 2)
        assert refused.json()["error"]["type"] == "input-images"


async def test_so_do_tokens(open_bench: OpenBench) -> None:
    async with open_bench(tokens_per_minute=500) as bench:
        answer = await bench.generate("a red bicycle", n=2)
        assert answer.headers["x-ratelimit-remaining-tokens"] == str(500 - 3 - 2 * 196)
        refused = await bench.generate()
        assert refused.json()["error"]["type"] == "tokens"
        assert refused.headers["x-ratelimit-reset-tokens"].endswith("s")


async def test_limits_end_with_their_minute() -> None:
    now = 1000.0
    pace = Pace(OpenAIOptions(images_per_minute=5), lambda: now)
    pace.take("a", {"images": 4})
    now += 20
    pace.take("a", {"images": 1})
    with pytest.raises(RefusedError) as caught:
        pace.take("a", {"images": 2})
    assert caught.value.refusal.retry_after_seconds == 40
    assert pace.headers("a")["x-ratelimit-reset-images"] == "1m0s"
    now += 40
    pace.take("a", {"images": 2})


async def test_a_429_names_the_time_that_is_told(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:http=429][sandbox:retry-after=0.25]")
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "250")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (0, "0ms"), (58.891, "58.891s"), (12, "12s"), (90, "1m30s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- being down, chances ------------------------------------------------------------------------


async def test_being_down(bench: OpenAIBench) -> None:
    bench.state.down = True
    answer = await bench.generate()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_is_overloaded")
    bench.state.down_mode = "cut"
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.generate()
    assert (await bench.bill())["requests"] == 2
    await bench.sandbox.refuse_connections()
    with pytest.raises(httpx.ConnectError):
        await bench.generate()
    await bench.sandbox.accept_connections()
    bench.state.down = False
    assert (await bench.generate()).status_code == 200


async def test_words_act_by_chance(open_bench: OpenBench) -> None:
    async with open_bench(rates={"http": 0.5}) as bench:
        statuses = [(await bench.generate()).status_code for _ in range(40)]
    assert 8 < statuses.count(503) < 32
    assert statuses.count(200) + statuses.count(503) == 40


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rates", {"sparkle": 0.1}), ("rates", {"drop": 2}), ("rates", {"delay": 0.1}),
        ("seconds_per_picture", -1), ("picture_scale", 0), ("drawing_threads", 0),
    ],
)  # fmt: skip
def test_options_that_cannot_be(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        OpenAIOptions(**{field: value})  # type: ignore[arg-type]


def test_every_word_is_told_apart() -> None:
    assert len(WORDS) >= 25
    assert all(word.form.startswith(name) for name, word in WORDS.items())


async def test_a_picture_is_the_same_for_the_same_seed(open_bench: OpenBench) -> None:
    found = []
    for seed in (1, 1, 2):
        async with open_bench(seed=seed) as bench:
            found.append(base64.b64encode(pictures_in(await bench.generate())[0]))
    assert found[0] == found[1] != found[2]


async def test_open_calls_do_not_hold_back_the_end(open_bench: OpenBench) -> None:
    begun = time.monotonic()
    async with open_bench() as bench:
        waiting = asyncio.create_task(bench.generate("x [sandbox:delay=600]"))
        while not bench.state.under_way:
            await asyncio.sleep(0.005)
        waiting.cancel()
    assert time.monotonic() - begun < 5
