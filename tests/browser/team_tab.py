"""What people do on the team's pages, for tests of a real browser, and a gateway with prices."""

from __future__ import annotations

import io
import re
from typing import Any

from admin_tab import Tab
from house import TEAM_KEY, House, digest
from PIL import Image
from playwright.async_api import Locator, expect

POOR_KEY = "team-poor-key"
SIZES = ["1:1", "2:3", "3:2", "1024x1024"]
MODELS: dict[str, Any] = {
    "gpt-image-1.5": {
        "limits": {"sizes": SIZES},
        "routes": [
            {
                "upstream": "evolink",
                "model": "gpt-image-1.5",
                "price": [
                    {"quality": "low", "usd": 0.012},
                    {"quality": "medium", "usd": 0.06},
                    {"usd": 0.36},
                ],
            }
        ],
    },
    "gpt-image-2": {
        "limits": {"resolutions": ["1K", "2K", "4K"], "prompt_characters": 32_000},
        "deadline": "20s",
        "routes": [
            {
                "upstream": "evolink",
                "model": "gpt-image-2",
                "price": [
                    {"resolution": "4K", "usd": 1.2},
                    {"resolution": "2K", "usd": 0.6},
                    {"usd": 0.4},
                ],
            }
        ],
    },
}
TEAMS: dict[str, Any] = {
    "blue": {"budgets": [{"usd": 50, "per": "day"}], "limits": {"runs_per_minute": 500}},
    "green": {"allow": {"qualities": ["low", "medium"], "sizes": ["1:1", "2:3"]}},
    "poor": {"keys": [digest(POOR_KEY)], "budgets": [{"usd": 0.5, "per": "day"}]},
}
AWAY = re.compile(r"net::ERR_INTERNET_DISCONNECTED|status of 4\d\d ")
"""What every browser notes by itself when there is no network, and of what is refused."""


async def enter(home: House, tab: Tab, key: str = TEAM_KEY) -> None:
    """From the first screen to the playground."""
    await tab.page.goto(f"{home.http.base_url}/console")
    await tab.page.get_by_label("Team key").fill(key)
    await tab.button("Open").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Playground")


async def order(tab: Tab, prompt: str) -> Locator:
    """Sends the prompt, and waits for its picture."""
    await tab.page.get_by_label("Prompt").fill(prompt)
    await tab.button("Generate").click()
    await expect(tab.page.locator(".result-prompt")).to_have_text(prompt)
    await expect(tab.page.locator(".result .badge").first).to_have_text("Done")
    picture = tab.page.locator(".picture img").first
    await expect(picture).not_to_have_js_property("naturalWidth", 0)
    return picture


async def drop(tab: Tab, name: str, media_type: str, content: bytes) -> None:
    """Drops a file on the form, as a file manager does."""
    script = """([name, type, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type }));
        return data;
    }"""
    data = await tab.page.evaluate_handle(script, [name, media_type, list(content)])
    await tab.page.locator(".references").dispatch_event("drop", {"dataTransfer": data})


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (48, 48), colour).save(file, "PNG")
    return file.getvalue()


async def summary(home: House, key: str = TEAM_KEY) -> Any:
    answer = await home.client.get("/team/v1/summary", headers={"Authorization": f"Bearer {key}"})
    return answer.json()


async def last_order(home: House, key: str = TEAM_KEY) -> Any:
    answer = await home.client.get(
        "/team/v1/orders?limit=1", headers={"Authorization": f"Bearer {key}"}
    )
    return answer.json()["data"][0]
