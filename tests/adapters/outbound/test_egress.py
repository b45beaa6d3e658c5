"""Connections to named hosts: looked up by the given resolver, straight or through a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address

import httpx2 as httpx
import pytest
from egress_proxy import EgressProxy, answering
from raw_server import Line, Received, Serve

from gateway.adapters.outbound.egress import NamedTransport
from gateway.adapters.outbound.fetching import Fetcher, FetchFailed, FetchRefused
from gateway.adapters.outbound.judging import AddressRefused
from gateway.adapters.outbound.pinned import Way, pinned_client
from gateway.core.addresses import Address
from gateway.core.proxies import always, of_environment

Certify = Callable[[str], ssl.SSLContext]
NAME = "api.example.com"


class Names:
    """Answers every name with the same addresses; nothing else is ever asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        self.asked.append(name)
        if not self.answers:
            raise OSError("Name or service not known")
        return [ip_address(text) for text in self.answers]


async def hello(request: Received, line: Line) -> None:
    await line.answer(b"hello")


@pytest.fixture
async def proxy() -> AsyncIterator[EgressProxy]:
    one = await EgressProxy().start()
    yield one
    await one.stop()


def client(names: Names, trust: ssl.SSLContext, proxy: str | None = None) -> httpx.AsyncClient:
    limits = httpx.Limits(max_keepalive_connections=0)
    transport = NamedTransport(names, tls=trust, limits=limits, proxy=proxy)
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=5)


async def test_the_resolver_is_the_given_one(
    serve: Serve, certify: Certify, trust: ssl.SSLContext
) -> None:
    server, names = await serve(hello, tls=certify(NAME)), Names("127.0.0.1")
    async with client(names, trust) as one:
        assert (await one.get(server.url(host=NAME))).text == "hello"
    assert names.asked == [NAME]
    assert server.requests[0].headers["host"] == f"{NAME}:{server.port}"


@pytest.mark.parametrize("dead", ["127.0.0.9", "240.0.0.1"])
async def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    serve: Serve, trust: ssl.SSLContext, dead: str
) -> None:
    server = await serve(hello)
    async with client(Names(dead, "127.0.0.1"), trust) as one:
        assert (await one.get(server.url(host=NAME))).text == "hello"


@pytest.mark.parametrize("answers", [(), ("127.0.0.8", "127.0.0.9")])
async def test_what_is_not_reached_is_a_connect_error(
    serve: Serve, trust: ssl.SSLContext, answers: tuple[str, ...]
) -> None:
    server = await serve(hello)
    async with client(Names(*answers), trust) as one:
        with pytest.raises(httpx.ConnectError):
            await one.get(server.url(host=NAME))


async def test_a_look_up_that_hangs_is_a_connect_time_out(trust: ssl.SSLContext) -> None:
    class Hanging(Names):
        async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
            await asyncio.Event().wait()
            return []

    async with client(Hanging(), trust) as one:
        with pytest.raises(httpx.ConnectTimeout):
            await one.get(f"http://{NAME}/", timeout=httpx.Timeout(5, connect=0.05))


# --- through a proxy -----------------------------------------------------------------------------


async def test_a_tunnel_leads_to_a_name_that_only_the_proxy_knows(
    serve: Serve, certify: Certify, trust: ssl.SSLContext, proxy: EgressProxy
) -> None:
    server = await serve(hello, tls=certify(NAME))
    proxy.places = {NAME: ("127.0.0.1", server.port)}
    names = Names("127.0.0.1")
    async with client(names, trust, f"http://proxy.internal:{proxy.port}") as one:
        assert (await one.get(f"https://{NAME}/x")).text == "hello"
    assert proxy.asked == [f"CONNECT {NAME}:443"]
    assert names.asked == ["proxy.internal"]


async def test_a_proxy_gets_its_credentials_and_the_target_never_does(
    serve: Serve, certify: Certify, trust: ssl.SSLContext, proxy: EgressProxy
) -> None:
    server = await serve(hello, tls=certify(NAME))
    proxy.places = {NAME: ("127.0.0.1", server.port)}
    proxy.credentials = "me:p@ss"
    async with client(Names("127.0.0.1"), trust, proxy.url("me:p%40ss")) as one:
        assert (await one.get(f"https://{NAME}/x")).status_code == 200
    assert "proxy-authorization" not in server.requests[0].headers
    async with client(Names("127.0.0.1"), trust, proxy.url("me:wrong")) as one:
        with pytest.raises(httpx.ProxyError, match="407") as caught:
            await one.get(f"https://{NAME}/x")
    assert "wrong" not in f"{caught.value!r}"


