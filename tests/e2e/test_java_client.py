"""The HTTP client of the JDK, which offers h2c with every request over plain http."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from house import TEAM_KEY, House

SOURCE = Path(__file__).parent / "Order.java"


async def test_orders_of_the_jdks_own_client_arrive_whole(a_house: House) -> None:
    java = shutil.which("java")
    if java is None:
        if os.environ.get("CI"):
            pytest.fail("there is no java; .ci/run installs a JDK")
        pytest.skip("there is no java")
    order = json.dumps({"model": "gpt-image-1.5", "prompt": "from Java", "size": "1:1"})
    url = f"{a_house.http.base_url}/v1/images/generations"
    ran = await asyncio.create_subprocess_exec(
        java,
        str(SOURCE),
        url,
        TEAM_KEY,
        order,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await ran.communicate()
    assert ran.returncode == 0, err.decode()
    answers = out.decode().splitlines()
    assert [answer[:4] for answer in answers] == ["200 "] * 3
    assert a_house.sandbox.state.submits == 1
