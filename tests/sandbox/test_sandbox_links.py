"""Result links: real pictures of the asked size, and everything that can be wrong with a link."""

import asyncio
import io

import httpx2 as httpx
import pytest
from PIL import Image
from sandbox_bench import Bench, OpenBench

FORMATS = ("PNG", "JPEG", "WEBP")


async def test_a_result_is_a_picture_of_the_asked_size(open_bench: OpenBench) -> None:
    async with open_bench(picture_scale=0.25) as bench:
        task = await bench.finished("a red bicycle", size="3:2", n=2)
        answers = [await bench.anonymous.get(url) for url in task["results"]]
        for answer in answers:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "image/png"
            assert int(answer.headers["content-length"]) == len(answer.content)
            picture = Image.open(io.BytesIO(answer.content), formats=FORMATS)
            picture.load()
            assert (picture.format, picture.size) == ("PNG", (384, 256))
        assert answers[0].content != answers[1].content
        assert bench.state.bytes_served == sum(len(answer.content) for answer in answers)


@pytest.mark.parametrize(("asked", "ending"), [("jpeg", "jpg"), ("webp", "webp")])
async def test_other_formats(bench: Bench, asked: str, ending: str) -> None:
    task = await bench.finished(model="gpt-image-2.5-flare", output_format=asked)
    assert task["results"][0].endswith(f"_0.{ending}")
    answer = await bench.anonymous.get(task["results"][0])
    assert answer.headers["content-type"] == f"image/{asked}"
    picture = Image.open(io.BytesIO(answer.content), formats=FORMATS)
    assert picture.format == asked.upper()


async def test_the_same_prompt_gives_another_picture_but_each_link_always_the_same(
    open_bench: OpenBench,
) -> None:
    async with open_bench(picture_cache_bytes=0) as bench:
        one, two = [(await bench.finished("same"))["results"][0] for _ in range(2)]
        first = (await bench.anonymous.get(one)).content
        assert first != (await bench.anonymous.get(two)).content
        assert first == (await bench.anonymous.get(one)).content


async def test_seed_and_order_determine_the_pictures(open_bench: OpenBench) -> None:
    async def first_picture(seed: int) -> bytes:
        async with open_bench(seed=seed) as bench:
            return (await bench.anonymous.get((await bench.finished())["results"][0])).content

    assert await first_picture(3) == await first_picture(3)
    assert await first_picture(3) != await first_picture(4)


async def test_head_tells_the_length(bench: Bench) -> None:
    url = (await bench.finished())["results"][0]
    head = await bench.anonymous.head(url)
    got = await bench.anonymous.get(url)
    assert head.status_code == 200
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


async def test_links_live_until_their_time_is_up(open_bench: OpenBench) -> None:
    async with open_bench(link_lifetime_seconds=1000) as bench:
        url = (await bench.finished())["results"][0]
        assert (await bench.anonymous.get(url)).status_code == 200
        bench.clock.now += 1000
        assert (await bench.anonymous.get(url)).status_code == 404


async def test_no_link_before_the_task_is_done_and_no_other_path(bench: Bench) -> None:
    task_id = await bench.task_id()
    task = bench.state.tasks[task_id]
    url = bench.state.links(task, bench.sandbox.base_url)[0]
    assert (await bench.anonymous.get(url)).status_code == 404
    bench.clock.now += 100
    assert (await bench.anonymous.get(url)).status_code == 200
    assert (await bench.anonymous.get(url.replace("_0.", "_1."))).status_code == 404
    assert (await bench.anonymous.get(url.replace("/images/2", "/images/3"))).status_code == 404


async def test_the_file_host_wants_a_user_agent_and_no_credentials(bench: Bench) -> None:
    url = (await bench.finished())["results"][0]
    for agent in ("", "Python-urllib/3.11"):
        answer = await bench.anonymous.get(url, headers={"User-Agent": agent})
        assert answer.status_code == 403
    assert (await bench.client.get(url)).status_code == 400


async def test_broken_links(bench: Bench) -> None:
    async def get(word: str) -> httpx.Response:
        url = (await bench.finished(f"x [sandbox:{word}]"))["results"][0]
        return await bench.anonymous.get(url)

    assert (await get("dead-link")).status_code == 404
    assert (await get("dead-link=503")).status_code == 503
    html = await get("html-link")
    assert html.headers["content-type"].startswith("text/html")
    redirect = await get("redirect-link")
    assert redirect.status_code == 302
    assert redirect.headers["location"].startswith("http://169.254.169.254/")
    truncated = await get("truncated-link")
    assert truncated.status_code == 200
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(truncated.content), formats=FORMATS).load()
    with pytest.raises(httpx.RemoteProtocolError):
        await get("cut-link")


async def test_a_counted_link_word_mends_itself(bench: Bench) -> None:
    url = (await bench.finished("x [sandbox:dead-link*1]"))["results"][0]
    assert [(await bench.anonymous.get(url)).status_code for _ in range(2)] == [404, 200]


async def test_a_huge_link_has_no_end_and_a_slow_one_drips(bench: Bench) -> None:
    huge = (await bench.finished("x [sandbox:huge-link]"))["results"][0]
    got = 0
    async with bench.anonymous.stream("GET", huge) as answer:
        assert "content-length" not in answer.headers
        async for chunk in answer.aiter_bytes():
            got += len(chunk)
            if got > 5_000_000:
                break
    assert got > 5_000_000

    slow = (await bench.finished("x [sandbox:slow-link=100]"))["results"][0]
    async with bench.anonymous.stream("GET", slow) as answer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await answer.aread()


async def test_links_down(bench: Bench) -> None:
    url = (await bench.finished())["results"][0]
    bench.state.links_down = True
    with pytest.raises(httpx.RemoteProtocolError):
        await bench.anonymous.get(url)
