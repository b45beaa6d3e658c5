"""What tests of several parts share: throw-away certificates, and receivers of callbacks.

That it stands here lets every test import the modules beside it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from receivers import Answer, Receive, Receiver


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
async def receive(authority: trustme.CA) -> AsyncIterator[Receive]:
    """Starts receivers on loopback with a certificate for `name`; all are stopped at the end."""
    receivers: list[Receiver] = []

    async def start(*answers: Answer, name: str = "127.0.0.1", host: str = "127.0.0.1") -> Receiver:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        receiver = await Receiver(context, *answers, host=host).start()
        receivers.append(receiver)
        return receiver

    yield start
    for receiver in receivers:
        await receiver.stop()
