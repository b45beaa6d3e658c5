"""Tests in a real browser, against a whole gateway and sandbox: those of `tests/e2e/house.py`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from admin_tab import Tab, browser_tab
from house import FAST, House, house
from team_tab import AWAY, MODELS, TEAMS

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium for all tests of a file, which run in the file's own loop."""
    if CHROMIUM is None:
        missing = "there is no Chromium here; CHROMIUM names one"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One gateway with prices, for all tests of a file that has none of its own."""
    folder = tmp_path_factory.mktemp("home")
    server = {"timezone": "Asia/Tokyo"}
    options = replace(FAST, picture_scale=0.1)
    async with house(folder, options=options, server=server, models=MODELS, teams=TEAMS) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(home: House, chromium: Browser) -> AsyncIterator[Tab]:
    """A tab without a key, at the gateway of the file."""
    async with browser_tab(chromium, home.http.base_url, key=None) as one:
        yield one
        assert [fault for fault in one.faults if not AWAY.search(fault)] == []
