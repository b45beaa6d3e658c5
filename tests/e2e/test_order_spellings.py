"""What clients really write: one order in all its spellings, priced as it is forwarded."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from house import FAST, TEAM_KEY, House, house, opened

from gateway.sandbox import running_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND = {
    "aliases": ["dall-e-3"],
    "size_aliases": {"2:3": "1024x1536", "Portrait": "1024x1536"},
    "limits": {
        "sizes": ["auto", "1:1", "1024x1024", "1024x1536"],
        "qualities": ["low", "high"],
        "resolutions": ["1K", "2K", "4K"],
    },
    "routes": [
        {
            "upstream": "evolink",
            "model": "gpt-image-2",
            "price": [
                {"resolution": "4K", "usd": 1.2},
                {"resolution": "2K", "usd": 0.6},
                {"quality": "low", "usd": 0.02},
                {"usd": 0.4},
            ],
        }
    ],
}
LISTLESS = {"routes": [{**SECOND["routes"][0], "model": "gpt-image-2.5-flare"}]}  # type: ignore[dict-item]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    models = {"gpt-image-2": SECOND, "listless": LISTLESS}
    async with house(tmp_path_factory.mktemp("shop"), models=models) as one:
        yield one


def auth(key: str = TEAM_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def price(shop: House, **fields: Any) -> float | None:
    """What the order would cost; None when it is refused as invalid."""
    body = {"model": "gpt-image-2", "prompt": "x", "quality": "low", **fields}
    answer = await shop.client.post("/v1/images/estimate", json=body, headers=auth())
    if answer.status_code == 200:
        told: float = answer.json()["price_usd"]
        return told
    assert answer.status_code == 400 and answer.json()["error"]["param"] in fields
    return None


@pytest.mark.parametrize("resolution", ["4k", " 4K ", "4", "4096", "UHD", 4, True, ["4K"], {}, 4.0])
async def test_no_spelling_of_4k_is_cheap(shop: House, resolution: Any) -> None:
    assert await price(shop, resolution=resolution) in (None, 1.2)
    assert await price(shop, resolution=resolution, model="listless") in (None, 1.2)


async def test_what_is_left_out_is_what_upstream_makes_of_it(shop: House) -> None:
    assert await price(shop) == await price(shop, resolution="1K") == 0.02
    for nothing in (None, "", [], "auto"):
        assert await price(shop, quality=nothing) == 0.4
        assert await price(shop, quality=nothing, model="listless") == 0.4


async def test_what_is_forwarded_is_the_one_spelling(shop: House) -> None:
    wish = {"model": "gpt-image-2", "size": "1024×1024", "resolution": "2k", "quality": " LOW"}  # noqa: RUF001
    first = await shop.made("one spelling", **wish, seed=2**64 - 1, callback_url="")
    await shop.ended(first["id"])
    same = {"size": "1024X1024", "quality": "low", "resolution": "2K", "image_urls": []}
    more = {"user": "somebody", "metadata": {"job": 7}, "seed": 2**64 - 1}
    again = await shop.post("one spelling", **{**wish, **same, **more})
    assert again.headers["Cache-Status"].startswith("image-gateway; hit")
    assert again.json()["task_info"]["estimated_time"] == 0
    told = (await shop.admin("GET", f"runs/{again.json()['id']}")).json()
    assert told["run"]["price_usd"] == 0.6
    labels = [one["labels"] for one in told["tasks"]]
    assert labels == [{}, {"user": "somebody", "metadata": {"job": 7}}]
    submitted = next(iter(shop.sandbox.state.newest_first())).wish
    assert (submitted.size, submitted.quality) == ("1024x1024", "low")


async def test_two_names_of_a_size_are_paid_once_on_both_roads(shop: House) -> None:
    wish = {"model": "gpt-image-2", "prompt": "by another name", "quality": "low"}
    first = await shop.made(**{**wish, "size": " portrait"})
    submitted = next(iter(shop.sandbox.state.newest_first())).wish
    assert (submitted.prompt, submitted.size) == (wish["prompt"], "1024x1536")
    count = len(list(shop.sandbox.state.newest_first()))
    for size in ("2:3", "1024x1536", "2 : 3", "PORTRAIT"):
        for path in ("/v1/images/generations", "/openai/v1/images/generations"):
            again = await shop.client.post(path, json={**wish, "size": size}, headers=auth())
            assert again.headers["Cache-Status"].startswith("image-gateway; hit"), size
            assert again.headers["X-Gateway-Cost-Usd"] == "0.000000"
    assert first["status"] == "completed"
    assert len(list(shop.sandbox.state.newest_first())) == count


async def test_each_shape_is_offered_once(shop: House) -> None:
    models = (await shop.client.get("/v1/models", headers=auth())).json()["data"]
    told = {model["id"]: model for model in models}
    assert told["gpt-image-2"]["sizes"] == ["1024x1024", "1024x1536", "1:1", "auto"]
    assert told["gpt-image-2"]["size_aliases"] == {"2:3": "1024x1536", "portrait": "1024x1536"}
    assert "size_aliases" not in told["gpt-image-1.5"]
    summary = (await shop.client.get("/team/v1/summary", headers=auth())).json()
    offer = next(one for one in summary["models"] if one["id"] == "gpt-image-2")
    assert sorted(offer["sizes"]) == ["1024x1024", "1024x1536", "1:1"]


async def test_an_idempotency_key_knows_the_order_in_any_spelling(shop: House) -> None:
    key = {"Idempotency-Key": "spelling-1"}
    first = await shop.post("keyed", headers=key, size="1:1", image_urls=[])
    again = await shop.post("keyed", headers=key, size=" 1:1 ", quality="", user="me")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


async def test_auto_fares_the_same_on_both_roads(shop: House) -> None:
    first = await shop.made("by two roads", quality="auto", size="auto")
    wish = {"model": "gpt-image-1.5", "prompt": "by two roads", "user": "", "size": ""}
    second = await shop.client.post("/openai/v1/images/generations", json=wish, headers=auth())
    assert first["status"] == "completed"
    assert second.headers["Cache-Status"].startswith("image-gateway; hit")


async def test_a_dall_e_client_gets_a_link_and_nothing_else(shop: House) -> None:
    wish = {"model": "dall-e-3", "prompt": "for a wrapper", "n": 1, "style": "vivid"}
    made = [
        await shop.client.post(
            "/openai/v1/images/generations",
            json={**wish, "quality": quality, **more},
            headers=auth(),
        )
        for quality, more in (
            ("standard", {}),
            ("hd", {"response_format": None}),
            ("hd", {"response_format": "b64_json"}),
        )
    ]
    assert [answer.status_code for answer in made] == [200, 200, 200]
    keys = [set(answer.json()["data"][0]) for answer in made]
    assert keys == [{"url"}, {"url"}, {"b64_json"}]
    assert made[1].json()["quality"] == "high"
    assert made[2].headers["Cache-Status"].startswith("image-gateway; hit")
    other = {**wish, "model": "gpt-image-2", "quality": "high"}
    plain = await shop.client.post("/openai/v1/images/generations", json=other, headers=auth())
    assert set(plain.json()["data"][0]) == {"b64_json"}
    assert base64.b64decode(plain.json()["data"][0]["b64_json"])[:4] == b"\x89PNG"
    assert plain.headers["Cache-Status"].startswith("image-gateway; hit")


@pytest.mark.parametrize(
    "name", ["x.jpg!thumb", "photo.v2", "a.png@2x", "a.webp;v=1", "raw", "a.jpg?x=.pdf"]
)
async def test_references_are_named_as_stores_name_them(shop: House, name: str) -> None:
    task = await shop.made(f"like {name}", image_urls=[f"https://cdn.example.com/{name}"])
    assert task["status"] == "completed"


@pytest.mark.parametrize("part", ["image[0]", "images[]", "images"])
async def test_a_misnamed_picture_is_told_its_name(shop: House, part: str) -> None:
    answer = await shop.client.post(
        "/openai/v1/images/edits",
        data={"model": "gpt-image-1.5", "prompt": "x"},
        files={part: ("a.png", b"not looked at", "image/png")},
        headers=auth(),
    )
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] in ("image", "images")
    assert "'image[]'" in error["message"]


async def test_a_route_to_another_upstream_model_makes_other_pictures(tmp_path: Path) -> None:
    def routes(*wanted: tuple[str, float]) -> dict[str, Any]:
        listed = [{"upstream": "evolink", "model": name, "price": usd} for name, usd in wanted]
        return {"pictures": {"limits": {"sizes": ["1:1"]}, "routes": listed}}

    options = replace(FAST, more_models=frozenset({"made-up"}))
    async with running_sandbox(options) as sandbox:
        said: list[str] = []
        for wanted in (
            [("gpt-image-2", 0.05)],
            [("made-up", 0.05), ("gpt-image-2", 0.01)],  # a price and an order of routes
            [("made-up", 0.05)],
        ):
            one = await opened(sandbox, tmp_path, models=routes(*wanted))
            try:
                answer = await one.post("whose is it", model="pictures")
                said.append(answer.headers["Cache-Status"].split(";")[1].strip())
                await one.ended(answer.json()["id"])
                assert await one.violations() == []
            finally:
                await one.stop()
        assert said == ["fwd=miss", "hit", "fwd=miss"]
        names = {task.wish.model.serves for task in sandbox.state.newest_first()}
        assert names == {"gpt-image-2", "made-up"}
