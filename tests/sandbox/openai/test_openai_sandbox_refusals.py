"""Every refusal, with its status, type, code and param: of requests, keys, models and failures."""

import base64
from typing import Any

import httpx2 as httpx
import pytest
from openai_bench import ADMIN_KEY, KEY, PLAIN, OpenAIBench, OpenBench, file_part, picture

from gateway.sandbox.openai import bodies
from gateway.sandbox.openai.refusals import FAILURES

BAD, USER = "invalid_request_error", "image_generation_user_error"


def said(answer: httpx.Response) -> tuple[int, str | None, str | None, str | None]:
    """(status, type, code, param); all four members are always there."""
    error = answer.json()["error"]
    assert {"message", "type", "code", "param"} <= set(error)
    assert error["message"]
    return answer.status_code, error["type"], error["code"], error["param"]


GENERATIONS = [
    # what is sent beside a plain order, and what is said of it
    ({"response_format": "b64_json"}, BAD, "unknown_parameter", "response_format"),
    ({"style": "vivid"}, BAD, "unknown_parameter", "style"),
    ({"seed": 1}, BAD, "unknown_parameter", "seed"),
    ({"input_fidelity": "high"}, BAD, "unknown_parameter", "input_fidelity"),
    ({"complexity": "low"}, BAD, "unknown_parameter", "complexity"),
    ({"size": "1:1"}, USER, "invalid_value", "size"),
    ({"size": "1000x1000"}, USER, "invalid_value", "size"),
    ({"size": "256x256"}, USER, "invalid_value", "size"),
    ({"size": "4096x1024"}, USER, "invalid_value", "size"),
    ({"size": "2048x2048", "model": "gpt-image-1.5"}, USER, "invalid_value", "size"),
    ({"size": 1024}, BAD, "invalid_type", "size"),
    ({"quality": "hd"}, BAD, "invalid_value", "quality"),
    ({"quality": "xhigh"}, BAD, "invalid_value", "quality"),
    ({"n": 0}, BAD, "integer_below_min_value", "n"),
    ({"n": 11}, BAD, "integer_above_max_value", "n"),
    ({"n": "2"}, BAD, "invalid_type", "n"),
    ({"n": True}, BAD, "invalid_type", "n"),
    ({"n": 1.5}, BAD, "invalid_type", "n"),
    ({"stream": "true"}, BAD, "invalid_type", "stream"),
    ({"partial_images": 4, "stream": True}, BAD, "integer_above_max_value", "partial_images"),
    ({"output_format": "gif"}, BAD, "invalid_value", "output_format"),
    ({"output_compression": 50}, BAD, "invalid_value", "output_compression"),
    ({"background": "transparent", "output_format": "jpeg"}, BAD, "invalid_value", "background"),
    ({"moderation": "off"}, BAD, "invalid_value", "moderation"),
    ({"prompt": None}, BAD, "missing_required_parameter", "prompt"),
    ({"prompt": "  "}, BAD, "invalid_value", "prompt"),
    ({"prompt": "x" * 32_001}, BAD, "string_above_max_length", "prompt"),
    ({"prompt": ["x"]}, BAD, "invalid_type", "prompt"),
    ({"prompt": "x [sandbox:sparkle]"}, BAD, "invalid_value", "prompt"),
    ({"model": None}, BAD, "missing_required_parameter", "model"),
    ({"model": 2}, BAD, "invalid_type", "model"),
    ({"model": "gpt-image-9"}, USER, "invalid_value", "model"),
    ({"model": "gpt-image-1"}, USER, "invalid_value", "model"),
    ({"model": "dall-e-3"}, USER, "invalid_value", "model"),
]


@pytest.mark.parametrize(
    ("fields", "kind", "code", "param"), GENERATIONS, ids=lambda value: str(value)[:40]
)
async def test_a_generation_that_is_refused(
    bench: OpenAIBench, fields: dict[str, Any], kind: str, code: str, param: str
) -> None:
    assert said(await bench.generate(**fields)) == (400, kind, code, param)
    assert (bench.owed, bench.state.under_way) == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": None, "quality": None, "n": None},
        {"size": "auto", "quality": "auto", "background": "auto", "output_format": "png"},
        {"size": "1280x720"}, {"size": "3840x1280"}, {"size": "2880x2880"},
        {"output_format": "jpeg", "output_compression": 50},
        {"moderation": "low", "safety_identifier": "u", "background": "transparent"},
        {"model": "gpt-image-2.5-flare", "quality": "max"},
        {"model": "gpt-image-2.6-sunburst", "quality": "xhigh", "complexity": "low"},
        {"model": "gpt-image-1.5-2025-12-16"},
        {"prompt": "x" * 32_000},
    ],
)  # fmt: skip
async def test_a_generation_that_is_taken(bench: OpenAIBench, fields: dict[str, Any]) -> None:
    answer = await bench.generate(**fields)
    assert answer.status_code == 200, answer.text


