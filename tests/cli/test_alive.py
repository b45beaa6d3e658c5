"""`check --alive`, which containers and services ask: it follows the settings."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.serving import InProcessServer


def settings(folder: Path, host: str, port: int) -> Path:
    path = folder / "config.yaml"
    value = {
        "server": {"host": host, "port": port, "public_url": "http://images.example.org"},
        "upstreams": {"evolink": {"base_url": "https://upstream.example", "api_key": "sk-1"}},
        "models": {"m": {"routes": [{"upstream": "evolink", "model": "m", "price": 1}]}},
    }
    path.write_text(json.dumps(value))
    return path


def ask(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "check", "--alive", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


async def alive(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def another(_: Request) -> Response:
    return PlainTextResponse("ok")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_it_asks_the_port_of_the_settings(tmp_path: Path, host: str) -> None:
    app = Starlette(routes=[Route("/healthz", alive)])
    async with InProcessServer(app).running() as server:
        path = settings(tmp_path, host, server.bound_port)
        asked = await asyncio.to_thread(ask, path)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


async def test_nobody_there_and_somebody_else_are_1(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        asked = await asyncio.to_thread(
            ask, settings(tmp_path, "127.0.0.1", unused.getsockname()[1])
        )
    assert asked.returncode == 1 and "nobody answers at" in asked.stderr
    async with InProcessServer(Starlette()).running() as other:
        asked = await asyncio.to_thread(ask, settings(tmp_path, "127.0.0.1", other.bound_port))
    assert asked.returncode == 1 and "says 404: no gateway" in asked.stderr


async def test_settings_with_problems_are_2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("server: {prot: 1}\n")
    asked = await asyncio.to_thread(ask, path)
    assert asked.returncode == 2 and "server.prot" in asked.stdout + asked.stderr


async def test_another_program_that_answers_is_no_gateway(tmp_path: Path) -> None:
    app = Starlette(routes=[Route("/healthz", another)])
    async with InProcessServer(app).running() as server:
        path = settings(tmp_path, "127.0.0.1", server.bound_port)
        asked = await asyncio.to_thread(ask, path)
    assert asked.returncode == 1 and "does not speak as a gateway" in asked.stderr


@pytest.mark.parametrize(
    "mistake",
    [
        {"models": {"m": {"rotes": []}}},
        {"teams": {"blue": {"keys": ["sha256:short"]}}},
        {"upstreams": {"evolink": {"base_url": "https://x.example", "api_key": "${NOT_SET}"}}},
        {"server": {"timezone": "Nowhere/None"}},
        {"surver": {}},
    ],
)
async def test_a_mistake_in_the_file_does_not_make_a_running_gateway_ill(
    tmp_path: Path, mistake: dict[str, dict[str, object]]
) -> None:
    """It keeps its last good settings; a container that is stopped for it would not start again."""
    app = Starlette(routes=[Route("/healthz", alive)])
    async with InProcessServer(app).running() as server:
        path = settings(tmp_path, "127.0.0.1", server.bound_port)
        value = json.loads(path.read_text())
        for name, part in mistake.items():
            value[name] = {**value.get(name, {}), **part}
        path.write_text(json.dumps(value))
        asked = await asyncio.to_thread(ask, path)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "text",
    ["server: {port: 90000}", "server: {port: '${NOT_SET}'}", "server: [1]", "server: {", "- 1"],
)
async def test_a_mistake_in_the_address_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    asked = await asyncio.to_thread(ask, path)
    assert asked.returncode == 2 and "config.yaml:" in asked.stderr
