"""Raw servers and throw-away certificates for the tests of outbound calls."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import trustme
from raw_server import Handler, RawServer, Serve


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a raw server with a handler; all are stopped after the test."""
    servers: list[RawServer] = []

    async def start(
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> RawServer:
        server = await RawServer(handler, tls=tls, host=host).start(port)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs to trust our throw-away authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certify(authority: trustme.CA) -> Callable[[str], ssl.SSLContext]:
    """A server's TLS context with a certificate for one name or address."""

    def make(name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        return context

    return make