TEXT = ("image[]", (None, "no file", None))
EDITS = [
    ([], {}, "missing_required_parameter", "image"),
    ([file_part(), file_part()], {}, "duplicate_parameter", "image"),
    ([file_part("image[]")] * 17, {}, "array_above_max_length", "image"),
    ([file_part("image[]", media_type="application/octet-stream")], {},
     "unsupported_file_mimetype", "image[0]"),
    ([file_part("image", media_type="image/gif")], {}, "unsupported_file_mimetype", "image"),
    ([TEXT], {}, "invalid_type", "image[0]"),
    ([file_part("image[]", b"<html>")], {}, "invalid_image_file", "image[0]"),
    ([file_part(), file_part("mask", picture((32, 32), mode="RGBA"))], {},
     "invalid_value", "mask"),
    ([file_part(), file_part("mask")], {}, "invalid_value", "mask"),
    ([file_part(), file_part("mask", picture(mode="RGBA"), "image/jpeg")], {},
     "unsupported_file_mimetype", "mask"),
    ([file_part(), file_part("markup", picture(mode="RGBA"))], {},
     "unknown_parameter", "markup"),
    ([file_part(), file_part("size", b"x")], {"size": []}, "invalid_type", "size"),
    ([file_part("image[0]")], {}, "missing_required_parameter", "image"),
    ([file_part()], {"input_fidelity": "high"}, "invalid_input_fidelity_model", "input_fidelity"),
    ([file_part()], {"input_fidelity": "high", "model": "gpt-image-1-mini"},
     "invalid_value", "input_fidelity"),
    ([file_part()], {"response_format": "b64_json"}, "unknown_parameter", "response_format"),
    ([file_part()], {"n": "two"}, "invalid_type", "n"),
    ([file_part()], {"n": ["1", "2"]}, "duplicate_parameter", "n"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "fields", "code", "param"), EDITS)
async def test_an_edit_that_is_refused(
    bench: OpenAIBench, parts: list[tuple[str, Any]], fields: dict[str, Any], code: str, param: str
) -> None:
    # Without any file httpx would send no multipart at all.
    answer = await bench.edit(parts or [("user", (None, "u"))], **fields)
    assert said(answer) == (400, BAD, code, param)
    assert (bench.owed, bench.state.under_way) == (0, 0)


async def test_a_part_without_a_type(bench: OpenAIBench) -> None:
    lines = [
        b"--cut", b'Content-Disposition: form-data; name="image[]"; filename="one.png"', b"",
        picture(), b"--cut", b'Content-Disposition: form-data; name="prompt"', b"", b"x",
        b"--cut", b'Content-Disposition: form-data; name="model"', b"", b"gpt-image-2",
        b"--cut--", b"",
    ]  # fmt: skip
    answer = await bench.client.post(
        "/v1/images/edits",
        content=b"\r\n".join(lines),
        headers={"Content-Type": "multipart/form-data; boundary=cut"},
    )
    assert said(answer) == (400, BAD, "missing_file_mimetype", "image[0]")


async def test_a_mask_of_the_same_pixels_is_taken(bench: OpenAIBench) -> None:
    mask = file_part("mask", picture(mode="RGBA"))
    assert (await bench.edit([file_part(), mask])).status_code == 200
    markup = file_part("markup", picture(mode="RGBA"))
    answer = await bench.edit([file_part(), markup], model="gpt-image-2.5-flare")
    assert answer.status_code == 200
    both = await bench.edit([file_part(), mask, markup], model="gpt-image-2.5-flare")
    assert said(both) == (400, BAD, "invalid_value", "markup")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_sixteen_references_are_taken(bench: OpenAIBench, kind: str) -> None:
    part = file_part("image[]", picture(kind=kind), f"image/{kind.lower()}")
    assert (await bench.edit([part] * 16, n="2", stream="false")).status_code == 200


