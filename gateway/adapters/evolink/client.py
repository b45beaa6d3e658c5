"""The vendor's API as a client: submits a run, asks after its task.

It owns the organisation's key, and the connections; what the answers mean is read in
`answers.py`. Submitting uses a fresh connection each time: on a kept one the server may hang
up just as the request goes out, and then nobody knows whether it was taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import quote

import httpx2 as httpx
import orjson

from gateway.adapters.evolink import answers
from gateway.adapters.evolink.masking import Mask, masked
from gateway.adapters.evolink.said import code_of
from gateway.core.model import Run
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.ports.calls import Call, CallBroken, LineBounds, VendorLine
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
        lines: Callable[[LineBounds], VendorLine],
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
        self._headers = _headers(account)
        most, connect_seconds = account.max_connections, timeouts.connect_seconds
        self._submits = lines(LineBounds(most, connect_seconds, kept_seconds=None))
        self._polls = lines(LineBounds(most, connect_seconds, kept_seconds=KEEPALIVE_SECONDS))

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        wish = {**orjson.loads(run.request), "model": run.upstream_model}
        if self._callback_url is not None:
            wish["callback_url"] = self._callback_url(run)
        call = Call(
            "POST",
            f"{self._base_url}/v1/images/generations",
            headers={
                **self._headers,
                "Content-Type": "application/json",
                "Idempotency-Key": f"{run.id}-{run.attempts}",
            },
            seconds=self._timeouts.submit_seconds,
            max_bytes=MAX_ANSWER_BYTES,
            body=orjson.dumps(wish),
        )
        try:
            answer = masked(await self._submits.ask(call, sure=sure), self._mask)
        except CallBroken as error:
            if error.left:
                return AnswerLost(f"no answer: {error}")
            return NotNow(f"could not connect: {error}", why=Why.NEVER_SENT)
        if answer.status == PROXY_WANTS_CREDENTIALS:
            return NotNow("the proxy wants other credentials", why=Why.NEVER_SENT)
        prompt = wish.get("prompt")
        return answers.read_submit(
            answer, not_taken=self._not_taken, prompt=prompt if isinstance(prompt, str) else ""
        )

    async def poll(self, upstream_task_id: str) -> PollEvent:
        try:
            answer = await self._read(f"/v1/tasks/{quote(upstream_task_id, safe='')}")
        except CallBroken as error:
            return Unreachable(f"no answer: {error}")
        return answers.read_poll(answer)

    async def credits(self) -> UsedCredits | None:
        try:
            answer = await self._read("/v1/credits")
        except CallBroken:
            return None
        used = answers.read_credits(answer)
        return None if used is None else UsedCredits(self._mark, used)

    async def _read(self, path: str) -> answers.VendorAnswer:
        call = Call(
            "GET",
            f"{self._base_url}{path}",
            headers=self._headers,
            seconds=self._timeouts.poll_seconds,
            max_bytes=MAX_ANSWER_BYTES,
        )
        return masked(await self._polls.ask(call), self._mask)

    async def aclose(self) -> None:
        await self._submits.aclose()
        await self._polls.aclose()


def _headers(account: VendorAccount) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {account.api_key}",
        "User-Agent": account.user_agent,
        "Accept": "application/json",
    }


def vendor_client(
    account: VendorAccount, transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout
) -> httpx.AsyncClient:
    """What calls the vendor under the organisation's key."""
    return httpx.AsyncClient(
        transport=transport,
        headers=_headers(account),
        timeout=timeout,
        follow_redirects=False,  # a redirect would carry the organisation's key elsewhere
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),  # calls share nothing
        trust_env=False,
    )
