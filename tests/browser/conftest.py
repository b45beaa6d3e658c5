"""Tests in a real browser, against a whole gateway and sandbox: those of `tests/e2e/house.py`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("e2e", "deploy")]

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