async def test_bodies_that_are_too_large(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bench(max_json_bytes=200) as bench:
        assert (await bench.generate()).status_code == 200
        assert said(await bench.generate("x" * 200)) == (413, BAD, None, None)
        assert (await bench.edit([file_part()])).status_code == 200
        monkeypatch.setattr(bodies, "_MOST_BYTES", len(picture()))
        assert said(await bench.edit([file_part()])) == (400, BAD, "invalid_value", "image")


async def test_bodies_of_the_wrong_kind(bench: OpenAIBench) -> None:
    answer = await bench.client.post("/v1/images/generations", data=PLAIN, files=[file_part()])
    assert said(answer) == (400, BAD, "unsupported_content_type", None)
    answer = await bench.client.post("/v1/images/edits", data=PLAIN)
    assert said(answer) == (400, BAD, "unsupported_content_type", None)
    for body in (b"{", b"[]"):
        answer = await bench.client.post(
            "/v1/images/generations", content=body, headers={"Content-Type": "application/json"}
        )
        assert said(answer)[:3] == (400, BAD, None)


DATA_URL = "data:image/png;base64," + base64.b64encode(picture()).decode()
LINKS = [
    ([], "missing_required_parameter", "images"),
    ({"image_url": "x"}, "invalid_type", "images"),
    (["https://a.example/a.png"], "invalid_type", "images[0]"),
    ([{"url": "https://a.example/a.png"}], "unknown_parameter", "images[0].url"),
    ([{}], "invalid_value", "images[0]"),
    ([{"image_url": DATA_URL, "file_id": "file-a"}], "invalid_value", "images[0]"),
    ([{"file_id": "file-a"}], "invalid_value", "images[0].file_id"),
    ([{"image_url": DATA_URL}, {"image_url": 1}], "invalid_type", "images[1].image_url"),
    ([{"image_url": "ftp://a.example/a"}], "invalid_value", "images[0].image_url"),
    ([{"image_url": "data:text/html;base64,eA=="}], "invalid_value", "images[0].image_url"),
    ([{"image_url": "data:image/png;base64,%"}], "invalid_value", "images[0].image_url"),
    ([{"image_url": "data:image/png;base64,eA=="}], "invalid_image_file", "images[0].image_url"),
    ([{"image_url": DATA_URL}] * 17, "array_above_max_length", "images"),
]


@pytest.mark.parametrize(("images", "code", "param"), LINKS)
async def test_a_json_edit_that_is_refused(
    bench: OpenAIBench, images: Any, code: str, param: str
) -> None:
    body = {**PLAIN, "prompt": "x", "images": images}
    answer = await bench.client.post("/v1/images/edits", json=body)
    assert said(answer) == (400, BAD, code, param)


async def test_json_edits_note_their_links_and_fetch_none(bench: OpenAIBench) -> None:
    links = ["https://shop.example/mug.png", f"{bench.sandbox.base_url}/sandbox/bill"]
    images = [{"image_url": link} for link in links]
    body = {**PLAIN, "prompt": "a red bicycle", "images": [*images, {"image_url": DATA_URL}]}
    answer = await bench.client.post(
        "/v1/images/edits", json={**body, "mask": {"image_url": "https://shop.example/mask.png"}}
    )
    assert answer.status_code == 200
    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 2 * 1024 + 64
    asked = (await bench.bill())["links"]
    assert asked == [*links, "https://shop.example/mask.png"]
    assert not [seen for seen in bench.state.requests if seen.path == "/sandbox/bill"]


async def test_links_on_this_machine_may_be_fetched(open_bench: OpenBench) -> None:
    async with open_bench(fetch_local_links=True) as bench:
        made = await bench.generate("x [sandbox:url]")
        link = made.json()["data"][0]["url"]
        body = {**PLAIN, "prompt": "x", "images": [{"image_url": link}]}
        answer = await bench.client.post("/v1/images/edits", json=body)
        assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 64
        body["images"] = [{"image_url": f"{bench.sandbox.base_url}/sandbox/pictures/none.png"}]
        answer = await bench.client.post("/v1/images/edits", json=body)
        assert said(answer) == (400, BAD, "invalid_value", "images[0].image_url")
        assert "Upstream status code: 404" in answer.json()["error"]["message"]


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer pk-1", "Basic eDp5", "Bearer sk-"])
async def test_a_key_that_is_none(bench: OpenAIBench, header: str | None) -> None:
    del bench.client.headers["Authorization"]
    headers = {"api-key": KEY} | ({} if header is None else {"Authorization": header})
    for path in ("/v1/images/generations", "/v1/images/edits"):
        answer = await bench.client.post(path, json=PLAIN, headers=headers)
        assert said(answer) == (401, BAD, "invalid_api_key", None)
    assert (await bench.client.get("/v1/models", headers=headers)).status_code == 401


async def test_the_only_key_that_is_accepted(open_bench: OpenBench) -> None:
    async with open_bench(accepted_key="sk-real") as bench:
        assert (await bench.generate()).status_code == 401
        bench.client.headers["Authorization"] = "Bearer sk-real"
        assert (await bench.generate()).status_code == 200


async def test_models_that_are_kept_back(open_bench: OpenBench) -> None:
    async with open_bench(
        models=("gpt-image-2", "gpt-image-1.5", "pictures"),
        denied_models=frozenset({"gpt-image-1.5"}),
        unverified_models=frozenset({"gpt-image-2"}),
    ) as bench:
        answer = await bench.generate(model="gpt-image-1.5")
        assert said(answer) == (404, BAD, "model_not_found", "model")
        assert said(await bench.generate()) == (403, BAD, None, None)
        assert "verified" in (await bench.generate()).json()["error"]["message"]
        # Parameters are looked at first, as the original does.
        assert said(await bench.generate(size="1:1"))[0] == 400
        assert (await bench.generate(model="pictures", quality="high")).status_code == 200
        answer = await bench.generate(model="gpt-image-2.5-flare")
        assert said(answer) == (400, USER, "invalid_value", "model")
        listed = (await bench.client.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed] == ["gpt-image-2", "pictures"]


@pytest.mark.parametrize("code", sorted(FAILURES))
@pytest.mark.parametrize("word", ["fail", "late-fail"])
async def test_every_failure_by_its_word(bench: OpenAIBench, word: str, code: str) -> None:
    answer = await bench.generate(f"x [sandbox:{word}={code}]")
    expected = FAILURES[code]
    assert said(answer) == (expected.status, expected.type, expected.code, expected.param)
    assert ("retry-after" in answer.headers) == (expected.retry_after_seconds is not None)
    assert bench.state.bill.total.calls == (word == "late-fail")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("http", (503, "service_unavailable_error", "server_is_overloaded", None)),
        ("http=400", (400, BAD, None, None)),
        ("http=400:moderation_blocked", (400, USER, "moderation_blocked", None)),
        ("http=401", (401, BAD, "invalid_api_key", None)),
        ("http=403", (403, BAD, None, None)),
        ("http=404", (404, BAD, "model_not_found", "model")),
        ("http=418:teapot", (418, BAD, "teapot", None)),
        ("http=429", (429, "requests", "rate_limit_exceeded", None)),
        ("http=429:slow_down", (429, "rate_limit_error", "slow_down", None)),
        ("http=429:429", (429, BAD, "429", None)),
        ("http=500", (500, "server_error", None, None)),
        ("late-http", (500, "server_error", None, None)),
        ("late-http=503", (503, "service_unavailable_error", "server_is_overloaded", None)),
    ],
)
async def test_a_status_by_its_word(
    bench: OpenAIBench, word: str, expected: tuple[int, str, str | None, str | None]
) -> None:
    answer = await bench.generate(f"x [sandbox:{word}]")
    assert said(answer) == expected
    assert ("retry-after" in answer.headers) == (answer.status_code == 429)


