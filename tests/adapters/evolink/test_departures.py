"""What a submit that breaks off means: nobody was sent it, or nobody knows. Also over a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import pytest
import trustme
from egress_proxy import EgressProxy, Refuse, answering, hang, hang_up

from gateway.adapters.evolink.client import EvolinkClient
from gateway.adapters.outbound.line import HttpLine
from gateway.adapters.outbound.resolver import Lookups
from gateway.adapters.outbound.vendor import Timeouts, VendorAccount
from gateway.core.addresses import Address
from gateway.core.model import Run
from gateway.core.money.accounts import Amounts, Windows
from gateway.core.runs.events import AnswerLost, NotNow, Progressed, SubmitEvent
from gateway.ports.calls import Call, CallAnswer, LineBounds
from gateway.ports.upstream import Sure, nothing_asked

NAME = "api.example.com"
RUN = Run(
    id="run_" + "a" * 32,
    fingerprint="f" * 64,
    team="blue",
    model="m",
    quality="",
    n=1,
    request='{"prompt":"x"}',
    upstream="u",
    upstream_model="m",
    price_usd_micros=50,
    windows=Windows(0, 0, 0, 0, 0),
    hold=Amounts(usd_micros=50, images=1, runs=1),
    created_at=1.0,
    deadline_at=61.0,
    due_at=1.0,
    attempts=1,
)


def no_name(name: str) -> Sequence[Address]:
    raise OSError("Name or service not known")


async def submit(base_url: str, trust: ssl.SSLContext, proxy: str | None = None) -> SubmitEvent:
    client = EvolinkClient(
        VendorAccount(base_url, "sk-key", "test", 100),
        Timeouts(connect_seconds=0.3, submit_seconds=0.5, poll_seconds=0.5),
        lines=partial(HttpLine, Lookups(ask=no_name), tls=trust, proxy=proxy),
    )
    try:
        return await client.submit(RUN)
    finally:
        await client.aclose()


@pytest.fixture
async def proxy() -> AsyncIterator[EgressProxy]:
    one = await EgressProxy().start()
    yield one
    await one.stop()


@pytest.mark.parametrize(
    "refuse", [*(answering(status) for status in (403, 407, 502, 503, 504)), hang, hang_up]
)
async def test_a_proxy_that_does_not_connect_has_passed_nothing_on(
    proxy: EgressProxy, trust: ssl.SSLContext, refuse: Refuse
) -> None:
    proxy.refuse = refuse
    event = await submit(f"https://{NAME}", trust, proxy.url())
    assert isinstance(event, NotNow), event
    assert proxy.asked == [f"CONNECT {NAME}:443"]


async def test_a_proxy_that_is_not_there(trust: ssl.SSLContext, proxy: EgressProxy) -> None:
    await proxy.stop()
    assert isinstance(await submit(f"https://{NAME}", trust, proxy.url()), NotNow)


Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serving(behave: Behave, tls: ssl.SSLContext | None) -> asyncio.Server:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.read()
    await reader.read()


@pytest.mark.parametrize("behave", [cut, silent])
@pytest.mark.parametrize("through", [True, False])
async def test_what_breaks_off_once_it_was_sent_is_unknown(
    proxy: EgressProxy,
    trust: ssl.SSLContext,
    authority: trustme.CA,
    behave: Behave,
    through: bool,
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME, "127.0.0.1").configure_cert(tls)
    server = await serving(behave, tls)
    port = server.sockets[0].getsockname()[1]
    proxy.places = {NAME: ("127.0.0.1", port)}
    base_url = f"https://{NAME}" if through else f"https://127.0.0.1:{port}"
    event = await submit(base_url, trust, proxy.url() if through else None)
    server.close()
    assert isinstance(event, AnswerLost), event


@pytest.mark.parametrize("through", [True, False])
async def test_a_handshake_that_never_ends_was_no_submit(
    proxy: EgressProxy, trust: ssl.SSLContext, through: bool
) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await reader.read()
        await asyncio.sleep(5)

    server = await serving(deaf, None)
    port = server.sockets[0].getsockname()[1]
    proxy.places = {NAME: ("127.0.0.1", port)}
    base_url = f"https://{NAME}" if through else f"https://127.0.0.1:{port}"
    event = await submit(base_url, trust, proxy.url() if through else None)
    server.close()
    assert isinstance(event, NotNow), event


async def test_a_certificate_for_another_name_behind_a_proxy_was_no_submit(
    proxy: EgressProxy, trust: ssl.SSLContext, authority: trustme.CA
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example.com").configure_cert(tls)
    server = await serving(silent, tls)
    proxy.places = {NAME: ("127.0.0.1", server.sockets[0].getsockname()[1])}
    event = await submit(f"https://{NAME}", trust, proxy.url())
    server.close()
    assert isinstance(event, NotNow), event


@pytest.mark.parametrize(("status", "kind"), [(407, NotNow), (502, AnswerLost), (504, AnswerLost)])
async def test_what_a_proxy_says_to_a_plain_request_is_an_answer_in_between(
    proxy: EgressProxy, trust: ssl.SSLContext, status: int, kind: type
) -> None:
    proxy.refuse = answering(status)
    event = await submit(f"http://{NAME}", trust, proxy.url())
    assert isinstance(event, kind), event
    assert proxy.asked == [f"POST http://{NAME}/v1/images/generations"]


async def test_a_full_pool_was_no_submit(trust: ssl.SSLContext) -> None:
    server = await serving(silent, None)
    port = server.sockets[0].getsockname()[1]
    bounds = LineBounds(max_connections=1, connect_seconds=0.2, kept_seconds=None)
    pool = HttpLine(Lookups(ask=no_name), bounds, tls=trust)
    patient, hurried = (
        EvolinkClient(
            VendorAccount(f"http://127.0.0.1:{port}", "sk-key", "test", 100),
            Timeouts(connect_seconds=0.2, submit_seconds=seconds, poll_seconds=seconds),
            lines=lambda _: pool,
        )
        for seconds in (1.5, 0.3)
    )
    under_way = asyncio.create_task(patient.submit(RUN))
    await asyncio.sleep(0.2)
    assert isinstance(await hurried.submit(RUN), NotNow)
    assert isinstance(await under_way, AnswerLost)
    await patient.aclose()
    server.close()


class Lost(Exception):
    pass


async def test_it_is_asked_for_leave_when_all_is_ready_and_not_before(
    trust: ssl.SSLContext,
) -> None:
    """Refused, nothing leaves, and the refusal comes out as it is."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    server = await serving(listen, None)
    port = server.sockets[0].getsockname()[1]
    client = EvolinkClient(
        VendorAccount(f"http://127.0.0.1:{port}", "sk-key", "test", 100),
        Timeouts(connect_seconds=0.3, submit_seconds=5, poll_seconds=0.5),
        lines=partial(HttpLine, Lookups(ask=no_name), tls=trust),
    )

    async def refuse() -> None:
        raise Lost

    with pytest.raises(Lost):
        await client.submit(RUN, sure=refuse)
    async with asyncio.timeout(5):
        while not heard:
            await asyncio.sleep(0.01)
    assert heard == [b""]
    await client.aclose()
    server.close()


