"""One attempt at a callback, over real sockets and real certificates, to receivers of all kinds."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import httpx2 as httpx
import pytest
from receivers import Answer, Receive, Receiver, hang, redirect
from standardwebhooks import Webhook

from gateway.adapters.outbound.pinned import pinned_client
from gateway.adapters.webhook_sender import ANSWER_BYTES, AlertSender, CallbackSender
from gateway.core.addresses import Address
from gateway.core.delivery import Outcome, signing_key
from gateway.core.model import Delivery

BODY = '{"id":"task-unified-1-a","status":"completed","prompt":"ein rotes Fahrrad, schön"}'.encode()
NAME = "hooks.example.com"


class Names:
    """A resolver whose answers a test chooses; each look-up takes the next one."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(answer)]


def a_delivery(url: str) -> Delivery:
    return Delivery("msg_1", "task-unified-1-a", "blue", url, created_at=1.0, due_at=1.0)


async def attempt(
    url: str,
    trust: ssl.SSLContext,
    *,
    resolver: Any = None,
    allow_private: bool = True,
    **options: Any,
) -> Outcome:
    client = pinned_client(
        timeout=httpx.Timeout(5), verify=trust, resolver=resolver, allow_private=allow_private
    )
    options = {"timeout_seconds": 10.0, **options}
    sender = CallbackSender(client, clock=time.time, allow_private=allow_private, **options)
    try:
        return await sender.deliver(a_delivery(url), BODY)
    finally:
        await sender.aclose()


async def test_the_receiver_gets_the_body_and_its_marks(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    receiver = await receive()
    assert await attempt(receiver.url("/hook?token=x"), trust) == Outcome(200)
    [call] = receiver.calls
    assert (call.target, call.body) == ("/hook?token=x", BODY)
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"].startswith("image-gateway/")
    assert call.id == "msg_1"
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 5
    assert not {"webhook-signature", "authorization", "cookie"} & call.headers.keys()


@pytest.mark.parametrize("secret", ["whsec_c2VjcmV0LWtleS1vZi0yNC1ieXRlcw==", "any-old-text"])
async def test_the_signature_is_the_standards(
    receive: Receive, trust: ssl.SSLContext, secret: str
) -> None:
    receiver = await receive()
    await attempt(receiver.url(), trust, signing_secret=secret)
    [call] = receiver.calls
    verifier = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    assert verifier.verify(call.body, call.headers)["status"] == "completed"
    other = Webhook(signing_key("another-text"))
    with pytest.raises(Exception, match="No matching signature"):
        other.verify(call.body, call.headers)


async def test_a_broken_secret_is_refused_at_once() -> None:
    async with pinned_client(timeout=httpx.Timeout(5)) as client:
        with pytest.raises(ValueError, match=r"."):
            CallbackSender(client, clock=time.time, timeout_seconds=10.0, signing_secret="whsec_!")


async def test_a_redirect_is_not_followed(receive: Receive, trust: ssl.SSLContext) -> None:
    elsewhere = await receive()
    receiver = await receive(redirect(elsewhere.url()))
    outcome = await attempt(receiver.url(), trust)
    assert (outcome.status, outcome.delivered) == (307, False)
    assert elsewhere.connections == 0


async def test_a_slow_receiver_is_waited_for(receive: Receive, trust: ssl.SSLContext) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 204 X\r\n\r\n")
        await writer.drain()

    receiver = await receive(slow)
    assert await attempt(receiver.url(), trust, timeout_seconds=5) == Outcome(204)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    """A byte at a time, so that no single read ever takes long."""
    writer.write(b"HTTP/1.1 200 X\r\n")
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [hang, drip_head])
async def test_a_receiver_that_hangs_costs_the_time_out_and_no_more(
    receive: Receive, trust: ssl.SSLContext, answer: Answer
) -> None:
    receiver = await receive(answer)
    start = time.monotonic()
    outcome = await attempt(receiver.url(), trust, timeout_seconds=0.3)
    assert outcome == Outcome(error="no answer within 0.3 s")
    assert 0.25 < time.monotonic() - start < 2


async def test_a_port_that_never_shakes_hands(trust: ssl.SSLContext) -> None:
    left = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await attempt(f"https://127.0.0.1:{port}/", trust, timeout_seconds=0.3)
    await left.wait()
    server.close()
    assert outcome == Outcome(error="no answer within 0.3 s")


async def test_an_endless_answer_is_cut_off(receive: Receive, trust: ssl.SSLContext) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()
            sent += 4096

    receiver = await receive(endless)
    start = time.monotonic()
    assert await attempt(receiver.url(), trust, timeout_seconds=5) == Outcome(200)
    assert time.monotonic() - start < 3
    assert sent < ANSWER_BYTES + 16 * 2**20  # what fits into buffers on the way


