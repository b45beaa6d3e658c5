"""Alerts of a running gateway: who comes near a limit is told of once, and that is never lost."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from house import PRICE_USD, House, opened, settings_text
from receivers import Call, Receive, Receiver
from standardwebhooks import Webhook

from gateway.config import parse
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.sandbox import RunningSandbox

SECRET = "whsec_c2VjcmV0LWtleS1vZi0yNC1ieXRlcw=="
DAY = 86_400.0
FIVE_PICTURES = {"budgets": [{"usd": 5 * PRICE_USD, "per": "day"}]}


class Moved:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.by_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.by_seconds


def changes(receiver: Receiver, blue: Any = FIVE_PICTURES, **alerts: Any) -> dict[str, Any]:
    """The settings: team blue's limits, and whom to tell."""
    told = {
        "webhook": receiver.url("/hook/secret"),
        "allow_private_addresses": True,
        "signing_secret": SECRET,
    }
    return {
        "alerts": {**told, **alerts},
        "callbacks": {"timeout": "500ms", "retries": ["50ms", "50ms"]},
        "teams": {"blue": blue},
        "upstreams": {"evolink": {"timeout": {"submit": "20s", "poll": "10s"}}},
    }


async def order(home: House, count: int, *, begin: int = 0) -> list[int]:
    """Orders so many different pictures, one after the other; returns the statuses."""
    prompts = [f"picture {number}" for number in range(begin, begin + count)]
    return [(await home.post(prompt)).status_code for prompt in prompts]


def thresholds(calls: list[Call]) -> list[int]:
    return [json.loads(call.body)["data"]["threshold"] for call in calls]


async def alerts(home: House) -> list[Any]:
    """The alerts on record, once none is pending."""
    until = time.monotonic() + 15
    while True:
        listed = (await home.admin("GET", "callbacks")).json()["data"]
        found = [one for one in listed if one["kind"] == "alert"]
        if all(one["state"] != "pending" for one in found):
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.02)


async def test_each_threshold_is_told_once(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver))
    try:
        assert await order(home, 3) == [200] * 3
        assert await alerts(home) == []
        assert await order(home, 1, begin=3) == [200]
        [call] = await receiver.called(1)
        said = Webhook(SECRET).verify(call.body, call.headers)
        assert call.target == "/hook/secret"
        assert said["type"] == "budget.threshold_reached"
        assert (said["data"]["team"], said["data"]["rule"]) == ("blue", "usd_per_day")
        assert (said["data"]["threshold"], said["data"]["limit"]) == (80, 0.25)
        assert said["data"]["spent"] + said["data"]["held"] == pytest.approx(4 * PRICE_USD)
        assert said["text"].startswith("Team blue has used 80 % of its limit of $0.25 per day")
        assert await order(home, 3, begin=4) == [200, 402, 402]
        await receiver.called(2)
        assert await order(home, 3, begin=8) == [402] * 3
        await home.settled()
        assert thresholds(receiver.calls) == [80, 100]
        assert len(await alerts(home)) == 2
        assert (await home.metrics())['gateway_callbacks_total{outcome="delivered"}'] == 2
        assert await home.violations() == []
    finally:
        await home.stop()


async def test_a_refused_order_counts_as_reaching_the_limit(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    blue = {"limits": {"images": [{"count": 3, "per": "month"}]}}
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver, blue))
    try:
        assert (await home.post("two of them", n=2)).status_code == 200
        assert await alerts(home) == []
        assert (await home.post("two more", n=2)).status_code == 429
        calls = await receiver.called(2)
        assert sorted(thresholds(calls)) == [80, 100]
        assert all("An order was refused" in json.loads(call.body)["text"] for call in calls)
        assert (await home.post("one more", n=1)).status_code == 200
        assert len(await alerts(home)) == 2
    finally:
        await home.stop()


