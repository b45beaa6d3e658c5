"""OpenAI's own SDK against the simulator behaves as with the original."""

import base64
import time

import openai
import pytest
from openai import AsyncOpenAI
from openai_bench import ADMIN_KEY, OpenAIBench, OpenBench, look, picture


async def test_generate(bench: OpenAIBench) -> None:
    made = await bench.sdk.images.generate(
        model="gpt-image-2", prompt="a red bicycle", size="1024x1024", quality="low", n=2
    )
    assert made.data is not None
    assert made.usage is not None
    assert len(made.data) == 2
    assert made.usage.output_tokens == 2 * 196
    assert made.size == "1024x1024"
    assert look(base64.b64decode(made.data[0].b64_json or ""))[0] == "PNG"
    assert bench.owed == 3 * 5 + 2 * 196 * 30


async def test_edit_with_one_reference(bench: OpenAIBench) -> None:
    made = await bench.sdk.images.edit(
        model="gpt-image-1.5",
        image=("mug.png", picture(), "image/png"),
        mask=("mask.png", picture(mode="RGBA"), "image/png"),
        prompt="put it on a table",
        size="1536x1024",
        quality="medium",
        input_fidelity="high",
    )
    assert made.usage is not None
    assert made.usage.input_tokens_details.image_tokens == 65 + 129 + 4160
    assert made.usage.output_tokens == 1568


async def test_edit_with_several_references(bench: OpenAIBench) -> None:
    made = await bench.sdk.images.edit(
        model="gpt-image-2",
        image=[(f"{kind}.x", picture(kind=kind), f"image/{kind.lower()}") for kind in
               ("PNG", "JPEG", "WEBP")],
        prompt="put them together",
        n=2,
        output_format="webp",
    )  # fmt: skip
    assert made.data is not None
    assert [look(base64.b64decode(one.b64_json or ""))[0] for one in made.data] == ["WEBP"] * 2
    (line,) = bench.state.bill.lines()
    assert (line.source, line.image_in, line.images) == ("image.edit", 3 * 64, 2)


