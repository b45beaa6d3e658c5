"""Azure's two addresses, its key, and where its answers differ."""

from typing import Any

import httpx2 as httpx
import pytest
from openai import AsyncAzureOpenAI
from openai_bench import PLAIN, OpenAIBench, OpenBench, file_part, opened, picture

KEY = {"api-key": "0123456789abcdef"}
OLD = "/openai/deployments/{}/images/{}?api-version=2025-04-01-preview"
NEW = "/openai/v1/images/generations"
FIELDS = {"prompt": "a red bicycle", "size": "1024x1024", "quality": "low"}


@pytest.fixture
async def azure():  # type: ignore[no-untyped-def]
    """A bench without any key of OpenAI's, whose deployment `pictures` is gpt-image-2."""
    async with opened(deployments={"pictures": "gpt-image-2"}) as bench:
        del bench.client.headers["Authorization"]
        yield bench


async def post(
    bench: OpenAIBench, path: str, headers: dict[str, str] = KEY, **fields: Any
) -> httpx.Response:
    return await bench.client.post(path, json={**FIELDS, **fields}, headers=headers)


async def test_the_old_address_names_the_deployment(azure: OpenAIBench) -> None:
    for name in ("pictures", "gpt-image-2"):
        answer = await post(azure, OLD.format(name, "generations"))
        assert answer.status_code == 200
        assert answer.json()["usage"]["output_tokens"] == 196
    assert "apim-request-id" in answer.headers
    assert "openai-processing-ms" not in answer.headers
    assert azure.state.bill.of(KEY["api-key"]).calls == 2


async def test_there_a_model_in_the_body_is_one_too_many(azure: OpenAIBench) -> None:
    answer = await post(azure, OLD.format("pictures", "generations"), model="gpt-image-2")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (
        400, "unknown_parameter", "model",
    )  # fmt: skip
    answer = await post(azure, OLD.format("gpt-image-1.5", "generations"), model="gpt-image-1.5")
    assert answer.status_code == 200


async def test_the_new_address_wants_the_deployment_as_model(azure: OpenAIBench) -> None:
    assert (await post(azure, NEW, model="pictures")).status_code == 200
    assert (await post(azure, f"{NEW}?api-version=preview", model="pictures")).status_code == 200
    answer = await post(azure, NEW, model="paintings")
    assert answer.status_code == 404
    assert list(answer.json()["error"]) == ["code", "message"]
    assert answer.json()["error"]["code"] == "DeploymentNotFound"
    assert (await post(azure, NEW)).json()["error"]["param"] == "model"


async def test_a_version_is_needed_and_a_deployment(azure: OpenAIBench) -> None:
    path = OLD.format("pictures", "generations")
    for wrong in (path.partition("?")[0], path.replace("images", "pictures")):
        answer = await post(azure, wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "404")
    answer = await post(azure, OLD.format("paintings", "generations"))
    assert answer.json()["error"]["code"] == "DeploymentNotFound"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer 0123456789abcdef"}])
async def test_a_bearer_is_no_key_here(azure: OpenAIBench, headers: dict[str, str]) -> None:
    answer = await post(azure, NEW, headers=headers, model="pictures")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "401")


async def test_an_entra_token_is(azure: OpenAIBench) -> None:
    headers = {"Authorization": "Bearer eyJhbGciOi.x.y"}
    assert (await post(azure, NEW, headers=headers, model="pictures")).status_code == 200


async def test_what_azure_does_not_make(azure: OpenAIBench) -> None:
    answer = await post(azure, NEW, model="pictures", output_format="webp")
    assert answer.json()["error"]["param"] == "output_format"
    path = OLD.format("pictures", "edits")
    body = {"prompt": "x", "images": [{"image_url": "https://a.example/a.png"}]}
    answer = await azure.client.post(path, json=body, headers=KEY)
    assert answer.json()["error"]["code"] == "unsupported_content_type"
    part = file_part(content=picture(kind="WEBP"), media_type="image/webp")
    answer = await azure.client.post(path, data={"prompt": "x"}, files=[part], headers=KEY)
    assert answer.json()["error"]["code"] == "unsupported_file_mimetype"
    answer = await azure.client.post(path, data={"prompt": "x"}, files=[file_part()], headers=KEY)
    assert answer.status_code == 200
    assert answer.json()["quality"] == "high"  # its default


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("fail=contentFilter", 400, "contentFilter"),
        ("late-fail=contentFilter", 400, "contentFilter"),
        ("fail=content_filter", 400, "content_filter"),
        ("fail=moderation_blocked", 400, "moderation_blocked"),
        ("fail=Forbidden", 403, "Forbidden"),
        ("http=429", 429, "429"),
        ("fail=timeout", 408, "Timeout"),
        ("fail=resource_not_found", 404, "404"),
    ],
)
async def test_its_errors(azure: OpenAIBench, word: str, status: int, code: str) -> None:
    answer = await post(azure, NEW, model="pictures", prompt=f"x [sandbox:{word}]")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    if code == "contentFilter":
        assert "created" in answer.json()
        assert "type" not in answer.json()["error"]


async def test_its_sdk(open_bench: OpenBench) -> None:
    async with (
        open_bench(deployments={"pictures": "gpt-image-1.5"}) as bench,
        AsyncAzureOpenAI(
            azure_endpoint=bench.sandbox.base_url,
            api_key=KEY["api-key"],
            api_version="2025-04-01-preview",
            max_retries=0,
        ) as sdk,
    ):
        made = await sdk.images.generate(model="pictures", prompt="x", quality="low", size="auto")
        assert made.data
        assert made.size == "1024x1024"
        assert bench.state.requests[-1].path == "/openai/deployments/pictures/images/generations"


async def test_models_of_the_new_address(azure: OpenAIBench) -> None:
    answer = await azure.client.get("/openai/v1/models", headers=KEY)
    assert "gpt-image-2" in {one["id"] for one in answer.json()["data"]}
    assert PLAIN["model"] == "gpt-image-2"