async def test_what_names_another_task_is_asked_for_on_a_connection_of_its_own() -> None:
    """The kept connection is one answer behind; the other has no former one to tell of."""

    class Told:
        def __init__(self, kept_seconds: float | None, told: str) -> None:
            self.kept_seconds, self._told = kept_seconds, told
            self.calls: list[Call] = []

        async def ask(self, call: Call, *, sure: Sure = nothing_asked) -> CallAnswer:
            self.calls.append(call)
            told = f'{{"id": "{self._told}", "status": "processing", "progress": 7}}'
            return CallAnswer(200, {}, told.encode())

        async def aclose(self) -> None:
            """Nothing is open."""

    told: list[Told] = []

    def line(bounds: LineBounds) -> Told:
        told.append(Told(bounds.kept_seconds, "task-1" if bounds.kept_seconds else "task-2"))
        return told[-1]

    account = VendorAccount("http://127.0.0.1:9", "sk-key", "test", 100)
    client = EvolinkClient(
        account, Timeouts(connect_seconds=1, submit_seconds=1, poll_seconds=1), lines=line
    )
    asked = {}
    for task_id in ("task-1", "task-2"):
        event = await client.poll(task_id)
        assert isinstance(event, Progressed) and f'"{task_id}"' in event.task
        asked[task_id] = [len(one.calls) for one in told if one.kept_seconds is None]
    await client.aclose()
    assert asked == {"task-1": [0], "task-2": [1]}