@pytest.mark.parametrize(
    ("word", "error", "code"),
    [
        ("fail=moderation_blocked", openai.BadRequestError, "moderation_blocked"),
        ("late-fail=moderation_blocked", openai.BadRequestError, "moderation_blocked"),
        ("fail=invalid_api_key", openai.AuthenticationError, "invalid_api_key"),
        ("fail=unverified", openai.PermissionDeniedError, None),
        ("fail=model_not_found", openai.NotFoundError, "model_not_found"),
        ("fail=rate_limit_exceeded", openai.RateLimitError, "rate_limit_exceeded"),
        ("fail=credit_balance_exhausted", openai.RateLimitError, "credit_balance_exhausted"),
        ("http=500", openai.InternalServerError, None),
        ("http=503", openai.InternalServerError, "server_is_overloaded"),
        ("late-http=524", openai.InternalServerError, None),
        ("drop", openai.APIConnectionError, None),
        ("cut", openai.APIConnectionError, None),
    ],
)
async def test_errors_are_its_exceptions(
    bench: OpenAIBench, word: str, error: type[openai.APIError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        await bench.sdk.images.generate(model="gpt-image-2", prompt=f"x [sandbox:{word}]")
    assert caught.value.code == code
    if isinstance(caught.value, openai.APIStatusError):
        assert (caught.value.request_id or "").startswith("req_")


async def test_a_wrong_parameter_is_named(bench: OpenAIBench) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await bench.sdk.images.generate(model="gpt-image-2", prompt="x", size="256x256")
    assert (caught.value.param, caught.value.type) == ("size", "image_generation_user_error")
    with pytest.raises(openai.BadRequestError) as caught:
        await bench.sdk.images.generate(model="gpt-image-2", prompt="x", style="vivid")
    assert (caught.value.param, caught.value.code) == ("style", "unknown_parameter")


async def test_silence_is_its_timeout(bench: OpenAIBench) -> None:
    with pytest.raises(openai.APITimeoutError):
        await bench.sdk.images.generate(model="gpt-image-2", prompt="x [sandbox:hang]", timeout=0.2)


async def test_its_retries_are_charges(bench: OpenAIBench) -> None:
    """What the SDK does by default with a lost answer: it pays a second time."""
    prompt = "x [sandbox:drop*1]"
    made = await bench.sdk.with_options(max_retries=2).images.generate(
        model="gpt-image-2", prompt=prompt
    )
    assert made.data
    assert (bench.state.bill.total.calls, bench.state.calls_by_prompt[prompt]) == (2, 2)


async def test_it_waits_as_a_429_says(bench: OpenAIBench) -> None:
    begun = time.monotonic()
    prompt = "x [sandbox:http=429*1][sandbox:retry-after=0.6]"
    await bench.sdk.with_options(max_retries=1).images.generate(model="gpt-image-2", prompt=prompt)
    assert time.monotonic() - begun >= 0.6
    assert bench.state.bill.total.calls == 1


async def test_models(bench: OpenAIBench) -> None:
    listed = {model.id: model async for model in bench.sdk.models.list()}
    assert listed["gpt-image-1.5"].shutdown_date == "2026-12-01"
    assert listed["gpt-image-2"].shutdown_date is None
    assert "gpt-image-1" not in listed
    assert (await bench.sdk.models.retrieve("gpt-image-1-mini")).shutdown_date == "2026-12-01"
    with pytest.raises(openai.NotFoundError):
        await bench.sdk.models.retrieve("gpt-image-1")


async def test_the_usage_report(open_bench: OpenBench) -> None:
    async with open_bench() as bench:
        for prompt, n in (("a", 2), ("b", 1)):
            await bench.generate(prompt, n=n)
        await bench.generate("c", model="gpt-image-1.5", size="1536x1024")
        await bench.sdk.images.edit(model="gpt-image-2", prompt="d", image=picture_file())
        (key,) = bench.state.bill.as_json(0)["keys"]
        now = int(bench.state.clock())
        async with AsyncOpenAI(
            base_url=bench.sandbox.api_url, api_key="sk-x", admin_api_key=ADMIN_KEY, max_retries=0
        ) as admin:
            report = await admin.admin.organization.usage.images(
                start_time=now - 600,
                bucket_width="1m",
                group_by=["model", "api_key_id", "size", "source"],
            )
        results = [result for bucket in report.data for result in bucket.results]
        found: dict[tuple[object, ...], tuple[int, int]] = {}
        for result in results:
            assert result.object == "organization.usage.images.result"
            group = (result.model, result.api_key_id, result.size, result.source)
            images, calls = found.get(group, (0, 0))
            found[group] = (images + result.images, calls + result.num_model_requests)
        assert found == {
            ("gpt-image-2", key, "1024x1024", "image.generation"): (3, 2),
            ("gpt-image-1.5", key, "1536x1024", "image.generation"): (1, 1),
            ("gpt-image-2", key, "1024x1024", "image.edit"): (1, 1),
        }


def picture_file() -> tuple[str, bytes, str]:
    return "one.png", picture(), "image/png"


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_of_partial_pictures(bench: OpenAIBench) -> None:
    stream = await bench.sdk.images.generate(
        model="gpt-image-2", prompt="a red bicycle", size="1024x1024", quality="low",
        stream=True, partial_images=2,
    )  # fmt: skip
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "image_generation.partial_image", "image_generation.partial_image",
        "image_generation.completed",
    ]  # fmt: skip
    first, second, last = events
    assert first.type == "image_generation.partial_image"
    assert last.type == "image_generation.completed"
    assert first.partial_image_index == 0
    assert len({first.b64_json, second.b64_json, last.b64_json}) == 3
    assert last.usage.output_tokens == 196 + 2 * 100
    assert bench.owed == 3 * 5 + (196 + 200) * 30


async def test_a_stream_of_an_edit(bench: OpenAIBench) -> None:
    stream = await bench.sdk.images.edit(
        model="gpt-image-2", prompt="x", image=picture_file(), stream=True
    )
    assert [event.type async for event in stream] == ["image_edit.completed"]


async def test_a_stream_may_end_without_its_end(bench: OpenAIBench) -> None:
    stream = await bench.sdk.images.generate(
        model="gpt-image-2", prompt="x [sandbox:unfinished]", stream=True, partial_images=1
    )
    assert [event.type async for event in stream] == ["image_generation.partial_image"]
    assert bench.state.bill.total.calls == 1


async def test_a_stream_may_bring_fewer_partials(bench: OpenAIBench) -> None:
    stream = await bench.sdk.images.generate(
        model="gpt-image-2", prompt="x [sandbox:fewer-partials][sandbox:tokens=100]",
        stream=True, partial_images=2,
    )  # fmt: skip
    assert len([event async for event in stream]) == 2
    (line,) = bench.state.bill.lines()
    assert line.image_out == 100 + 100


@pytest.mark.parametrize(
    ("word", "code"),
    [("server_error", "image_generation_failed"), ("moderation_blocked", "moderation_blocked")],
)
async def test_a_stream_may_fail_after_its_200(bench: OpenAIBench, word: str, code: str) -> None:
    stream = await bench.sdk.images.generate(
        model="gpt-image-2", prompt=f"x [sandbox:late-fail={word}]", stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        [event async for event in stream]
    assert caught.value.code == code


async def test_a_stream_may_be_cut(bench: OpenAIBench) -> None:
    stream = await bench.sdk.images.generate(
        model="gpt-image-2", prompt="x [sandbox:cut]", stream=True, partial_images=1
    )
    assert (await anext(stream)).type == "image_generation.partial_image"
    with pytest.raises(openai.APIConnectionError):
        await anext(stream)
    assert bench.state.bill.total.calls == 1


@pytest.mark.parametrize("word", ["fail=moderation_blocked", "late-http=500", "http=503"])
async def test_a_stream_may_never_begin(bench: OpenAIBench, word: str) -> None:
    with pytest.raises(openai.APIStatusError):
        await bench.sdk.images.generate(
            model="gpt-image-2", prompt=f"x [sandbox:{word}]", stream=True
        )


async def test_who_leaves_a_stream_pays_for_it(open_bench: OpenBench) -> None:
    async with open_bench() as bench:
        stream = await bench.sdk.images.generate(
            model="gpt-image-2", prompt="x [sandbox:delay=1.5]", stream=True, partial_images=2
        )
        async for _ in stream:
            break
        await stream.close()
        assert (bench.owed, bench.state.under_way) == (0, 1)
        await bench.all_done()
        assert (bench.state.bill.total.calls, bench.state.open_now) == (1, 0)