@pytest.mark.parametrize("word", ["http", "late-http"])
@pytest.mark.parametrize("status", [502, 504, 520, 524])
async def test_what_a_proxy_says_is_html(bench: OpenAIBench, word: str, status: int) -> None:
    answer = await bench.generate(f"x [sandbox:{word}={status}]")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_an_input_block_comes_at_once_and_an_output_block_after_the_work(
    bench: OpenAIBench,
) -> None:
    early = await bench.generate("x [sandbox:fail=moderation_blocked][sandbox:delay=600]")
    late = await bench.generate("x [sandbox:late-fail=moderation_blocked][sandbox:delay=0.5]")
    stages = [
        answer.json()["error"]["moderation_details"]["moderation_stage"] for answer in (early, late)
    ]
    assert stages == ["input", "output"]
    assert int(late.headers["openai-processing-ms"]) >= 500
    assert bench.state.bill.total.calls == 1


async def test_the_errors_of_a_compatible_server(bench: OpenAIBench) -> None:
    answer = await bench.generate("x [sandbox:http=503][sandbox:detail]")
    assert (answer.status_code, list(answer.json())) == (503, ["detail"])


async def test_addresses_that_are_none(bench: OpenAIBench) -> None:
    for method, path in (("GET", "/v1/images/generations"), ("POST", "/v1/images"), ("GET", "/x")):
        answer = await bench.client.request(method, path)
        assert said(answer)[:2] == (404, BAD)


async def test_a_usage_report_wants_an_admin_key(bench: OpenAIBench) -> None:
    path = "/v1/organization/usage/images?start_time=0"
    assert said(await bench.client.get(path)) == (403, BAD, None, None)
    del bench.client.headers["Authorization"]
    assert (await bench.client.get(path)).status_code == 401
    bench.client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"
    assert (await bench.client.get(path)).status_code == 200
