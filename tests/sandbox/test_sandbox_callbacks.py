"""Callbacks: delivered once the task ends, retried, and only to addresses that may be called."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2 as httpx
import orjson
import pytest
from sandbox_bench import OpenBench
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import SandboxOptions
from gateway.sandbox.addresses import AddressError, outbound_request, public_address
from gateway.sandbox.callbacks import CallbackError, check_callback_url
from gateway.serving import InProcessServer


class Receiver:
    """Notes what is posted to it and answers the given statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response(status_code=status)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = Starlette(routes=[Route("/hook", self.__call__, methods=["POST"])])
        async with InProcessServer(app).running(0.2) as server:
            yield server.base_url + "/hook"


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_the_task_object_is_posted_until_it_is_taken(open_bench: OpenBench) -> None:
    receiver = Receiver(500, 204)
    changes = {"allow_private_addresses": True, "callback_retry_seconds": (0.01, 0.01, 0.01)}
    async with receiver.listening() as url, open_bench(seconds_per_picture=0, **changes) as bench:
        task_id = await bench.task_id(callback_url=url)
        await until(lambda: len(bench.state.callbacks) == 2)
        assert [(seen.attempt, seen.status) for seen in bench.state.callbacks] == [
            (1, 500),
            (2, 204),
        ]
        assert orjson.loads(receiver.bodies[0]) == (await bench.poll(task_id)).json()
        assert receiver.headers[0]["content-type"] == "application/json"
        assert "authorization" not in receiver.headers[0]


async def test_it_gives_up_after_three_retries(open_bench: OpenBench) -> None:
    receiver = Receiver(404)
    changes = {"allow_private_addresses": True, "callback_retry_seconds": (0.01, 0.01, 0.01)}
    async with receiver.listening() as url, open_bench(seconds_per_picture=0, **changes) as bench:
        await bench.task_id("x [sandbox:fail]", callback_url=url)
        await until(lambda: len(bench.state.callbacks) == 4)
        await asyncio.sleep(0.05)
        assert len(receiver.bodies) == 4
        assert orjson.loads(receiver.bodies[0])["status"] == "failed"


async def test_a_planned_callback_does_not_hold_up_the_end(open_bench: OpenBench) -> None:
    async with open_bench(allow_private_addresses=True) as bench:
        await bench.task_id("x [sandbox:delay=900]", callback_url="http://127.0.0.1:9/hook")
    assert not bench.state.callbacks


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"])
async def test_a_name_that_leads_inside_is_not_called(host: str) -> None:
    with pytest.raises(AddressError):
        await public_address(host, 443)


async def test_a_request_goes_to_the_address_that_was_checked() -> None:
    async with httpx.AsyncClient(verify=False) as client:
        request = await outbound_request(
            client,
            "POST",
            "https://93.184.216.34:8443/hook?a=1",
            content=b"{}",
            allow_private=False,
        )
        assert str(request.url) == "https://93.184.216.34:8443/hook?a=1"
        assert request.headers["host"] == "93.184.216.34:8443"
        with pytest.raises(AddressError):
            await outbound_request(client, "GET", "http://localhost/", allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://[::ffff:127.0.0.1]/x",
        "https://169.254.169.254/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://LOCALHOST./",
        "https://0.0.0.0/",
        "ftp://example.com/",
        "https:///x",
        "https://example.com:99999/",
        "nonsense",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(CallbackError):
        check_callback_url(url, SandboxOptions())


def test_addresses_that_are_taken() -> None:
    check_callback_url("https://example.com/hook?token=1", SandboxOptions())
    check_callback_url("https://93.184.216.34/hook", SandboxOptions())
