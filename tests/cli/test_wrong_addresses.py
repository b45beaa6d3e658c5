"""Addresses that are nearly right: what the commands say of them, in words that tell the way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from click.testing import Result
from operator_fake import fake_admin, run
from starlette.responses import Response

from gateway.cli.unanswered import base_of


async def asked(url: str) -> Result:
    return await asyncio.to_thread(run, url, "teams", "list")


@contextlib.asynccontextmanager
async def answering(answer: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address of a server that gives every request the same answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(65_536)
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


@pytest.fixture
def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_https_where_plain_http_is_spoken() -> None:
    async with answering("404 Not Found") as plain:
        result = await asked(plain.replace("http://", "https://"))
    assert result.exit_code == 2
    assert f"does not speak TLS, which https:// asks for: say {plain}" in result.stderr


async def test_plain_http_where_tls_is_spoken(certified: ssl.SSLContext) -> None:
    async with answering("404 Not Found", certified) as url:
        result = await asked(url.replace("https://", "http://"))
    assert result.exit_code == 2
    assert f"say {url}." in result.stderr and "TLS" in result.stderr


@pytest.mark.parametrize(
    "said",
    [
        "The plain HTTP request was sent to HTTPS port",
        "Client sent an HTTP request to an HTTPS server",
    ],
)
def test_servers_of_tls_that_say_so(said: str) -> None:
    with fake_admin() as fake:
        fake.answer("GET", "teams", Response(f"<h1>{said}</h1>", 400, media_type="text/html"))
        result = fake.run("teams", "list")
    assert result.stderr == f"Error: {fake.url} speaks TLS: say https{fake.url[4:]}.\n"


async def test_a_certificate_of_ones_own_is_named_with_a_file(
    certified: ssl.SSLContext,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with answering("404 Not Found", certified) as url:
        result = await asked(url)
        assert result.exit_code == 2
        assert "is not trusted here: unable to get local issuer certificate." in result.stderr
        assert "SSL_CERT_FILE=ca.pem" in result.stderr
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert "answered 404" in (await asked(url)).stderr


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("https://images.example.org/admin/v1/teams", "--url https://images.example.org\n"),
        ("https://example.org/images/admin/v1/teams?x", "--url https://example.org/images\n"),
        ("https://login.example.org/sign-in", "or a proxy in between?\n"),
        ("//[", "or a proxy in between?\n"),
    ],
)
async def test_a_redirect_is_told_and_not_followed(location: str, hint: str) -> None:
    async with answering(f"307 X\r\nLocation: {location}") as url:
        result = await asked(url)
    assert result.exit_code == 2
    assert f"answered 307, which leads to {location}" in result.stderr
    assert result.stderr.endswith(hint)


async def test_a_host_that_is_not_there() -> None:
    result = await asked("http://gateway.invalid:8080")
    assert result.exit_code == 2
    assert "no host 'gateway.invalid'" in result.stderr


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://images.example.org/console#key=igw_1", "https://images.example.org"),
        ("https://example.org/images/console/", "https://example.org/images"),
        ("http://h:1/v1/v1/", "http://h:1"),
        ("http://h/openai", "http://h/openai"),
        ("http://console", "http://console"),
        ("http://h/consoles", "http://h/consoles"),
        ("http://h//", "http://h"),
        ("http://h/admin/v1/teams", "http://h"),
        ("http://h/gw/v1/images/generations", "http://h/gw"),
        ("http://h/openai/v1/images/edits", "http://h"),
        ("http://h/v1/gw", "http://h/v1/gw"),
    ],
)
def test_what_stands_behind_an_address_is_left_out(given: str, base: str) -> None:
    assert base_of(given) == base


@pytest.mark.parametrize(
    "given", ["http://h/?a=1", "http://h/#x", "h", "http://", "http://h:99999"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        base_of(given)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("127.0.0.1:8080", "Did you mean http://127.0.0.1:8080?"),
        ("localhost:8080/console", "Did you mean http://localhost:8080/console?"),
        ("[::1]:8080", "Did you mean http://[::1]:8080?"),
        ("images.example.org", "Did you mean https://images.example.org?"),
        ("ftp://h", "query or fragment."),
        ("me:secret@h", "query or fragment."),
        ("", "query or fragment."),
    ],
)
def test_an_address_without_its_scheme(given: str, hint: str) -> None:
    with pytest.raises(ValueError, match="must be an address") as caught:
        base_of(given)
    assert str(caught.value).endswith(hint)
