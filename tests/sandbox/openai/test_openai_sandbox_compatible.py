"""Another server that speaks this API, in its own way."""

from collections.abc import AsyncIterator

import pytest
from openai_bench import OpenAIBench, file_part, look, opened, pictures_in


@pytest.fixture
async def other() -> AsyncIterator[OpenAIBench]:
    async with opened(compatible=True, models=("flux",)) as one:
        yield one


async def test_it_answers_links_unless_asked_otherwise(other: OpenAIBench) -> None:
    for asked in ({}, {"response_format": "url"}):
        made = await other.generate(model="flux", **asked)
        (one,) = made.json()["data"]
        assert look((await other.client.get(one["url"])).content)[0] == "PNG"
    made = await other.generate(model="flux", response_format="b64_json")
    assert look(pictures_in(made)[0])[0] == "PNG"


async def test_it_says_nothing_of_usage_and_keeps_a_bill_all_the_same(other: OpenAIBench) -> None:
    made = await other.generate("a red bicycle", model="flux")
    assert "usage" not in made.json()
    assert other.owed == 3 * 5 + 196 * 30


async def test_its_pictures_come_as_repeated_image(other: OpenAIBench) -> None:
    assert (await other.edit([file_part()] * 3, model="flux")).status_code == 200
    (line,) = other.state.bill.lines()
    assert line.image_in == 3 * 64
    refused = await other.edit([file_part("image[]")], model="flux")
    assert refused.status_code == 400


async def test_its_errors_are_details(other: OpenAIBench) -> None:
    for fields in ({"size": "1:1", "model": "flux"}, {"prompt": "x [sandbox:http=503]"}):
        answer = await other.generate(**{"model": "flux", **fields})
        assert list(answer.json()) == ["detail"]
