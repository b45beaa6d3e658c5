"""Clients from npm, unmodified, against the gateway: OpenAI's SDK and EvoLink's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house import TEAM_KEY, House, house
from sdk import drawn

HERE = Path(__file__).resolve().parent / "npm"
PACKAGES = ("openai@6.49.0", "@evolinkai/evolink-media@1.2.1")
OLDEST_NODE = 20
"""The first with `module.register`, by which the hosts are rewritten."""


def cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages in it, from the registry that npm is set to."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        cannot("node and npm are not installed")
    assert node is not None and npm is not None
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"v(\d+)", told)
    if version is None or int(version[1]) < OLDEST_NODE:
        cannot(f"node is {told.strip()}")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        cannot("the npm registry does not answer")
    if done.returncode:
        cannot(f"npm install failed: {done.stderr[-500:]}")
    return folder


async def node(folder: Path, script: str, *arguments: str, **environ: str) -> Any:
    """What the script prints, as JSON."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / script),
        *arguments,
        cwd=folder,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


@pytest.fixture
async def a_house(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as one:
        yield one


async def test_openais_node_sdk(installed: Path, a_house: House, tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(drawn("red"))
    two.write_bytes(drawn("green"))
    base_url = f"{a_house.http.base_url}/openai/v1"
    told = await node(installed, "openai.mjs", base_url, TEAM_KEY, str(one), str(two))
    assert told["generate"] == [["PNG", "PNG"], "low", "number"]
    assert len(told["links"]) == 2
    for link in told["links"]:
        assert (await a_house.client.get(link)).content.startswith(b"\x89PNG")
    assert told["edit"] == told["merged"] == told["late"] == ["PNG"]
    bad = ["BadRequestError", 400, "invalid_request", "size", "invalid_request_error", True]
    assert told["size"] == bad
    blocked = ["moderation_blocked", None, "image_generation_user_error", True]
    assert told["blocked"] == ["BadRequestError", 400, *blocked]
    assert told["key"][:3] == ["AuthenticationError", 401, "invalid_api_key"]
    assert told["path"][:2] == ["NotFoundError", 404]
    assert told["models"] == ["gpt-image-1.5", "gpt-image-1.5-lite"]
    counted = a_house.sandbox.state.submits_by_prompt
    assert counted["by node"] == counted["slow [sandbox:delay=1.5]"] == 1
    assert await a_house.violations() == []


async def test_evolinks_own_client(installed: Path, a_house: House, tmp_path: Path) -> None:
    """Only the hosts in its source are other ones: it uploads, orders, polls and lists."""
    reference = tmp_path / "reference.png"
    reference.write_bytes(drawn("blue"))
    told = await node(
        installed,
        "evolink.mjs",
        str(HERE / "rewrite.mjs"),
        str(reference),
        GATEWAY=a_house.http.base_url,
        EVOLINK_API_KEY=TEAM_KEY,
    )
    assert re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", told["id"])
    assert told["picture"].startswith(f"{a_house.http.base_url}/pictures/")
    assert (await a_house.client.get(told["picture"])).content.startswith(b"\x89PNG")
    assert (await a_house.client.get(told["link"])).content == drawn("blue")
    assert "reference.png" in told["listed"]
    (task,) = a_house.sandbox.state.tasks.values()
    assert task.wish.image_urls == (told["link"],)
    assert TEAM_KEY not in "".join(a_house.sandbox.state.keys_seen)
