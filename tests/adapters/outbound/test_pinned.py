"""The transport that dials only judged addresses, on real sockets and with real certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import httpx2 as httpx
import pytest
import trustme
from raw_server import Line, Received, Serve

from gateway.adapters.outbound.judging import AddressRefused
from gateway.adapters.outbound.pinned import pinned_client
from gateway.core.addresses import Address
from gateway.ports.outbound import Resolver

TIMEOUT = httpx.Timeout(5.0)


class Names:
    """A resolver whose answers a test chooses; each look-up takes the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        self.asked.append((name, port))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in answer]


def client_for(
    resolver: Resolver, *, allow_private: bool = True, verify: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    return pinned_client(
        timeout=TIMEOUT, allow_private=allow_private, resolver=resolver, verify=verify
    )


async def hello(request: Received, line: Line) -> None:
    await line.answer(b"hello", "Set-Cookie: a=b; Path=/")


async def test_the_request_goes_to_the_resolved_address_under_its_own_name(serve: Serve) -> None:
    server = await serve(hello)
    names = Names(["127.0.0.1"])
    async with client_for(names) as client:
        answer = await client.post(server.url("/hook", host="hooks.example.com"), content=b"xyz")
    assert answer.text == "hello"
    assert str(answer.request.url) == server.url("/hook", host="hooks.example.com")
    assert names.asked == [("hooks.example.com", server.port)]
    [request] = server.requests
    assert request.target == "/hook"
    assert request.headers["host"] == f"hooks.example.com:{server.port}"
    assert request.headers["content-length"] == "3"
    assert request.headers["user-agent"].startswith("image-gateway/")


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700:4700::1111", "fec0::1"],
    ],
)
async def test_a_name_with_any_refused_answer_is_not_dialled(
    serve: Serve, answers: list[str]
) -> None:
    server = await serve(hello)
    async with client_for(Names(answers), allow_private=False) as client:
        with pytest.raises(AddressRefused, match=r"evil\.example\.com leads to .*, which is "):
            await client.get(server.url(host="evil.example.com"))
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "[::1]"]
)
async def test_the_systems_resolver_is_judged_too(serve: Serve, host: str) -> None:
    server = await serve(hello)
    async with pinned_client(timeout=TIMEOUT) as client:
        with pytest.raises(AddressRefused, match="this machine"):
            await client.get(server.url(host=host))
    assert server.connections == 0


async def test_the_systems_resolver_finds_names(serve: Serve) -> None:
    server = await serve(hello)
    async with pinned_client(timeout=TIMEOUT, allow_private=True) as client:
        assert (await client.get(server.url(host="localhost"))).text == "hello"


async def test_a_name_that_changes_its_mind_is_asked_once_per_request(serve: Serve) -> None:
    checked = await serve(hello, host="127.0.0.1")
    rebound = await serve(hello, host="127.0.0.2", port=checked.port)
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with client_for(names) as client:
        await client.get(checked.url(host="rebind.example.com"))
    assert len(names.asked) == 1
    assert (checked.connections, rebound.connections) == (1, 0)


async def test_a_name_that_turns_to_a_refused_address_is_refused_then(serve: Serve) -> None:
    server = await serve(hello)
    async with client_for(Names(["127.0.0.1"], ["169.254.169.254"])) as client:
        await client.get(server.url(host="rebind.example.com"))
        with pytest.raises(AddressRefused, match="metadata"):
            await client.get(server.url(host="rebind.example.com"))


async def test_the_next_address_is_tried_when_one_does_not_answer(serve: Serve) -> None:
    server = await serve(hello)
    async with client_for(Names(["127.0.0.9", "127.0.0.1"])) as client:
        answer = await client.post(server.url(host="two.example.com"), content=b"once")
    assert answer.status_code == 200
    assert len(server.requests) == 1


async def test_when_no_address_answers_the_last_failure_comes_out(serve: Serve) -> None:
    server = await serve(hello)
    async with client_for(Names(["127.0.0.8", "127.0.0.9"])) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url(host="down.example.com"))


async def test_only_a_few_of_many_addresses_are_tried(serve: Serve) -> None:
    server = await serve(hello)
    many = [f"127.0.1.{number}" for number in range(1, 30)] + ["127.0.0.1"]
    async with client_for(Names(many)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url(host="many.example.com"))
    assert server.connections == 0


