"""One attempt at a callback: a signed POST to an address that was judged.

The client is given, and it is the one that dials checked addresses only. Nothing a receiver
does costs more than the time-out, one connection and a few kilobytes. What an attempt means for
the delivery, and when there is another, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx2 as httpx
from standardwebhooks import Webhook

from gateway import __version__
from gateway.core.addresses import check_url
from gateway.core.delivery import Outcome, signing_key
from gateway.core.model import Delivery
from gateway.ports.clock import Clock

ANSWER_BYTES: Final = 65_536
"""Read and thrown away, so that a receiver can end its answer; what is longer is cut off."""

SAID_BYTES: Final = 2_000
SAID_CHARACTERS: Final = 200
"""What is told of an alert's refusal."""

SECRET_CHARACTERS: Final = 6
MASK: Final = "[redacted]"

_HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": f"image-gateway/{__version__}",
    "Accept-Encoding": "identity",
}


class CallbackSender:
    """See gateway.ports.outbound.Callbacks: over pinned addresses, following no redirect."""

    schemes = frozenset({"https"})

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        clock: Clock,
        timeout_seconds: float,
        signing_secret: str | None = None,
        allow_private: bool = False,
    ) -> None:
        """Raises `ValueError` for a `signing_secret` that is none (see `core.outbox`).

        The client is closed with the sender.
        """
        self._client = client
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._signer = Webhook(signing_key(signing_secret)) if signing_secret else None
        self._allow_private = allow_private

    async def deliver(self, delivery: Delivery, body: bytes) -> Outcome:
        problem = check_url(delivery.url, schemes=self.schemes, allow_private=self._allow_private)
        if problem is not None:
            return Outcome(error=problem.message)
        answered: list[Outcome] = []
        error = "no answer"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._post(delivery, body, answered)
        except TimeoutError:
            error = f"no answer within {self._timeout_seconds:g} s"
        except Exception as failure:  # whatever it is, it costs one attempt
            error = f"{type(failure).__name__}: {failure}"
        return answered[-1] if answered else Outcome(error=error)

    async def _post(self, delivery: Delivery, body: bytes, answered: list[Outcome]) -> None:
        """The status counts as soon as it is there, whatever becomes of the answer's body."""
        dialled: list[Any] = []

        async def trace(event: str, facts: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                dialled.append(facts["return_value"])

        request = self._client.build_request(
            "POST",
            delivery.url,
            content=body,
            headers={**_HEADERS, **self._marks(delivery, body)},
            extensions={"trace": trace, "team": delivery.team},
        )
        try:
            response = await self._client.send(request, stream=True)
            answered.append(Outcome(response.status_code))
            said = await _start_of(response)
            answered.append(self._outcome(delivery, response.status_code, said))
        finally:
            # A connection whose handshake is broken off by the time-out is closed by nobody else.
            for connection in dialled:
                await connection.aclose()

    def _outcome(self, delivery: Delivery, status: int, said: bytes) -> Outcome:
        """What teams' receivers say is nobody's business."""
        return Outcome(status)

    def _marks(self, delivery: Delivery, body: bytes) -> Mapping[str, str]:
        """The headers of Standard Webhooks."""
        now = datetime.fromtimestamp(int(self._clock()), UTC)
        marks = {"webhook-id": delivery.id, "webhook-timestamp": str(int(now.timestamp()))}
        if self._signer is not None:
            marks["webhook-signature"] = self._signer.sign(delivery.id, now, body.decode())
        return marks

    async def aclose(self) -> None:
        await self._client.aclose()


class AlertSender(CallbackSender):
    """The same to an address of the operator's own, which may be plain http.

    What it says to an alert that it does not take helps to mend it, and is told.
    """

    schemes = frozenset({"http", "https"})

    def _outcome(self, delivery: Delivery, status: int, said: bytes) -> Outcome:
        outcome = Outcome(status)
        text = _one_line(said, delivery.url)
        if outcome.delivered or not text:
            return outcome
        return replace(outcome, error=f"answered {status}: {text}")


async def _start_of(response: httpx.Response) -> bytes:
    """The answer's first bytes; the rest is read so that the receiver can end it."""
    received, start = 0, b""
    try:
        async for chunk in response.aiter_raw():
            received += len(chunk)
            start = (start + chunk)[:SAID_BYTES]
            if received > ANSWER_BYTES:
                break
    finally:
        await response.aclose()
    return start


def _one_line(said: bytes, url: str) -> str:
    """As text that may be shown. What follows the receiver's host is as good as a key."""
    text = said.decode("utf-8", "replace")
    split = urlsplit(url)
    parts = [split.path, split.query, *split.path.split("/"), *split.query.split("&")]
    parts += [part.partition("=")[2] for part in parts]
    spelt = {spelling for part in parts for spelling in (part, unquote(part))}
    for secret in sorted(spelt, key=len, reverse=True):
        text = text.replace(secret, MASK) if len(secret) >= SECRET_CHARACTERS else text
    shown = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(shown.split())[:SAID_CHARACTERS]
