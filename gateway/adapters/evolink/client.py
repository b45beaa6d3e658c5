"""The vendor's API as a client: submits a run, asks after its task.

It owns the organisation's key, and the connections; what the answers mean is read in
`answers.py`. Submitting uses a fresh connection each time: on a kept one the server may hang
up just as the request goes out, and then nobody knows whether it was taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from urllib.parse import quote

import orjson

from gateway.adapters.evolink import answers
from gateway.adapters.evolink.task_list import PAGE_SIZE, read_task_list
from gateway.adapters.outbound.masking import Mask, masked
from gateway.adapters.outbound.said import code_of
from gateway.adapters.outbound.vendor import (
    KEEPALIVE_SECONDS,
    MAX_ANSWER_BYTES,
    PROXY_WANTS_CREDENTIALS,
    Timeouts,
    VendorAccount,
    vendor_headers,
)
from gateway.core.model import Run
from gateway.core.reconciling.evidence import Evidence
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.ports.calls import Call, CallBroken, LineBounds, VendorLine
from gateway.ports.upstream import Sure, UsedCredits, nothing_asked


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
        self._headers = vendor_headers(account)
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

    async def recovered(self, run: Run) -> SubmitEvent:
        """What was sent may have been taken: only the vendor knows."""
        return AnswerLost("the gateway was stopped while the request was going out")

    async def poll(self, upstream_task_id: str) -> PollEvent:
        path = f"/v1/tasks/{quote(upstream_task_id, safe='')}"
        try:
            answer = await self._read(path, self._polls)
            if answers.is_anothers(answer, upstream_task_id):
                # Said once too often on a connection that is kept, perhaps: on one of its own it
                # is the answer, whatever it calls the task.
                answer = await self._read(path, self._submits)
        except CallBroken as error:
            return Unreachable(f"no answer: {error}")
        return answers.read_poll(answer)

    async def credits(self) -> UsedCredits | None:
        try:
            answer = await self._read("/v1/credits", self._polls)
        except CallBroken:
            return None
        used = answers.read_credits(answer)
        return None if used is None else UsedCredits(self._mark, used)

    async def evidence(self, since: float, until: float) -> Evidence:
        """The account's list of tasks (`gateway.ports.evidence.Witness`)."""
        return await read_task_list(self._read_page, since, until)

    async def _read_page(self, number: int) -> answers.VendorAnswer | None:
        try:
            return await self._read(f"/v1/tasks?page={number}&page_size={PAGE_SIZE}", self._polls)
        except CallBroken:
            return None

    async def _read(self, path: str, line: VendorLine) -> answers.VendorAnswer:
        call = Call(
            "GET",
            f"{self._base_url}{path}",
            headers=self._headers,
            seconds=self._timeouts.poll_seconds,
            max_bytes=MAX_ANSWER_BYTES,
        )
        return masked(await line.ask(call), self._mask)

    async def forget(self, run: Run) -> None:
        """Nothing is kept here."""

    async def aclose(self) -> None:
        await self._submits.aclose()
        await self._polls.aclose()