async def test_the_next_window_is_told_of_again(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver, clock = await receive(), Moved()
    settings = changes(receiver)
    home = await opened(sandbox, tmp_path, callback_tls=trust, clock=clock, **settings)
    try:
        await order(home, 5)
        await receiver.called(2)
        await home.settled()
        clock.by_seconds = DAY
        assert await order(home, 5, begin=10) == [200] * 5
        await receiver.called(4)
        assert sorted(thresholds(receiver.calls)) == [80, 80, 100, 100]
        assert len(receiver.by_id) == 4
    finally:
        await home.stop()


async def test_a_restart_tells_nothing_twice(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    blue = {"budgets": [{"usd": 10 * PRICE_USD, "per": "total"}]}
    for begin, count, told in ((0, 8, 1), (8, 1, 1), (9, 3, 2)):
        settings = changes(receiver, blue)
        home = await opened(sandbox, tmp_path, callback_tls=trust, **settings)
        try:
            await order(home, count, begin=begin)
            await receiver.called(told)
            await home.settled()
            assert len(await alerts(home)) == told
        finally:
            await home.stop()
    assert thresholds(receiver.calls) == [80, 100]


async def test_an_alert_is_tried_again_under_its_id(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive(503, 503, 200)
    settings = changes(receiver, thresholds=["20%"])
    home = await opened(sandbox, tmp_path, callback_tls=trust, **settings)
    try:
        await order(home, 1)
        await receiver.called(3)
        [alert] = await alerts(home)
        assert (alert["state"], alert["attempts"], alert["status"]) == ("delivered", 3, 200)
        assert (alert["team"], alert["task"], alert["host"]) == ("blue", None, "127.0.0.1")
        assert list(receiver.by_id.values()) == [3]
        assert len({call.body for call in receiver.calls}) == 1
    finally:
        await home.stop()


async def test_an_alert_that_nobody_took_is_sent_again_to_where_the_settings_say(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    broken, mended = await receive(500), await receive()
    home = await opened(
        sandbox, tmp_path, callback_tls=trust, **changes(broken, thresholds=["20%"])
    )
    try:
        await order(home, 1)
        await broken.called(3)
        [alert] = await alerts(home)
        assert (alert["state"], alert["status"]) == ("failed", 500)
        text = settings_text(
            sandbox.base_url, tmp_path, **changes(mended, signing_secret="a-new-one")
        )
        assert home.gateway.reload(parse(text, {})) == []
        again = await home.admin("POST", f"callbacks/{alert['id']}/redeliver")
        assert (again.status_code, again.json()["state"]) == (200, "pending")
        [call] = await mended.called(1)
        assert call.id == alert["id"]
        Webhook(b"a-new-one").verify(call.body, call.headers)
        assert len(broken.calls) == 3
    finally:
        await home.stop()


async def test_a_changed_limit_counts_from_the_next_order_on(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver))
    try:
        await order(home, 2)
        smaller = {"budgets": [{"usd": 0.175, "per": "day"}]}
        text = settings_text(sandbox.base_url, tmp_path, **changes(receiver, smaller))
        assert home.gateway.reload(parse(text, {})) == []
        await order(home, 1, begin=2)
        [call] = await receiver.called(1)
        assert json.loads(call.body)["data"]["limit"] == pytest.approx(0.175)
        assert len(await alerts(home)) == 1
    finally:
        await home.stop()


async def test_a_team_in_shadow_mode_is_told_of_too(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    settings = changes(receiver, {**FIVE_PICTURES, "mode": "shadow"})
    home = await opened(sandbox, tmp_path, callback_tls=trust, **settings)
    try:
        assert await order(home, 7) == [200] * 7
        await receiver.called(2)
        await home.settled()
        assert len(await alerts(home)) == 2
    finally:
        await home.stop()


async def test_a_flood_of_refusals_writes_nothing_more(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver))
    try:
        assert await order(home, 6) == [200] * 5 + [402]
        await receiver.called(2)
        transact, written = home.gateway.ledger.transact, list[Writes]()

        async def noting(keys: Keys, decide: Decide[Any]) -> Any:
            def noted(view: View) -> tuple[Any, Writes]:
                decision, writes = decide(view)
                written.append(writes)
                return decision, writes

            return await transact(keys, noted)

        home.gateway.ledger.transact = noting  # type: ignore[method-assign]
        assert await order(home, 20, begin=10) == [402] * 20
        assert len(written) >= 20
        assert not any(writes.alerts for writes in written)
    finally:
        await home.stop()


async def test_many_orders_at_once_tell_once(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    blue = {"limits": {"images": [{"count": 10, "per": "month"}]}}
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver, blue))
    try:
        answers = await asyncio.gather(*(home.post(f"picture {i}") for i in range(200)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(200), statuses.count(429)) == (10, 190)
        await receiver.called(2)
        await home.settled()
        assert sorted(thresholds(receiver.calls)) == [80, 100]
        assert len(await alerts(home)) == 2
        assert await home.violations() == []
    finally:
        await home.stop()


async def test_an_alert_may_go_to_a_plain_address_inside(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    receiver = await Receiver(None).start()
    settings = changes(receiver, signing_secret=None)
    home = await opened(sandbox, tmp_path, **settings)
    try:
        await order(home, 4)
        [call] = await receiver.called(1)
        assert "webhook-signature" not in call.headers
        refused = await home.post("called back", callback_url=receiver.url())
        assert refused.status_code == 400
    finally:
        await home.stop()
        await receiver.stop()


async def test_a_test_alert_goes_the_way_of_all_and_is_told_of(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive(200, 403)
    home = await opened(sandbox, tmp_path, callback_tls=trust, **changes(receiver))
    try:
        arrived = await home.admin("POST", "alerts/test", json={})
        [call] = await receiver.called(1)
        assert Webhook(SECRET).verify(call.body, call.headers)["type"] == "alert.test"
        assert arrived.json() == {
            "delivered": True,
            "id": call.id,
            "host": "127.0.0.1",
            "status": 200,
            "error": None,
        }
        declined = (await home.admin("POST", "alerts/test")).json()
        assert (declined["delivered"], declined["status"]) == (False, 403)
        assert declined["error"] == "answered 403: ok"
        assert len(receiver.calls) == 2, "once each"
        assert await alerts(home) == [], "owed to nobody"
        acts = (await home.admin("GET", "audit?action=alert.test")).json()["data"]
        assert [act["subject"] for act in acts] == ["127.0.0.1"] * 2
        assert "secret" not in json.dumps([acts, declined])
    finally:
        await home.stop()


async def test_a_test_alert_follows_the_settings(tmp_path: Path, sandbox: RunningSandbox) -> None:
    home = await opened(sandbox, tmp_path)
    try:
        nobody = await home.admin("POST", "alerts/test")
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (409, "no_alert_webhook")
        assert "alerts.webhook" in nobody.json()["error"]["message"]
        alert = {"webhook": "http://127.0.0.1:1/hook", "allow_private_addresses": True}
        text = settings_text(sandbox.base_url, tmp_path, alerts=alert)
        assert home.gateway.reload(parse(text, {})) == []
        tried = (await home.admin("POST", "alerts/test")).json()
        assert (tried["delivered"], tried["status"]) == (False, None)
        assert "ConnectError" in tried["error"]
    finally:
        await home.stop()
