"""Callbacks of a running gateway: who gets one, what is in it, and that none is lost."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import stores
import structlog
import trustme
from house import OTHER_KEY, TEAM_KEY, House, opened, settings_text
from processes import free_port, process
from receivers import Receive, hang, redirect
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.core.model import Delivery, DeliveryState
from gateway.core.transaction import Keys, Writes
from gateway.ports.ledger import DeliveryFilter
from gateway.sandbox import RunningSandbox

DOOMED = Path(__file__).with_name("doomed_webhooks.py")
SECRET = "whsec_c2VjcmV0LWtleS1vZi0yNC1ieXRlcw=="
CALLBACKS = {
    "allow_private_addresses": True,
    "signing_secret": SECRET,
    "timeout": "500ms",
    "retries": ["50ms", "100ms", "200ms"],
}
COUNTS = 'gateway_callbacks_total{{outcome="{}"}}'


@pytest.fixture
async def home(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext
) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=CALLBACKS)
    yield one
    await one.stop()


async def history(home: House, task_id: str | None = None) -> list[Delivery]:
    return list(
        await home.gateway.ledger.deliveries(DeliveryFilter(job_id=task_id), after=None, limit=5000)
    )


async def ended(home: House, *, count: int = 1, seconds: float = 15) -> list[Delivery]:
    """All deliveries, once there are `count` and none is pending."""
    until = time.monotonic() + seconds
    while True:
        found = await history(home)
        if len(found) >= count and not any(d.state is DeliveryState.PENDING for d in found):
            return found
        assert time.monotonic() < until, found[:5]
        await asyncio.sleep(0.02)


async def counts(home: House) -> tuple[float, float, float]:
    shown = await home.metrics()
    delivered, retried, failed = (
        shown[COUNTS.format(word)] for word in ("delivered", "retried", "failed")
    )
    return delivered, retried, failed


# --- who gets one, and what is in it -----------------------------------------------------------


@stores.both
async def test_a_completed_task_is_told_as_a_poll_tells_it(home: House, receive: Receive) -> None:
    receiver = await receive()
    answer = await home.post(callback_url=receiver.url("/hook?for=me"))
    assert answer.status_code == 200
    [call] = await receiver.called()
    polled = await home.poll(answer.json()["id"])
    assert call.body == polled.content
    assert call.task["status"] == "completed"
    assert call.target == "/hook?for=me"
    picture = await home.client.get(call.task["results"][0])
    assert picture.status_code == 200
    assert picture.url.host == "127.0.0.1"
    assert Webhook(SECRET).verify(call.body, call.headers)["id"] == answer.json()["id"]
    [delivery] = await ended(home)
    assert (delivery.id, delivery.attempts, delivery.status) == (call.id, 1, 200)
    assert await counts(home) == (1, 0, 0)
    assert await home.violations() == []


async def test_the_documented_receiver_accepts_it(home: House, receive: Receive) -> None:
    page = Path(__file__).parents[2].joinpath("docs/clients.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(from standardwebhooks.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    receiver = await receive()
    await home.post(callback_url=receiver.url())
    [call] = await receiver.called()
    assert names["verified"](call.body, call.headers)["status"] == "completed"
    with pytest.raises(WebhookVerificationError):
        names["verified"](call.body.replace(b"completed", b"processed"), call.headers)


async def test_it_comes_after_the_money_is_settled_and_upstream_gets_no_url(
    home: House, sandbox: RunningSandbox, receive: Receive
) -> None:
    seen: list[Any] = []

    async def look(writer: asyncio.StreamWriter) -> None:
        seen.append(await home.gateway.ledger.usage())
        writer.write(b"HTTP/1.1 200 X\r\n\r\n")
        await writer.drain()

    receiver = await receive(look)
    await home.post(callback_url=receiver.url())
    await receiver.called()
    await ended(home)
    assert seen[0][0].spent_usd_micros == 50_000
    assert not sandbox.state.callbacks
    assert all("callback_url" not in str(request) for request in sandbox.state.requests)


async def test_a_failed_task_is_told_too(home: House, receive: Receive) -> None:
    receiver = await receive()
    answer = await home.post("[sandbox:fail=content_policy_violation]", callback_url=receiver.url())
    assert answer.status_code == 200
    [call] = await receiver.called()
    assert call.task["status"] == "failed"
    assert call.task["error"]["code"] == "content_policy_violation"
    assert call.body == (await home.poll(answer.json()["id"])).content


async def test_a_hit_is_told_at_once(home: House, receive: Receive) -> None:
    await home.made()
    receiver = await receive()
    answer = await home.post(callback_url=receiver.url())
    assert answer.headers["Cache-Status"].startswith("image-gateway; hit")
    [call] = await receiver.called(seconds=2)
    assert call.body == answer.content
    assert await ended(home)


async def test_joined_jobs_get_one_each_under_their_own_ids(home: House, receive: Receive) -> None:
    receiver, other = await receive(), await receive()
    wish: dict[str, Any] = {"prompt": "[sandbox:delay=0.4] shared"}
    answers = [await home.post(**wish, callback_url=receiver.url()) for _ in range(5)]
    answers.append(
        await home.post(**wish, key=OTHER_KEY, callback_url=other.url())
    )  # another team's run
    answers.append(await home.post(**wish))  # joins, and wants no callback
    calls = [*await receiver.called(5), *await other.called()]
    assert {call.task["id"] for call in calls} == {one.json()["id"] for one in answers[:6]}
    assert len({call.id for call in calls}) == 6
    assert {call.task["status"] for call in calls} == {"completed"}
    await ended(home, count=6)
    assert (len(receiver.calls), len(other.calls)) == (5, 1)
    assert await home.violations() == []


async def test_a_refusal_that_was_the_posts_answer_is_not_called_back(
    home: House, receive: Receive
) -> None:
    receiver = await receive()
    refused = await home.post("[sandbox:http=400]", callback_url=receiver.url())
    assert refused.status_code == 400
    await home.settled()
    await home.post("after it", callback_url=receiver.url())
    [call] = await receiver.called()
    assert "after it" not in refused.text and call.task["status"] == "completed"
    assert len(await ended(home)) == 1


async def test_an_order_without_a_url_calls_nobody(home: House) -> None:
    await home.made()
    assert await history(home) == []
    assert await counts(home) == (0, 0, 0)


# --- receivers of all kinds ----------------------------------------------------------------------


async def test_three_failures_and_a_success(home: House, receive: Receive) -> None:
    receiver = await receive(500, 500, 500, 200)
    await home.post(callback_url=receiver.url())
    calls = await receiver.called(4)
    assert len({call.id for call in calls}) == 1
    assert len({call.body for call in calls}) == 1
    [delivery] = await ended(home)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 4)
    assert await counts(home) == (1, 3, 0)


@pytest.mark.parametrize("kind", ["error", "redirect", "hang", "certificate"])
async def test_a_receiver_that_never_takes_it(home: House, receive: Receive, kind: str) -> None:
    elsewhere = await receive()
    answers = {"error": 503, "redirect": redirect(elsewhere.url()), "hang": hang}
    name = "other.example.com" if kind == "certificate" else "127.0.0.1"
    receiver = await receive(answers.get(kind, 200), name=name)
    answer = await home.post(callback_url=receiver.url())
    [delivery] = await ended(home)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 4)
    assert delivery.job_id == answer.json()["id"]
    assert delivery.error
    assert await counts(home) == (0, 3, 1)
    assert elsewhere.connections == 0
    assert (await home.poll(answer.json()["id"])).json()["status"] == "completed"


async def test_redelivery_is_a_new_series_under_the_same_id(home: House, receive: Receive) -> None:
    receiver = await receive(500, 500, 500, 500, 200)
    await home.post(callback_url=receiver.url())
    [failed] = await ended(home)
    assert failed.state is DeliveryState.FAILED
    begun = await home.gateway.webhooks.redeliver(failed.id)
    assert begun is not None and begun.state is DeliveryState.PENDING
    await receiver.called(5)
    [delivered] = await ended(home)
    assert (delivered.id, delivered.attempts) == (failed.id, 1)
    assert receiver.by_id == {failed.id: 5}
    await home.gateway.webhooks.redeliver(failed.id)  # also of one that was delivered
    await receiver.called(6)
    assert await home.gateway.webhooks.redeliver("msg_unknown") is None


async def test_the_log_says_one_line_per_attempt_and_no_secret(
    home: House, receive: Receive
) -> None:
    receiver = await receive(500, 200)
    with structlog.testing.capture_logs() as lines:
        answer = await home.post(callback_url=receiver.url("/their-token?key=abc"))
        await ended(home)
    told = [line for line in lines if line["event"] == "callback"]
    assert [(one["attempt"], one["status"], one["state"]) for one in told] == [
        (1, 500, "pending"),
        (2, 200, "delivered"),
    ]
    assert {one["task"] for one in told} == {answer.json()["id"]}
    assert "their-token" not in str(lines) and "abc" not in str(told)


async def test_a_reload_takes_over_where_callbacks_may_go(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    from gateway.config import parse

    receiver = await receive()
    home = await opened(sandbox, tmp_path, callback_tls=trust)
    try:
        refused = await home.post(callback_url=receiver.url())
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "callback_url")
        text = settings_text(sandbox.base_url, tmp_path, callbacks=CALLBACKS)
        assert home.gateway.reload(parse(text, {})) == []
        await home.post(callback_url=receiver.url())
        [call] = await receiver.called()
        assert "webhook-signature" in call.headers
    finally:
        await home.stop()


# --- many, and slow ones -------------------------------------------------------------------------


async def pending(home: House, url: str, count: int) -> None:
    """As many deliveries due now as a burst would leave, for tasks that are done."""
    task = await home.made(f"for {url}")
    found = await home.gateway.ledger.job(task["id"])
    assert found is not None
    job, now = found[0], time.time()
    rows = tuple(
        Delivery(f"msg_{url[-5:]}_{i}", job.id, job.team, url, created_at=now, due_at=now)
        for i in range(count)
    )
    await home.gateway.ledger.transact(Keys(), lambda _: (None, Writes(deliveries=rows)))
    home.gateway.webhooks.nudge()


@pytest.mark.long
@pytest.mark.alone
async def test_a_thousand_drain_within_bounds(home: House, receive: Receive) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 5)]
    receivers = [await receive(host=host, name=host) for host in hosts]
    start = time.monotonic()
    for receiver in receivers:
        await pending(home, receiver.url(f"/{receiver.port}"), 250)
    deliveries = await ended(home, count=1000, seconds=60)
    seconds = time.monotonic() - start
    assert {one.state for one in deliveries} == {DeliveryState.DELIVERED}
    for receiver in receivers:
        assert set(receiver.by_id.values()) == {1}
        assert len(receiver.calls) == 250
        assert receiver.most_at_once <= 16 // 4
    assert seconds < 40
    assert (await counts(home))[0] == 1000


async def test_a_receiver_that_hangs_does_not_hold_up_the_others(
    home: House, receive: Receive
) -> None:
    stuck, well = await receive(hang), await receive(host="127.0.0.2", name="127.0.0.2")
    await pending(home, stuck.url("/stuck"), 800)
    await stuck.called(4)
    for number in range(5):
        start = time.monotonic()
        await home.post(f"picture {number}", callback_url=well.url())
        await well.called(number + 1, seconds=5)
        assert time.monotonic() - start < 2
    assert stuck.most_at_once <= 4
    assert len(stuck.calls) < 800


# --- crashes and stops ---------------------------------------------------------------------------


async def test_killed_in_the_middle_of_a_delivery(
    tmp_path: Path,
    sandbox: RunningSandbox,
    authority: trustme.CA,
    trust: ssl.SSLContext,
    receive: Receive,
) -> None:
    receiver = await receive()
    settings = settings_text(sandbox.base_url, tmp_path / "data", callbacks=CALLBACKS)
    config, pem, port = tmp_path / "config.yaml", tmp_path / "ca.pem", free_port()
    config.write_text(settings)
    authority.cert_pem.write_to_path(str(pem))
    command = (sys.executable, str(DOOMED), str(config), str(port), str(pem))
    async with process(*command, cwd=tmp_path) as doomed:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.post(
                "/v1/images/generations",
                json={"model": "gpt-image-1.5", "prompt": "x", "callback_url": receiver.url()},
                headers={"Authorization": f"Bearer {TEAM_KEY}"},
            )
        assert answer.status_code == 200
        assert await asyncio.wait_for(doomed.wait(), 20) == -signal.SIGKILL
    assert len(receiver.calls) == 1
    home = await opened(sandbox, tmp_path / "data", callback_tls=trust, callbacks=CALLBACKS)
    try:
        first, second = await receiver.called(2, seconds=stores.patience(10))
        assert first.id == second.id
        assert json.loads(first.body)["id"] == answer.json()["id"] == second.task["id"]
        [delivery] = await ended(home)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
        assert await home.violations() == []
    finally:
        await home.stop()


@stores.both
async def test_what_a_stop_leaves_is_delivered_after_the_next_start(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    settings = {**CALLBACKS, "timeout": "30s"}
    receiver = await receive(hang, 200)
    home = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=settings)
    await home.post(callback_url=receiver.url())
    [cut] = await receiver.called()
    start = time.monotonic()
    await home.client.aclose()
    await home.http.stop(1)
    await home.gateway.stop(0.2)
    assert time.monotonic() - start < 5
    home = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=settings)
    try:
        _, again = await receiver.called(2)
        assert again.id == cut.id
        [delivery] = await ended(home)
        assert delivery.state is DeliveryState.DELIVERED
    finally:
        await home.stop()


async def test_a_stop_waits_for_the_attempt_under_way(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    asked = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 200 X\r\n\r\n")
        await writer.drain()

    receiver = await receive(slow)
    home = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=CALLBACKS)
    await home.post(callback_url=receiver.url())
    await asked.wait()
    await home.stop()
    home = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=CALLBACKS)
    try:
        [delivery] = await history(home)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
    finally:
        await home.stop()
