"""The vendor's API as a client: submits a run, asks after its task.

It owns the connections and the organisation's key; what the answers mean is read in
`answers.py`. Submitting uses a fresh connection each time: on a kept one the server may hang
up just as the request goes out, and then nobody knows whether it was taken.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from urllib.parse import quote

import httpx2 as httpx
import orjson

from gateway.adapters.evolink import answers
from gateway.adapters.evolink.task_list import PAGE_SIZE, read_task_list
from gateway.adapters.outbound.masking import Mask, received
from gateway.adapters.outbound.said import code_of
from gateway.adapters.outbound.vendor import (
    MAX_ANSWER_BYTES,
    PROXY_WANTS_CREDENTIALS,
    Departure,
    Timeouts,
    Transports,
    VendorAccount,
    pooled_client,
    straight,
)
from gateway.core.model import Run
from gateway.core.reconciling.evidence import Evidence
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.ports.upstream import Sure, UsedCredits, nothing_asked


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
        self._submits = pooled_client(account, timeouts, transports, keepalive=0)
        self._polls = pooled_client(
            account, timeouts, transports, keepalive=account.max_connections
        )

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        wish = {**orjson.loads(run.request), "model": run.upstream_model}
        if self._callback_url is not None:
            wish["callback_url"] = self._callback_url(run)
        departure = Departure(sure)
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
