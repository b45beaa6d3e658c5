"""The in-process server and the `sandbox` command."""

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette

from gateway.cli.sandbox import sandbox_command
from gateway.sandbox.magic import WORDS
from gateway.serving import InProcessServer


async def test_a_taken_port_is_an_oserror() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await InProcessServer(Starlette(), port=other.getsockname()[1]).start()


async def test_an_application_that_does_not_start_tells_why() -> None:
    @asynccontextmanager
    async def failing(_app: Starlette):  # type: ignore[no-untyped-def]
        raise LookupError("no ledger")
        yield

    with pytest.raises(RuntimeError, match="did not start") as caught:
        await InProcessServer(Starlette(lifespan=failing)).start()
    assert isinstance(caught.value.__cause__, LookupError)


async def test_it_installs_no_signal_handlers_and_ends_its_lifespan() -> None:
    ended = []

    @asynccontextmanager
    async def lifespan(_app: Starlette):  # type: ignore[no-untyped-def]
        yield
        ended.append(True)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = InProcessServer(Starlette(lifespan=lifespan))
    async with server.running(1):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        async with httpx.AsyncClient() as client:
            answer = await client.get(server.base_url)
        assert answer.status_code == 404
        assert "date" in answer.headers
        assert "server" not in answer.headers
    assert ended == [True]
    await server.stop()


async def test_it_can_stop_while_it_refuses_connections() -> None:
    server = InProcessServer(Starlette())
    async with server.running(1), httpx.AsyncClient(verify=False) as client:
        await server.refuse_connections()
        with pytest.raises(httpx.ConnectError):
            await client.get(server.base_url)


async def test_a_stop_lets_short_requests_finish() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        arrived.set()
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    server = InProcessServer(app)
    await server.start()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.base_url))
        await arrived.wait()
        stopping = asyncio.create_task(server.stop(5))
        await asyncio.sleep(0.05)
        release.set()
        assert (await request).text == "done"
        await stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal_and_exits_0(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "gateway", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("EvoLink sandbox ready on http://127.0.0.1:")
        url = line.split()[4]
        headers = {"Authorization": "Bearer sk-x"}
        assert httpx.get(f"{url}/v1/credits", headers=headers).status_code == 200
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_the_command_stops_quietly_and_in_time_while_clients_hang() -> None:
    command = [sys.executable, "-m", "gateway", "sandbox", "--port", "0", "--seconds", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        url = process.stdout.readline().split()[4]
        headers = {"Authorization": "Bearer sk-x"}
        for word in ("hang", "drop"):
            body = {"model": "gpt-image-1.5", "prompt": f"x [sandbox:{word}]"}
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{url}/v1/images/generations", json=body, headers=headers, timeout=0.3)
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as hanging:
            body_bytes = b'{"model":"gpt-image-1.5","prompt":"[sandbox:hang]"}'
            head = "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-x"
            hanging.sendall(f"{head}\r\nContent-Length: {len(body_bytes)}\r\n\r\n".encode())
            hanging.sendall(body_bytes)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_help_teaches_every_magic_word() -> None:
    shown = CliRunner().invoke(sandbox_command, ["--help"]).output
    for word in WORDS.values():
        assert f"[sandbox:{word.form}]" in shown


@pytest.mark.parametrize("rate", ["drop", "drop=often", "sparkle=0.5", "drop=7"])
def test_a_wrong_rate_is_a_usage_error(rate: str) -> None:
    result = CliRunner().invoke(sandbox_command, ["--rate", rate])
    assert result.exit_code == 2


def test_the_command_module_is_light() -> None:
    code = (
        "import sys, gateway.cli.sandbox; "
        "print({'PIL', 'uvicorn', 'starlette', 'httpx2'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
