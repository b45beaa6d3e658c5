"""Credit drift: found to the credit, only at moments that can be compared, never a hindrance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import orjson
import pytest
import stores
from house import House, opened
from structlog.testing import capture_logs

from gateway.adapters.evolink.answers import VendorAnswer, read_credits
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background.credit_check import EVERY_SECONDS, FIRST_SECONDS, CreditWatch
from gateway.ports.upstream import Upstream, UsedCredits
from gateway.sandbox import RunningSandbox

DRIFT = 'gateway_upstream_credit_drift{upstream="evolink"}'
COMPARED = 'gateway_upstream_credits_compared_timestamp_seconds{upstream="evolink"}'


@pytest.fixture
async def home(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path)
    yield one
    await one.stop()


def client(home: House) -> Upstream:
    return home.gateway.credit_watch._upstreams["evolink"]


async def compared(home: House) -> tuple[float, bool]:
    """The drift after another comparison, and whether there was one."""
    before = (await home.metrics())[COMPARED]
    await home.gateway.credit_watch.compare("evolink", client(home))
    shown = await home.metrics()
    return shown[DRIFT], shown[COMPARED] > before


def asked(sandbox: RunningSandbox) -> int:
    return sum(request.path == "/v1/credits" for request in sandbox.state.requests)


async def test_what_the_gateway_spends_is_no_drift(home: House) -> None:
    shown = await home.metrics()
    assert (shown[DRIFT], shown[COMPARED]) == (0, 0)
    await home.made("before it watches")
    assert await compared(home) == (0, True)
    await asyncio.gather(*(home.made(f"picture {n} [sandbox:credits=2.5]") for n in range(3)))
    await home.made("fails [sandbox:fail=content_policy_violation]")
    assert home.sandbox.state.credits_used > 7.5
    assert await compared(home) == (0, True)


async def test_what_others_spend_is_drift(home: House) -> None:
    await compared(home)
    home.sandbox.state.credits_used += 100.25
    await home.made()
    assert await compared(home) == (100.25, True)
    home.sandbox.state.credits_used += 1
    assert await compared(home) == (101.25, True)


async def test_a_run_under_way_is_not_compared(home: House) -> None:
    await compared(home)
    task = (await home.post("slow [sandbox:delay=0.5]")).json()
    questions = asked(home.sandbox)
    home.sandbox.state.credits_used += 3
    assert await compared(home) == (0, False)
    assert asked(home.sandbox) == questions
    await home.ended(task["id"])
    assert await compared(home) == (3, True)


async def test_what_ends_while_upstream_is_asked_is_not_compared(home: House) -> None:
    await compared(home)
    real = client(home)

    class Slow:
        async def credits(self) -> UsedCredits | None:
            told = await real.credits()
            await home.made("meanwhile")
            return told

    await home.gateway.credit_watch.compare("evolink", Slow())  # type: ignore[arg-type]
    assert (await home.metrics())[DRIFT] == 0
    assert await compared(home) == (0, True)


async def test_it_goes_on_after_a_restart(tmp_path: Path, sandbox: RunningSandbox) -> None:
    first = await opened(sandbox, tmp_path)
    await compared(first)
    await first.stop()
    sandbox.state.credits_used += 40
    second = await opened(sandbox, tmp_path)
    assert await compared(second) == (40, True)
    await second.stop()
    third = await opened(sandbox, tmp_path)
    await third.gateway.credit_watch.look()
    assert (await third.metrics())[DRIFT] == 40
    await third.stop()
    written = b"".join(content for _, content in stores.contents(tmp_path))
    assert written and b"sk-organisation-secret" not in written


async def test_an_upstream_that_does_not_tell_changes_nothing(home: House) -> None:
    await compared(home)
    home.sandbox.state.credits_used += 7
    assert await compared(home) == (7, True)
    home.sandbox.state.down = True
    assert await compared(home) == (7, False)
    home.sandbox.state.down_mode = "cut"
    assert await compared(home) == (7, False)
    home.sandbox.state.down = False
    await home.sandbox.refuse_connections()
    assert await compared(home) == (7, False)


# --- pace and memory, without a network ---------------------------------------------------------


class Told:
    """An account whose count the test sets."""

    def __init__(self) -> None:
        self.account, self.used, self.asked = "first", 0.0, 0

    async def credits(self) -> UsedCredits | None:
        self.asked += 1
        return UsedCredits(self.account, self.used)


class Watched:
    """A watch over one account, with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.now, self.account, self.path = 1000.0, Told(), path
        self.told: dict[str, tuple[float, float]] = {}
        self.ledger = SqliteLedger(path.parent / "ledger.db", clock=lambda: self.now)

    def watch(self) -> CreditWatch:
        upstreams: Mapping[str, Upstream] = {"evolink": self.account}  # type: ignore[dict-item]
        tell: Callable[[str, float, float], None] = self._tell
        return CreditWatch(self.ledger, upstreams, self.path, clock=lambda: self.now, tell=tell)

    def _tell(self, name: str, drift: float, at: float) -> None:
        self.told[name] = (drift, at)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    one = Watched(tmp_path / "credits.json")
    await one.ledger.open()
    yield one
    await one.ledger.close()


