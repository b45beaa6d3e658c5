"""What tests of several parts share: throw-away certificates, receivers of callbacks, turns.

That it stands here lets every test import the modules beside it.
"""

from __future__ import annotations

import fcntl
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import shared_servers
import stores
import trustme
from receivers import Receive, receiving

LOCK = Path(tempfile.gettempdir()) / f"image-gateway-tests-{os.getuid()}"
"""One for all runs of this user: another checkout's tests are company too."""


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are processors: tests wait for most of their time."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared_servers.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared_servers.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, and those that want the machine for themselves last: in between they
    would have all others wait, and wait themselves for whoever has just begun."""
    items.sort(key=_turn)
    stores.leave_out(items)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("alone") is not None:
        return 2
    return 0 if item.get_closest_marker("slow") is not None else 1


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests run beside each other in several processes; one marked `alone` has the machine.

    Whoever wants to begin goes through a gate; who waits there to be alone keeps it shut.
    """
    alone = item.get_closest_marker("alone") is not None
    with LOCK.with_suffix(".gate").open("w") as gate, LOCK.with_suffix(".turn").open("w") as turn:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)  # closing is not enough: a child may have it open


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A report goes from process to process, and a line that a test logged may hold half a
    character, which no message can carry."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session", autouse=True)
def brief_trust_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In place of the system's store, one authority, which signs nothing.

    Every client and every gateway reads the store when it is made, and the system's takes longer
    to read than all else takes that a gateway does at its start. No test goes to the internet.
    """
    path = tmp_path_factory.mktemp("trust") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs to trust our throw-away authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def receive(authority: trustme.CA) -> AsyncIterator[Receive]:
    """Starts receivers on loopback with a certificate for `name`; all are stopped at the end."""
    async with receiving(authority) as start:
        yield start
