"""The current OpenAI Python SDK makes pictures through the gateway, changed in base URL and key."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import openai
import pytest
from house import OTHER_KEY, TEAM_KEY, House, house
from sdk import MODEL, drawn, sdk

from gateway.serving import InProcessServer
from gateway.wiring import Gateway

GENERATIONS = "/openai/v1/images/generations"


def requests_of(metrics: dict[str, float], route: str, status: int) -> float:
    name = f'method="POST",route="{route}",status="{status}"'
    return metrics.get(f"gateway_http_requests_total{{{name}}}", 0.0)


# --- generate ------------------------------------------------------------------------------------


async def test_a_picture_comes_as_base64(a_house: House) -> None:
    async with sdk(a_house) as client:
        made = await client.images.generate(
            model=MODEL, prompt="a red bicycle", size="1024x1024", quality="low", user="somebody"
        )
    assert made.data is not None
    (image,) = made.data
    picture = base64.b64decode(image.b64_json or "", validate=True)
    assert picture.startswith(b"\x89PNG") and image.url is None
    task = await a_house.made("a red bicycle", size="1024x1024", quality="low")
    (link,) = task["results"]  # the same order through our own API is a hit, and the same picture
    assert (await a_house.client.get(link)).content == picture
    assert a_house.sandbox.state.submits_by_prompt["a red bicycle"] == 1
    assert (made.quality, made.output_format, made.background) == ("low", "png", "opaque")
    usage = task["usage"]
    assert made.usage is not None
    assert made.usage.output_tokens == usage["image_output_tokens"] > 0
    assert made.usage.total_tokens == usage["total_tokens"]
    assert made.usage.input_tokens_details.text_tokens == usage["text_input_tokens"]


async def test_several_pictures_keep_their_order(a_house: House) -> None:
    async with sdk(a_house) as client:
        made = await client.images.generate(model=MODEL, prompt="three", n=3)
    pictures = [base64.b64decode(one.b64_json or "") for one in made.data or ()]
    links = (await a_house.made("three", n=3))["results"]
    assert pictures == [(await a_house.client.get(link)).content for link in links]
    assert len(set(pictures)) == 3


async def test_links_are_permanent_ones(a_house: House) -> None:
    async with sdk(a_house) as client:
        made = await client.images.generate(
            model=MODEL, prompt="linked", n=2, response_format="url", size="auto", quality="auto"
        )
    links = [one.url or "" for one in made.data or ()]
    assert links == (await a_house.made("linked", n=2))["results"]
    assert all(one.b64_json is None for one in made.data or ())
    for link in links:
        assert (await a_house.client.get(link)).content.startswith(b"\x89PNG")


async def test_a_repeated_order_is_a_hit(a_house: House) -> None:
    async with sdk(a_house) as client:
        first = await client.images.generate(model=MODEL, prompt="once")
        again = await client.images.with_raw_response.generate(model=MODEL, prompt="once")
        assert again.parse() == first
    assert again.headers["cache-status"].startswith("image-gateway; hit")
    assert again.headers["x-request-id"]
    assert int(again.headers["content-length"]) == len(again.content)
    assert a_house.sandbox.state.submits == 1


# --- edits ---------------------------------------------------------------------------------------


async def test_one_picture_is_edited(a_house: House) -> None:
    async with sdk(a_house) as client:
        made = await client.images.edit(
            model=MODEL, image=("in.png", drawn("red")), prompt="bluer", size="1024x1024", n=2
        )
    pictures = [base64.b64decode(one.b64_json or "") for one in made.data or ()]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 2
    (task,) = a_house.sandbox.state.tasks.values()
    (link,) = task.wish.image_urls
    (upload,) = a_house.sandbox.state.files.newest_first()
    assert upload.content == drawn("red") and link.endswith(upload.path)
    assert (await a_house.client.get(link)).content == drawn("red")


async def test_several_pictures_are_edited_in_their_order(a_house: House) -> None:
    images = [
        ("a.png", drawn("red")),
        ("b.jpg", drawn("green", "JPEG")),
        ("c", drawn("blue", "WEBP")),
    ]
    async with sdk(a_house) as client:
        made = await client.images.edit(model=MODEL, image=images, prompt="all together")
    assert len(made.data or ()) == 1
    (task,) = a_house.sandbox.state.tasks.values()
    sent = [(await a_house.client.get(link)).content for link in task.wish.image_urls]
    assert sent == [content for _, content in images]


async def test_a_repeated_edit_goes_up_once_and_is_a_hit(a_house: House) -> None:
    async with sdk(a_house) as client:
        edits = client.images.with_raw_response
        for _ in range(2):
            made = await edits.edit(model=MODEL, image=drawn("red"), prompt="bluer")
        assert made.headers["cache-status"].startswith("image-gateway; hit")
        other = await edits.edit(model=MODEL, image=drawn("green"), prompt="bluer")
        assert "fwd=miss" in other.headers["cache-status"]
    assert a_house.sandbox.state.submits == 2
    assert len(a_house.sandbox.state.files) == 2


async def test_another_teams_upload_is_not_used(a_house: House) -> None:
    for key in (None, OTHER_KEY):
        async with sdk(a_house, **({"key": key} if key else {})) as client:
            await client.images.edit(model=MODEL, image=drawn("red"), prompt="bluer")
    assert len(a_house.sandbox.state.files) == 2


async def test_what_is_no_picture_does_not_go_up(a_house: House) -> None:
    cut = drawn("red")[:60]
    async with sdk(a_house) as client:
        for content in (b"", b"hello", cut):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.edit(model=MODEL, image=("a.png", content), prompt="x")
            assert refused.value.param == "image"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(
                model=MODEL, image=drawn("red"), prompt="x", size="512x512", n=2
            )
        assert refused.value.param == "size"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(
                model=MODEL, image=drawn("red"), mask=drawn("blue"), prompt="x"
            )
        assert refused.value.param == "mask"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(model=MODEL, image=[], prompt="x")
    assert len(a_house.sandbox.state.files) == a_house.sandbox.state.submits == 0
    assert list((a_house.folder / "forms").iterdir()) == []


async def test_edits_are_bounded(a_house: House) -> None:
    async with sdk(a_house) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(model=MODEL, image=[drawn("red")] * 17, prompt="x")
        assert refused.value.param == "image"
        for image in (b"x" * 50_000_001, [drawn("red")] * 18):
            with pytest.raises(openai.APIStatusError) as too_large:
                await client.images.edit(model=MODEL, image=image, prompt="x")
            assert (too_large.value.status_code, too_large.value.param) == (413, "image")
    assert list((a_house.folder / "forms").iterdir()) == []


async def test_an_edit_needs_room_on_the_disk(tmp_path: Path) -> None:
    storage = {"free_space_floor": "1000TB"}
    async with house(tmp_path, storage=storage) as one, sdk(one, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.images.edit(model=MODEL, image=drawn("red"), prompt="x")
    assert refused.value.status_code == 503 and refused.value.code == "service_unavailable"


async def test_a_mask_goes_up_for_models_that_take_one(tmp_path: Path) -> None:
    route = {"upstream": "evolink", "model": "gpt-image-2", "price": 0.05}
    async with house(tmp_path, models={"gpt-image-2": {"routes": [route]}}) as one:
        async with sdk(one) as client:
            made = await client.images.edit(
                model="gpt-image-2",
                image=drawn("red"),
                mask=drawn("white"),
                prompt="bluer",
                background="transparent",
            )
        assert made.background == "transparent"
        uploads = {upload.content for upload in one.sandbox.state.files.newest_first()}
        assert uploads == {drawn("red"), drawn("white")}


# --- errors --------------------------------------------------------------------------------------


async def test_a_wrong_parameter_is_a_bad_request_that_names_it(a_house: House) -> None:
    async with sdk(a_house) as client:
        for wrong in ({"size": "512x512"}, {"quality": "hd"}, {"n": 11}, {"stream": True}):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(model=MODEL, prompt="x", **wrong)  # type: ignore[call-overload]
            assert refused.value.param == next(iter(wrong))
            assert refused.value.type == "invalid_request_error"
            assert refused.value.request_id
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.generate(model="dall-e-3", prompt="x")
        assert refused.value.param == "model"
    assert a_house.sandbox.state.submits == 0


async def test_a_wrong_key_is_an_authentication_error(a_house: House) -> None:
    async with sdk(a_house, key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.images.generate(model=MODEL, prompt="x")
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await client.images.edit(model=MODEL, image=drawn("red"), prompt="x")
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_an_exhausted_budget_is_a_rate_limit_without_retries(tmp_path: Path) -> None:
    teams = {"blue": {"budgets": [{"usd": 0.01, "per": "day"}], "allow": {"models": [MODEL]}}}
    async with house(tmp_path, teams=teams) as one:
        async with sdk(one) as client:
            with pytest.raises(openai.RateLimitError) as refused:
                await client.images.generate(model=MODEL, prompt="x")
        assert refused.value.code == "insufficient_quota"
        assert requests_of(await one.metrics(), GENERATIONS, 429) == 1
        assert one.sandbox.state.submits == 0


async def test_a_model_that_is_not_allowed_is_a_permission_error(tmp_path: Path) -> None:
    route = {"upstream": "evolink", "model": "gpt-image-2", "price": 0.05}
    teams = {"blue": {"allow": {"models": [MODEL]}}}
    models = {"gpt-image-2": {"routes": [route]}}
    async with house(tmp_path, models=models, teams=teams) as one, sdk(one) as client:
        with pytest.raises(openai.PermissionDeniedError):
            await client.images.generate(model="gpt-image-2", prompt="x")


async def test_blocked_content_is_told_in_openais_words(a_house: House) -> None:
    async with sdk(a_house) as client:
        for prompt in (
            "x [sandbox:fail=content_policy_violation]",
            "x [sandbox:http=400:content_filter]",
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(model=MODEL, prompt=prompt)
            assert refused.value.code == "moderation_blocked"
            assert refused.value.type == "image_generation_user_error"
        with pytest.raises(openai.UnprocessableEntityError):
            await client.images.generate(model=MODEL, prompt="x [sandbox:http=422]")


async def test_a_paid_failure_is_not_ordered_again_by_itself(a_house: House) -> None:
    async with sdk(a_house) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.images.generate(model=MODEL, prompt="x [sandbox:drop]")
        assert failed.value.status_code == 504 and failed.value.code == "outcome_unknown"
    assert a_house.sandbox.state.submits == 1


async def test_every_error_has_openais_shape(a_house: House) -> None:
    for method, path, status in (
        ("GET", "/openai/v1/nowhere", 404),
        ("POST", "/openai/v1/chat/completions", 404),
        ("GET", GENERATIONS, 405),
        ("POST", GENERATIONS, 401),
    ):
        answer = await a_house.client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"].keys() == {"message", "type", "param", "code", "doc_url"}


# --- waiting -------------------------------------------------------------------------------------


async def test_a_retry_after_a_time_out_joins_the_running_run(a_house: House) -> None:
    prompt = "slow [sandbox:delay=1.5]"
    async with sdk(a_house, timeout=0.5, max_retries=4) as client:
        made = await client.images.generate(model=MODEL, prompt=prompt)
    assert len(made.data or ()) == 1
    assert a_house.sandbox.state.submits_by_prompt[prompt] == 1
    metrics = await a_house.metrics()
    assert metrics['gateway_orders_total{model="gpt-image-1.5",team="blue",verdict="joined"}'] >= 1
    assert requests_of(metrics, GENERATIONS, 499) >= 1  # who hangs up is not waited for


async def test_a_retry_after_a_restart_gets_the_same_picture(a_house: House) -> None:
    prompt = "through a restart [sandbox:delay=1.5]"
    async with sdk(a_house, max_retries=8) as client:
        call = asyncio.create_task(client.images.generate(model=MODEL, prompt=prompt))
        while not a_house.sandbox.state.accepted_by_prompt[prompt]:
            await asyncio.sleep(0.02)
        await a_house.http.stop(0.05)
        await a_house.gateway.stop(0.05)
        a_house.gateway = Gateway(a_house.settings)
        await a_house.gateway.start()
        port = a_house.http.bound_port
        a_house.http = InProcessServer(a_house.gateway.app, port=port)
        await a_house.http.start()
        a_house.gateway.bound(port)
        made = await call
    assert len(made.data or ()) == 1
    assert a_house.sandbox.state.submits_by_prompt[prompt] == 1
    assert await a_house.violations() == []


async def test_the_synchronous_client_does_the_same(a_house: House, tmp_path: Path) -> None:
    file = tmp_path / "bicycle.png"

    def order_and_edit() -> str | None:
        base_url = f"{a_house.http.base_url}/openai/v1"
        with openai.OpenAI(base_url=base_url, api_key=TEAM_KEY) as client:
            made = client.images.generate(model=MODEL, prompt="a red bicycle", quality="low")
            file.write_bytes(base64.b64decode((made.data or [])[0].b64_json or ""))
            with file.open("rb") as image:
                edited = client.images.edit(model=MODEL, image=image, prompt="make it blue")
        return (edited.data or [])[0].b64_json

    assert await asyncio.to_thread(order_and_edit)
    (upload,) = a_house.sandbox.state.files.newest_first()
    assert upload.content == file.read_bytes()


async def test_the_longest_wait_ends_with_an_answer_and_the_retry_joins(tmp_path: Path) -> None:
    prompt = "slower than the wait [sandbox:delay=1.5]"
    async with house(tmp_path, server={"openai_wait": "300ms"}) as one:
        async with sdk(one, max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as late:
                await client.images.generate(model=MODEL, prompt=prompt)
            assert late.value.status_code == 504 and late.value.code == "still_running"
        async with sdk(one, max_retries=5) as client:
            made = await client.images.generate(model=MODEL, prompt=prompt)
        assert len(made.data or ()) == 1
        assert one.sandbox.state.submits_by_prompt[prompt] == 1


@pytest.mark.parametrize("wish", ["no-cache", "max-age=0"])
@pytest.mark.parametrize("timeout", [None, 0.5], ids=["still running", "client gave up"])
async def test_a_retry_of_what_passed_the_cache_by_pays_no_second_time(
    tmp_path: Path, timeout: float | None, wish: str
) -> None:
    prompt = "fresh, and slow [sandbox:delay=1.5]"
    async with house(tmp_path, server={"openai_wait": "300ms"}) as one:
        fresh: dict[str, Any] = {"model": MODEL, "prompt": prompt, "timeout": timeout}
        fresh["extra_headers"] = {"Cache-Control": wish}
        async with sdk(one, max_retries=5) as client:
            made = await client.images.generate(**fresh)
            assert len(made.data or ()) == 1
            assert one.sandbox.state.submits_by_prompt[prompt] == 1
            await client.images.generate(**fresh)  # knowingly
        assert one.sandbox.state.submits_by_prompt[prompt] == 2
        assert await one.violations() == []


async def test_what_nothing_can_join_is_not_sent_again_by_itself(tmp_path: Path) -> None:
    prompt = "kept from all [sandbox:delay=1.5]"
    async with house(tmp_path, server={"openai_wait": "300ms"}) as one:
        alone = {"Cache-Control": "no-store"}
        async with sdk(one, max_retries=3) as client:
            with pytest.raises(openai.InternalServerError) as late:
                await client.images.generate(model=MODEL, prompt=prompt, extra_headers=alone)
            assert late.value.code == "still_running" and "Idempotency-Key" in str(late.value)
            assert one.sandbox.state.submits_by_prompt[prompt] == 1
            keyed = {**alone, "Idempotency-Key": "alone-1"}
            made = await client.images.generate(
                model=MODEL, prompt=f"{prompt} keyed", extra_headers=keyed
            )
        assert len(made.data or ()) == 1
        assert one.sandbox.state.submits_by_prompt[f"{prompt} keyed"] == 1


async def test_an_idempotency_key_is_honoured(a_house: House) -> None:
    async with sdk(a_house) as client:
        images = client.images.with_raw_response
        key = {"Idempotency-Key": "one-key"}
        first = await images.generate(model=MODEL, prompt="keyed", extra_headers=key)
        again = await images.generate(model=MODEL, prompt="keyed", extra_headers=key)
        assert again.headers["idempotency-replayed"] == "true" and again.parse() == first.parse()
        with pytest.raises(openai.ConflictError):
            await images.generate(model=MODEL, prompt="another", extra_headers=key)
    assert requests_of(await a_house.metrics(), GENERATIONS, 409) == 1


async def test_fifty_at_once(a_house: House) -> None:
    async with sdk(a_house) as client:

        async def picture(prompt: str) -> str:
            made = await client.images.generate(model=MODEL, prompt=prompt)
            return (made.data or [])[0].b64_json or ""

        different = await asyncio.gather(*(picture(f"number {i}") for i in range(50)))
        same = await asyncio.gather(*(picture("the same") for _ in range(50)))
    assert len(set(different)) == 50 and len(set(same)) == 1
    assert a_house.sandbox.state.submits == 51
    assert await a_house.violations() == []


# --- models --------------------------------------------------------------------------------------


async def test_the_teams_models_are_listed(tmp_path: Path) -> None:
    route = {"upstream": "evolink", "model": "gpt-image-2", "price": 0.05}
    teams = {"blue": {"allow": {"models": [MODEL]}}}
    async with house(tmp_path, models={"gpt-image-2": {"routes": [route]}}, teams=teams) as one:
        async with sdk(one) as client:
            listed = [model async for model in client.models.list()]
            assert [model.id for model in listed] == [MODEL, f"{MODEL}-lite"]
            assert all(model.created > 0 for model in listed)
            found = await client.models.retrieve("gpt-image-1.5-lite")
            assert (found.id, found.object, found.owned_by) == (MODEL, "model", "image-gateway")
            for unknown in ("gpt-image-2", "nothing"):
                with pytest.raises(openai.NotFoundError) as missing:
                    await client.models.retrieve(unknown)
                assert missing.value.code == "model_not_found"
        async with sdk(one, key=OTHER_KEY) as client:
            listed = [model async for model in client.models.list()]
            assert [model.id for model in listed] == [MODEL, f"{MODEL}-lite", "gpt-image-2"]