async def test_upstream_is_asked_after_a_while_and_then_now_and_then(watched: Watched) -> None:
    watch, start = watched.watch(), watched.now
    asked_at = []
    for second in range(0, int(FIRST_SECONDS + 2 * EVERY_SECONDS) + 1, 15):
        watched.now = start + second
        before = watched.account.asked
        await watch.look()
        asked_at += [second] * (watched.account.asked - before)
    assert asked_at == [60, 360, 660]


@pytest.mark.parametrize(("account", "used"), [("second", 900.0), ("first", 10.0)])
async def test_another_account_and_a_count_that_began_anew_add_nothing(
    watched: Watched, account: str, used: float
) -> None:
    watch, told = watched.watch(), watched.account
    for told.used in (500.0, 520.0):
        await watch.compare("evolink", told)  # type: ignore[arg-type]
    told.account, told.used = account, used
    await watch.compare("evolink", told)  # type: ignore[arg-type]
    assert watched.told["evolink"] == (20.0, watched.now)
    told.used += 1
    await watch.compare("evolink", told)  # type: ignore[arg-type]
    assert watched.told["evolink"] == (21.0, watched.now)


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"evolink":{}}', b'{"evolink":null}'])
async def test_a_file_that_makes_no_sense_is_begun_anew(watched: Watched, left: bytes) -> None:
    watched.path.write_bytes(left)
    watch = watched.watch()
    with capture_logs() as logs:
        await watch.look()
    assert [line["log_level"] for line in logs] == ["warning"]
    await watch.compare("evolink", watched.account)  # type: ignore[arg-type]
    assert await accounts(watched) == {"evolink": "first"}
    assert not watched.path.exists()


async def accounts(watched: Watched) -> dict[str, str]:
    checks = await watched.ledger.credit_checks()
    return {one.upstream: orjson.loads(one.found)["account"] for one in checks}


async def test_what_a_former_version_left_is_gone_on_with(watched: Watched) -> None:
    left = {"account": "first", "used": 500.0, "booked": 0.0, "drift": 20.0, "at": 900.0}
    watched.path.write_bytes(orjson.dumps({"evolink": left}))
    await watched.watch().look()
    assert watched.told["evolink"] == (20.0, 900.0)
    watched.account.used = 501.0
    await watched.watch().compare("evolink", watched.account)  # type: ignore[arg-type]
    assert watched.told["evolink"] == (21.0, watched.now)
    assert not watched.path.exists()


async def test_of_several_gateways_one_asks_and_all_tell(watched: Watched) -> None:
    watches, start = [watched.watch() for _ in range(3)], watched.now
    for second in range(0, int(FIRST_SECONDS + EVERY_SECONDS) + 1, 15):
        watched.now = start + second
        for watch in watches:
            await watch.look()
    assert watched.account.asked == 2
    watched.told.clear()
    await watches[0].look()
    assert watched.told["evolink"] == (0.0, watched.now)


NUMBERS = (b'"9"', b"-1", b"true", b"1e99")
BODIES = (
    None,
    *(b"", b"[]", b"{}", b'{"data":[]}', b'{"data":{"token":7}}', b'{"data":{"token":{}}}'),
    *(b'{"data":{"token":{"used_credits":%s}}}' % one for one in NUMBERS),
)


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_that_does_not_say_is_none(body: bytes | None) -> None:
    assert read_credits(VendorAnswer(200, body, {})) is None


def test_an_answer_says_what_the_key_has_used() -> None:
    body = b'{"data":{"token":{"used_credits":583.5571},"user":{"used_credits":1}}}'
    assert read_credits(VendorAnswer(200, body, {})) == 583.5571
    assert read_credits(VendorAnswer(401, body, {})) is None