async def test_ipv6_is_dialled(serve: Serve) -> None:
    try:
        server = await serve(hello, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with client_for(Names(["::1"])) as client:
        answer = await client.get(server.url(host="six.example.com"))
    assert answer.text == "hello"
    assert server.requests[0].headers["host"] == f"six.example.com:{server.port}"


async def test_two_names_behind_one_address_never_share_a_connection(serve: Serve) -> None:
    async def keep_alive(request: Received, line: Line) -> None:
        await line.answer(b"hello", "Connection: keep-alive")
        await line.client_gone.wait()

    server = await serve(keep_alive)
    async with client_for(Names(["127.0.0.1"])) as client:
        for name in ("one.example.com", "two.example.com", "two.example.com"):
            await client.get(server.url(host=name), headers={"Connection": "keep-alive"})
    assert server.connections == 3


async def test_no_cookie_is_kept_and_no_proxy_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = await serve(hello), await serve(hello)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url(""))
    async with client_for(Names(["127.0.0.1"])) as client:
        await client.get(server.url(host="files.example.com"))
        await client.get(server.url(host="files.example.com"))
        assert not client.cookies
    assert proxy.connections == 0
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


async def test_redirects_are_left_to_the_caller(serve: Serve) -> None:
    async def away(request: Received, line: Line) -> None:
        await line.redirect("http://169.254.169.254/latest/meta-data")

    server = await serve(away)
    async with client_for(Names(["127.0.0.1"])) as client:
        assert (await client.get(server.url(host="files.example.com"))).status_code == 302


# --- names that do not resolve -----------------------------------------------------------------


async def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    async def unknown(name: str, port: int, *, team: str = "") -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with client_for(unknown) as client:
        with pytest.raises(httpx.ConnectError, match=r"nowhere\.example\.com does not resolve"):
            await client.get("http://nowhere.example.com/")


async def test_a_name_without_addresses_is_a_connect_error() -> None:
    async with client_for(Names([])) as client:
        with pytest.raises(httpx.ConnectError, match="has no address"):
            await client.get("http://empty.example.com/")


async def test_a_resolver_that_hangs_is_bounded_by_the_connect_timeout() -> None:
    async def hang(name: str, port: int, *, team: str = "") -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    timeout = httpx.Timeout(5.0, connect=0.05)
    async with pinned_client(timeout=timeout, resolver=hang) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://slow.example.com/")


# --- certificates ------------------------------------------------------------------------------


Certify = Callable[[str], ssl.SSLContext]


async def test_the_certificate_is_checked_against_the_name(
    serve: Serve, certify: Certify, trust: ssl.SSLContext
) -> None:
    tls, asked_for = certify("hooks.example.com"), []
    tls.sni_callback = lambda connection, name, context: asked_for.append(name)
    server = await serve(hello, tls=tls)
    async with client_for(Names(["127.0.0.1"]), verify=trust) as client:
        answer = await client.get(server.url(host="hooks.example.com"))
        dotted = await client.get(server.url(host="hooks.example.com."))
    assert (answer.text, dotted.text) == ("hello", "hello")
    assert asked_for == ["hooks.example.com", "hooks.example.com"]


@pytest.mark.parametrize("issued_for", ["other.example.com", "127.0.0.1"])
async def test_a_certificate_for_something_else_is_refused(
    serve: Serve, certify: Certify, trust: ssl.SSLContext, issued_for: str
) -> None:
    server = await serve(hello, tls=certify(issued_for))
    async with client_for(Names(["127.0.0.1"]), verify=trust) as client:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(server.url(host="hooks.example.com"))
    assert server.requests == []


async def test_a_certificate_for_an_address_serves_that_address(
    serve: Serve, certify: Certify, trust: ssl.SSLContext
) -> None:
    server = await serve(hello, tls=certify("127.0.0.1"))
    async with client_for(Names(["127.0.0.1"]), verify=trust) as client:
        assert (await client.get(server.url())).text == "hello"


async def test_an_unknown_authority_is_refused_by_default(serve: Serve) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("hooks.example.com").configure_cert(tls)
    server = await serve(hello, tls=tls)
    async with client_for(Names(["127.0.0.1"])) as client:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(server.url(host="hooks.example.com"))
    assert server.requests == []
