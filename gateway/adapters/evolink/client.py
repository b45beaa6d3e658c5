"""The vendor's API as a client: submits a run, asks after its task.

It owns the connections and the organisation's key; what the answers mean is read in
`answers.py`. Submitting uses a fresh connection each time: on a kept one the server may hang
up just as the request goes out, and then nobody knows whether it was taken.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import quote

import httpx2 as httpx
import orjson

from gateway.adapters.evolink import answers
from gateway.adapters.evolink.masking import Mask, received
from gateway.adapters.evolink.said import code_of
from gateway.adapters.evolink.task_list import PAGE_SIZE, read_task_list
from gateway.core.model import Run
from gateway.core.reconciling.evidence import Evidence
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.ports.upstream import Sure, UsedCredits, nothing_asked

MAX_ANSWER_BYTES: Final = 1_048_576
"""Task objects are a few kilobytes; whatever is larger is not one."""

KEEPALIVE_SECONDS: Final = 20.0

PROXY_WANTS_CREDENTIALS: Final = 407
"""Never upstream's own: a proxy has passed nothing on."""

Transports = Callable[[httpx.Limits], httpx.AsyncBaseTransport]
"""Makes the way to the vendor, directly or through a proxy, with so many connections."""


def straight(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, for a whole submit, for a whole poll."""

    connect_seconds: float
    submit_seconds: float
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """Where the vendor is and who we are there.

    `not_taken` are codes of its own that say that nobody took an order, beyond the known ones.
    """

    base_url: str
    api_key: str
    user_agent: str
    max_connections: int
    not_taken: Collection[str] = ()


class EvolinkClient:
    """One vendor account (`gateway.ports.upstream.Upstream`)."""

    def __init__(
        self,
        account: VendorAccount,
        timeouts: Timeouts,
        *,
        transports: Transports = straight,
        callback_url: Callable[[Run], str] | None = None,
    ) -> None:
        """`callback_url` gives the address at which upstream calls when a run's task has ended."""
        self._callback_url = callback_url
        self._timeouts = timeouts
        self._base_url = account.base_url.rstrip("/").removesuffix("/v1")
        named = f"{self._base_url}\n{account.api_key}".encode()
        self._mask = Mask(account.api_key)
        self._not_taken = frozenset(map(code_of, account.not_taken))
        self._mark = hashlib.sha256(named).hexdigest()[:16]
        self._submits = _client(account, timeouts, transports, keepalive=0)
        self._polls = _client(account, timeouts, transports, keepalive=account.max_connections)

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        wish = {**orjson.loads(run.request), "model": run.upstream_model}
        if self._callback_url is not None:
            wish["callback_url"] = self._callback_url(run)
        departure = _Departure(sure)
        request = self._submits.build_request(
            "POST",
            f"{self._base_url}/v1/images/generations",
            content=orjson.dumps(wish),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": f"{run.id}-{run.attempts}",
            },
            extensions={"trace": departure.note},
        )
        try:
            async with asyncio.timeout(self._timeouts.submit_seconds):
                answer = await self._send(self._submits, request)
        except (httpx.HTTPError, TimeoutError) as error:
            return departure.broken_off(error)
        if answer.status == PROXY_WANTS_CREDENTIALS:
            return NotNow("the proxy wants other credentials", why=Why.NEVER_SENT)
        prompt = wish.get("prompt")
        return answers.read_submit(
            answer, not_taken=self._not_taken, prompt=prompt if isinstance(prompt, str) else ""
        )

    async def recovered(self, run: Run) -> SubmitEvent:
        """What was sent may have been taken: only the vendor knows."""
        return AnswerLost("the gateway was stopped while the request was going out")

    async def poll(self, upstream_task_id: str) -> PollEvent:
        path = f"/v1/tasks/{quote(upstream_task_id, safe='')}"
        request = self._polls.build_request("GET", f"{self._base_url}{path}")
        try:
            async with asyncio.timeout(self._timeouts.poll_seconds):
                answer = await self._send(self._polls, request)
        except (httpx.HTTPError, TimeoutError) as error:
            return Unreachable(f"no answer: {type(error).__name__}")
        return answers.read_poll(answer)

    async def credits(self) -> UsedCredits | None:
        request = self._polls.build_request("GET", f"{self._base_url}/v1/credits")
        try:
            async with asyncio.timeout(self._timeouts.poll_seconds):
                answer = await self._send(self._polls, request)
        except (httpx.HTTPError, TimeoutError):
            return None
        used = answers.read_credits(answer)
        return None if used is None else UsedCredits(self._mark, used)

    async def evidence(self, since: float, until: float) -> Evidence:
        """The account's list of tasks (`gateway.ports.evidence.Witness`)."""
        return await read_task_list(self._read_page, since, until)

    async def _read_page(self, number: int) -> answers.VendorAnswer | None:
        request = self._polls.build_request(
            "GET",
            f"{self._base_url}/v1/tasks",
            params={"page": str(number), "page_size": str(PAGE_SIZE)},
        )
        try:
            async with asyncio.timeout(self._timeouts.poll_seconds):
                return await self._send(self._polls, request)
        except (httpx.HTTPError, TimeoutError):
            return None

    async def _send(
        self, client: httpx.AsyncClient, request: httpx.Request
    ) -> answers.VendorAnswer:
        response = await client.send(request, stream=True)
        return await received(response, self._mask, max_bytes=MAX_ANSWER_BYTES)

    async def forget(self, run: Run) -> None:
        """Nothing is kept here."""

    async def aclose(self) -> None:
        await self._submits.aclose()
        await self._polls.aclose()


class _Departure:
    """Tells whether a request has begun to leave, which decides what its failure means.

    A proxy is asked to connect first: that is not the request yet, and carries no order.
    """

    def __init__(self, sure: Sure) -> None:
        self._sure = sure
        self._left = False

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        if event != "http11.send_request_headers.started" or self._left:
            return
        if facts["request"].method != b"CONNECT":
            await self._sure()
            self._left = True

    def broken_off(self, error: Exception) -> SubmitEvent:
        if self._left:
            return AnswerLost(f"no answer: {type(error).__name__}")
        said = f" ({error})" if isinstance(error, httpx.ProxyError) else ""
        return NotNow(f"could not connect: {type(error).__name__}{said}", why=Why.NEVER_SENT)


def _client(
    account: VendorAccount, timeouts: Timeouts, transports: Transports, *, keepalive: int
) -> httpx.AsyncClient:
    limits = httpx.Limits(
        max_connections=account.max_connections,
        max_keepalive_connections=keepalive,
        keepalive_expiry=KEEPALIVE_SECONDS,
    )
    longest_seconds = max(timeouts.submit_seconds, timeouts.poll_seconds)
    timeout = httpx.Timeout(longest_seconds, connect=timeouts.connect_seconds)
    return vendor_client(account, transports(limits), timeout)


def vendor_client(
    account: VendorAccount, transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout
) -> httpx.AsyncClient:
    """What calls the vendor under the organisation's key."""
    return httpx.AsyncClient(
        transport=transport,
        headers={
            "Authorization": f"Bearer {account.api_key}",
            "User-Agent": account.user_agent,
            "Accept": "application/json",
        },
        timeout=timeout,
        follow_redirects=False,  # a redirect would carry the organisation's key elsewhere
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),  # calls share nothing
        trust_env=False,
    )