def pinned(proxy: EgressProxy, names: Names, trust: ssl.SSLContext) -> httpx.AsyncClient:
    way = Way(always(proxy.url()))
    return pinned_client(timeout=httpx.Timeout(5), verify=trust, resolver=names, way=way)


@pytest.mark.parametrize("answers", [(), ("93.184.216.34",)])
async def test_what_does_not_lead_inside_from_here_is_the_proxys_to_judge(
    serve: Serve,
    certify: Certify,
    trust: ssl.SSLContext,
    proxy: EgressProxy,
    answers: tuple[str, ...],
) -> None:
    server = await serve(hello, tls=certify(NAME))
    proxy.places = {NAME: ("127.0.0.1", server.port)}
    async with pinned(proxy, Names(*answers), trust) as one:
        assert (await one.get(f"https://{NAME}/x")).text == "hello"
    assert proxy.asked == [f"CONNECT {NAME}:443"]


INSIDE = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_leads_inside_from_here_never_gets_to_the_proxy(
    trust: ssl.SSLContext, proxy: EgressProxy, address: str, scheme: str
) -> None:
    async with pinned(proxy, Names(address), trust) as one:
        with pytest.raises(AddressRefused):
            await one.get(f"{scheme}://{NAME}/x")
    literal = f"[{address}]" if ":" in address else address
    fetcher = Fetcher(verify=trust, way=Way(always(proxy.url())))
    with pytest.raises(FetchRefused):
        async with fetcher.stream(f"{scheme}://{literal}/x", max_bytes=9, timeout_seconds=5):
            pass
    assert proxy.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1"])
async def test_every_spelling_of_an_address_is_judged_before_a_proxy(
    trust: ssl.SSLContext, proxy: EgressProxy, host: str
) -> None:
    way = Way(always(proxy.url()))
    async with pinned_client(timeout=httpx.Timeout(5), verify=trust, way=way) as one:
        with pytest.raises(AddressRefused, match="this machine"):
            await one.get(f"http://{host}/x")
    assert proxy.asked == []


async def test_a_name_that_had_no_turn_to_be_asked_for_is_not_passed_on(
    trust: ssl.SSLContext, proxy: EgressProxy
) -> None:
    class Busy(Names):
        async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
            raise TimeoutError("64 look-ups of the same team wait already")

    async with pinned(proxy, Busy(), trust) as one:
        with pytest.raises(httpx.ConnectTimeout):
            await one.get(f"https://{NAME}/x")
    assert proxy.asked == []


async def test_a_redirect_of_a_proxied_link_is_judged_again(
    serve: Serve, trust: ssl.SSLContext, proxy: EgressProxy
) -> None:
    async def away(request: Received, line: Line) -> None:
        await line.redirect("http://10.0.0.1/x")

    server = await serve(away)
    proxy.places = {NAME: ("127.0.0.1", server.port)}
    fetcher = Fetcher(verify=trust, resolver=Names(), way=Way(always(proxy.url())))
    with pytest.raises(FetchRefused):
        async with fetcher.stream(f"http://{NAME}/x", max_bytes=9, timeout_seconds=5):
            pass
    assert proxy.asked == [f"GET http://{NAME}/x"]


async def test_a_proxy_that_refuses_is_a_fetch_that_failed(
    trust: ssl.SSLContext, proxy: EgressProxy
) -> None:
    proxy.refuse = answering(503)
    fetcher = Fetcher(verify=trust, resolver=Names(), way=Way(always(proxy.url())))
    with pytest.raises(FetchFailed, match="503") as caught:
        async with fetcher.stream(f"https://{NAME}/x", max_bytes=9, timeout_seconds=5):
            pass
    assert caught.value.transient


async def test_no_proxy_goes_straight_there(serve: Serve, proxy: EgressProxy) -> None:
    server = await serve(hello)
    proxies = of_environment({"ALL_PROXY": proxy.url(), "NO_PROXY": f"{NAME}:{server.port}"})
    client = pinned_client(
        timeout=httpx.Timeout(5),
        allow_private=True,
        resolver=Names("127.0.0.1"),
        way=Way(proxies),
    )
    async with client as one:
        assert (await one.get(server.url(host=NAME))).text == "hello"
    assert proxy.asked == []
