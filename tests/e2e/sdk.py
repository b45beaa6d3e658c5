"""OpenAI's own Python client, unmodified, at a gateway of the tests."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

from house import TEAM_KEY, House
from openai import AsyncOpenAI
from PIL import Image

MODEL = "gpt-image-1.5"


@contextlib.asynccontextmanager
async def sdk(house: House, *, key: str = TEAM_KEY, **more: Any) -> AsyncIterator[AsyncOpenAI]:
    base_url = f"{house.http.base_url}/openai/v1"
    async with AsyncOpenAI(api_key=key, base_url=base_url, **more) as client:
        yield client


def drawn(color: str, kind: str = "PNG") -> bytes:
    """A small picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (48, 32), color).save(file, kind)
    return file.getvalue()