async def test_a_status_counts_even_when_its_body_never_comes(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    async def stuck(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 X\r\nContent-Length: 10\r\n\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    receiver = await receive(stuck)
    assert await attempt(receiver.url(), trust, timeout_seconds=0.3) == Outcome(202)


async def garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-nonsense\r\n\r\n")
    await writer.drain()


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("answer", [garbage, reset])
async def test_nonsense_is_a_failure_like_any_other(
    receive: Receive, trust: ssl.SSLContext, answer: Answer
) -> None:
    receiver = await receive(answer)
    outcome = await attempt(receiver.url(), trust)
    assert outcome.status is None and outcome.error and not outcome.delivered


async def test_nobody_there(trust: ssl.SSLContext, receive: Receive) -> None:
    receiver = await receive()
    await receiver.stop()
    outcome = await attempt(receiver.url(), trust)
    assert outcome.error and outcome.error.startswith("ConnectError")


async def test_a_certificate_for_another_name_is_refused(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    receiver = await receive(name="other.example.com")
    outcome = await attempt(receiver.url(host=NAME), trust, resolver=Names("127.0.0.1"))
    assert outcome.status is None and "CERTIFICATE_VERIFY_FAILED" in str(outcome.error)
    assert receiver.calls == []


async def test_a_certificate_nobody_vouches_for_is_refused(receive: Receive) -> None:
    receiver = await receive(name=NAME)
    strict = ssl.create_default_context()
    outcome = await attempt(receiver.url(host=NAME), strict, resolver=Names("127.0.0.1"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(outcome.error)
    assert receiver.calls == []


async def test_the_certificate_is_checked_against_the_name(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    receiver = await receive(name=NAME)
    outcome = await attempt(receiver.url(host=NAME), trust, resolver=Names("127.0.0.1"))
    assert outcome == Outcome(200)
    assert receiver.calls[0].headers["host"] == f"{NAME}:{receiver.port}"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1"])
async def test_a_name_that_leads_inside_is_not_dialled(
    receive: Receive, trust: ssl.SSLContext, address: str
) -> None:
    receiver = await receive(name=NAME)
    outcome = await attempt(
        receiver.url(host=NAME), trust, resolver=Names(address), allow_private=False
    )
    assert outcome.status is None
    assert f"{NAME} leads to {address}" in str(outcome.error)
    assert receiver.connections == 0


async def test_a_name_that_changes_its_mind_is_asked_once(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    checked, rebound = await receive(name=NAME), await receive(name=NAME, host="127.0.0.2")
    names = Names("127.0.0.1", "127.0.0.2")
    assert await attempt(checked.url(host=NAME), trust, resolver=names) == Outcome(200)
    assert (names.asked, len(checked.calls), rebound.connections) == (1, 1, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::ffff:10.0.0.1]/",
        "ftp://hooks.example.com/",
        "https://",
    ],
)
async def test_a_url_that_breaks_the_rules_is_not_even_looked_up(
    trust: ssl.SSLContext, url: str
) -> None:
    names = Names("93.184.216.34")
    outcome = await attempt(url, trust, resolver=names, allow_private=False)
    assert outcome.status is None and outcome.error
    assert names.asked == 0


async def test_proxies_of_the_environment_are_ignored(
    receive: Receive, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy: Receiver = await receive()
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    receiver = await receive()
    assert await attempt(receiver.url(), trust) == Outcome(200)
    assert (len(receiver.calls), proxy.connections) == (1, 0)


def saying(status: int, body: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return answer


async def alerted(receiver: Receiver, trust: ssl.SSLContext, path: str) -> Outcome:
    client = pinned_client(timeout=httpx.Timeout(5), verify=trust, allow_private=True)
    sender = AlertSender(client, clock=time.time, timeout_seconds=10.0, allow_private=True)
    try:
        return await sender.deliver(a_delivery(receiver.url(path)), BODY)
    finally:
        await sender.aclose()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"message": "Cannot send an empty message"}',
            '{"message": "Cannot send an empty message"}',
        ),
        (b"no\r\n\tsuch \x1b[31mhook\x00", "no such [31mhook"),
        (b"caf\xe9 " + b"x" * 5000, "caf\ufffd " + "x" * 195),
        (b"x" * 100_000, "x" * 200),
        (b"nothing at /services/T0/very-secret?token=abcdef", "nothing at [redacted]?[redacted]"),
        (b"unknown: very-secret, abcdef", "unknown: [redacted], [redacted]"),
    ],
)
async def test_what_a_receiver_says_to_an_alert_is_told(
    receive: Receive, trust: ssl.SSLContext, body: bytes, said: str
) -> None:
    receiver = await receive(saying(400, body))
    outcome = await alerted(receiver, trust, "/services/T0/very-secret?token=abcdef")
    assert outcome == Outcome(400, f"answered 400: {said}")


@pytest.mark.parametrize("answer", [saying(200, b"ok"), saying(204, b""), 404])
async def test_what_needs_no_words_has_none(
    receive: Receive, trust: ssl.SSLContext, answer: Answer
) -> None:
    outcome = await alerted(await receive(answer), trust, "/hook")
    if outcome.delivered:
        assert outcome.error is None
    else:
        assert outcome == Outcome(404, "answered 404: ok")


async def test_what_a_teams_receiver_says_is_not_told(
    receive: Receive, trust: ssl.SSLContext
) -> None:
    receiver = await receive(saying(400, b"secret of theirs"))
    assert await attempt(receiver.url(), trust) == Outcome(400)


async def test_cancelling_an_attempt_ends_it(receive: Receive, trust: ssl.SSLContext) -> None:
    receiver = await receive(hang)
    task = asyncio.create_task(attempt(receiver.url(), trust, timeout_seconds=30))
    await receiver.called()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
