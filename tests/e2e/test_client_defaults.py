"""What popular programs send by default, as `docs/integrations.md` sets them up, is served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from house import PRICE_USD, TEAM_KEY, House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "gpt-image-1.5"
SENT: Mapping[str, tuple[Mapping[str, Any], str]] = {
    # Program: the body of its request besides the prompt, and where it looks for its picture.
    "open-webui": ({"model": MODEL, "n": 1, "size": "1024x1024"}, "b64_json"),
    "open-webui-auto": ({"model": MODEL, "n": 1, "size": "auto"}, "b64_json"),
    "librechat": (
        {
            "model": MODEL,
            "n": 1,
            "background": "auto",
            "output_format": "png",
            "quality": "auto",
            "size": "auto",
            "response_format": "b64_json",
        },
        "b64_json",
    ),
    "librechat-old": ({"model": "gpt-image-1", "quality": "auto", "size": "auto"}, "b64_json"),
    "n8n": ({"model": MODEL}, "b64_json"),
    "n8n-old": ({"model": "dall-e-3", "response_format": "b64_json"}, "b64_json"),
    "langchain-python": (
        {"model": "dall-e-3", "n": 1, "size": "1024x1024", "quality": "standard"},
        "url",
    ),
    "langchain-js": (
        {
            "model": "dall-e-3",
            "n": 1,
            "size": "1024x1024",
            "quality": "standard",
            "style": "vivid",
            "response_format": "url",
        },
        "url",
    ),
    "vercel": (
        {"model": MODEL, "n": 1, "size": "1024x1024", "response_format": "b64_json"},
        "b64_json",
    ),
}
REFUSED: Mapping[str, tuple[Mapping[str, Any], str, str]] = {
    # What bites: the body, the field that is named, and a word that helps.
    "open-webui": ({"model": MODEL, "n": 1, "size": "512x512"}, "size", "1024x1024"),
    "librechat": ({"model": MODEL, "output_format": "webp"}, "output_format", "png"),
    "langchain": ({"model": MODEL, "quality": "standard"}, "quality", "low"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    models = {
        MODEL: {"aliases": ["gpt-image-1", "dall-e-3"]},
        "gpt-image-2": {
            "limits": {"sizes": ["auto", "1:1"], "resolutions": ["1K", "2K"]},
            "routes": [{"upstream": "evolink", "model": "gpt-image-2", "price": PRICE_USD}],
        },
    }
    async with house(tmp_path_factory.mktemp("clients"), models=models) as one:
        yield one


async def ask(home: House, prompt: str, body: Mapping[str, Any]) -> Any:
    return await home.client.post(
        "/openai/v1/images/generations",
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
        json={"prompt": prompt, **body},
    )


@pytest.mark.parametrize("program", SENT)
async def test_it_is_served(home: House, program: str) -> None:
    body, place = SENT[program]
    answer = await ask(home, program, body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0][place]


@pytest.mark.parametrize("program", REFUSED)
async def test_what_bites_is_named(home: House, program: str) -> None:
    body, field, word = REFUSED[program]
    answer = await ask(home, program, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field)
    assert word in error["message"]


async def test_comfyuis_node_for_evolink_is_served(home: House) -> None:
    task = await home.made(
        "comfyui", model="gpt-image-2", size="auto", resolution="1K", quality="medium", n=1
    )
    assert task["status"] == "completed" and task["results"]
