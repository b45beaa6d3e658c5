"""`check --ask`: upstreams are asked, nothing is ordered, and what is not told is no mistake."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings, parse
from gateway.sandbox import SandboxOptions, running_sandbox
from gateway.sandbox.openai import running_openai
from gateway.sandbox.openai.options import OpenAIOptions
from gateway.wiring.kinds import KINDS
from gateway.wiring.looks import look

KEY = "sk-good"
NEAR = "allow_private_addresses: true, timeout: {poll: 500ms}"


def settings(folder: Path, *upstreams: str, model: str = "gpt-image-2") -> str:
    entries = "".join(f"  u{n}: {{{one}, {NEAR}}}\n" for n, one in enumerate(upstreams))
    rates = "rates: {text_in: 5, image_in: 8, image_out: 30}, another_model: true"
    rates = "" if "kind: openai" not in upstreams[0] else f", {rates}"
    return (
        f"storage: {{data_dir: {folder / 'data'}}}\nupstreams:\n{entries}models:\n"
        f"  public: {{routes: [{{upstream: u0, model: {model}, price: 1{rates}}}]}}\n"
    )


async def told(text: str) -> Sequence[str]:
    read: Settings = parse(text, {}, kinds=KINDS)
    return await look(read)


def openai(base: str, key: str = KEY, more: str = "") -> str:
    return f"kind: openai, base_url: '{base}', api_key: {key}{more}"


async def test_a_key_that_is_taken_and_models_that_are_there(tmp_path: Path) -> None:
    async with running_openai(OpenAIOptions(accepted_key=KEY)) as one:
        assert await told(settings(tmp_path, openai(one.api_url))) == []
        gone = await told(settings(tmp_path, openai(one.api_url), model="gpt-image-9"))
        assert gone == ["models.public.routes[0]: u0 lists no model 'gpt-image-9' for this key"]
        wrong = await told(settings(tmp_path, openai(one.api_url, "sk-wrong")))
        assert wrong == ["upstreams.u0.api_key: is not taken there (HTTP 401)"]
        assert one.state.image_requests == 0
        assert not (tmp_path / "data").exists(), "nothing was opened"


async def test_a_last_day_that_the_vendor_tells(tmp_path: Path) -> None:
    async with running_openai() as one:
        (said,) = await told(settings(tmp_path, openai(one.api_url), model="gpt-image-1.5"))
        assert said.startswith("models.public.routes[0]: u0 says that gpt-image-1.5 goes on 20")


async def test_at_azure_only_the_key_is_told(tmp_path: Path) -> None:
    async with running_openai(OpenAIOptions(accepted_key=KEY)) as one:
        base = f"{one.base_url}/openai"
        v1 = openai(f"{base}/v1", more=", style: azure_v1")
        old = openai(
            f"{base}/deployments/pic", more=", style: azure, api_version: 2025-04-01-preview"
        )
        assert await told(settings(tmp_path, v1, model="pic")) == []
        assert await told(settings(tmp_path, old, model="pic")) == [
            "upstreams.u0: whether the key is taken could not be told (a deployment's address has "
            "no list of models)"
        ]


async def test_what_is_not_told_is_no_mistake(tmp_path: Path) -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(rubbish, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    odd = openai(f"http://127.0.0.1:{port}/v1")
    async with running_sandbox(SandboxOptions()) as evolink:
        fine = f"base_url: '{evolink.base_url}', api_key: sk-some-key"
        away = "base_url: 'http://127.0.0.1:1', api_key: k"
        said = await told(settings(tmp_path, odd, fine, away, openai("http://127.0.0.1:1/v1")))
    server.close()
    unknown = "whether the key is taken could not be told"
    assert said == [
        f"upstreams.u0: {unknown} (HTTP 200)",
        f"upstreams.u2: {unknown} (its credits could not be read)",
        f"upstreams.u3: {unknown} (no answer: ConnectError)",
    ]


@pytest.mark.parametrize("key", [KEY, "sk-wrong"])
async def test_the_command_asks_only_when_told_to(tmp_path: Path, key: str) -> None:
    async def checked(*options: str) -> Any:
        command = [sys.executable, "-m", "gateway", "check", "--quiet", "--config", str(path)]
        process = await asyncio.create_subprocess_exec(
            *command, *options, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        _, said = await process.communicate()
        assert process.returncode == 0
        return said.decode()

    path = tmp_path / "config.yaml"
    async with running_openai(OpenAIOptions(accepted_key=KEY)) as one:
        path.write_text(settings(tmp_path, openai(one.api_url, key)))
        assert "is not taken there" not in await checked()
        assert not one.state.keys_seen
        assert ("is not taken there" in await checked("--ask")) is (key != KEY)
        assert set(one.state.keys_seen) == {key}
