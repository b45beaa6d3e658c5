"""The API as a client: one call is the whole work, sent once, on a connection of its own.

Before it leaves, everything is ready that can be: the references are here, and so is the file that
takes the answer. Afterwards nothing is sent again, whatever comes of it. What the answer means is
read in `answers`, where it lies in `spool`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx2 as httpx
import orjson

from gateway.adapters.openai_images.answers import SLOW_SECONDS, Heard, read_refusal
from gateway.adapters.openai_images.asked import (
    LINK,
    OPENAI,
    REQUIRED,
    OpenAIDialect,
    WireOrder,
    address,
    as_json,
    wished,
)
from gateway.adapters.openai_images.delivered import delivered, recovered
from gateway.adapters.openai_images.multipart import FilePart, UploadForm
from gateway.adapters.openai_images.spool import (
    BLOCK_BYTES,
    AnswerSpool,
    Arriving,
    in_thread,
    name_of,
)
from gateway.adapters.openai_images.uploads import NoReference, ReferenceUploads
from gateway.adapters.outbound.masking import Mask, received, used_headers
from gateway.adapters.outbound.said import VendorAnswer
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
from gateway.core.kinds import Rates
from gateway.core.model import Run
from gateway.core.runs.events import (
    AnswerLost,
    NotNow,
    PollEvent,
    SubmitEvent,
    Unreachable,
    Why,
)
from gateway.ports.outbound import Links
from gateway.ports.upstream import Sure, UsedCredits, nothing_asked

USUAL_PICTURE_BYTES: Final = 12 * 1024 * 1024
"""Of a large picture as it is written out: so much room is set aside for each beforehand."""

MORE_THAN_PICTURES: Final = 1024 * 1024
"""What an answer may have besides its pictures."""

LAST_SECONDS: Final = 1.0
"""When its time is over, for taking in what waits on the line: this process may have stood still.
"""


@dataclass(frozen=True, slots=True)
class OpenAIClientDeps:
    """`references` gives what fetches the links of a team, `rates` what tokens cost on the route of
    a run, `picture_limit_bytes` how large a picture may be as the settings are now. A failure that
    came after `slow_seconds` may be charged."""

    spool: AnswerSpool
    references: Callable[[str], Links]
    rates: Callable[[Run], Rates | None]
    picture_limit_bytes: Callable[[], int]
    transports: Transports = straight
    dialect: OpenAIDialect = field(default_factory=OpenAIDialect)
    slow_seconds: float = SLOW_SECONDS
    headers: Mapping[str, str] = field(default_factory=dict)
    """More that goes with every call, such as `OpenAI-Organization`."""


class OpenAIClient:
    """One vendor account (`gateway.ports.upstream.Upstream`)."""

    def __init__(
        self, account: VendorAccount, timeouts: Timeouts, *, deps: OpenAIClientDeps
    ) -> None:
        self._base_url = account.base_url
        self._timeouts = timeouts
        self._deps = deps
        self._dialect = deps.dialect
        self._spool = deps.spool
        self._mask = Mask(account.api_key)
        # A kept connection may be closed just as the request goes out, and then nobody knows.
        self._http = pooled_client(account, timeouts, deps.transports, keepalive=0)
        self._http.headers.update(deps.headers)
        # The one clock of a call is its own: another would end what that one has yet to take in.
        self._http.timeout = httpx.Timeout(None, connect=timeouts.connect_seconds)

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        wish = wished(run, self._dialect)
        if isinstance(wish, str):
            return NotNow(wish, why=Why.MISFIT, its_own=True)
        call = _Call(sure, self._rates(run))
        arriving = self._spool.arriving(run)
        try:
            async with call.within(self._timeouts.submit_seconds):
                await in_thread(partial(arriving.begin, self._room(run)))
                files = await self._files(run, wish)
                if (problem := self._unfit(files)) is not None:
                    return NotNow(problem, why=Why.MISFIT, its_own=True)
                return await self._called(run, self._request(wish, files, call), call, arriving)
        except NoReference as problem:
            return problem.refusal()
        except (httpx.HTTPError, TimeoutError) as error:
            return call.departure.broken_off(error)
        except OSError as error:
            return _disk_refused(call, error)
        finally:
            await asyncio.shield(self._let_go(run, arriving))

    async def recovered(self, run: Run) -> SubmitEvent:
        return await recovered(self._spool, run, self._mask, self._rates(run))

    async def poll(self, upstream_task_id: str) -> PollEvent:
        return Unreachable("this kind of upstream has no tasks", gone=True)

    async def credits(self) -> UsedCredits | None:
        return None

    async def forget(self, run: Run) -> None:
        try:
            await self._spool.remove(run.id)
        except OSError:
            return  # the sweep comes by again

    async def aclose(self) -> None:
        await self._http.aclose()

    # --- before it leaves ------------------------------------------------------------------------

    def _rates(self, run: Run) -> Rates | None:
        """What tokens cost on its route; None where its upstream does not count them."""
        return self._deps.rates(run) if self._dialect.usage == REQUIRED else None

    def _room(self, run: Run) -> int:
        return run.n * min(USUAL_PICTURE_BYTES, _as_base64(self._deps.picture_limit_bytes()))

    async def _files(self, run: Run, wish: WireOrder) -> Sequence[FilePart]:
        if self._dialect.references == LINK or not wish.places:
            return ()
        uploads = ReferenceUploads(self._spool, self._deps.references(run.team), run)
        return await uploads.fetched(wish.places, self._dialect.image_field)

    def _unfit(self, files: Sequence[FilePart]) -> str | None:
        azure = self._dialect.style != OPENAI
        webp = azure and any(one.media_type == "image/webp" for one in files)
        return "image_urls: Azure takes no webp" if webp else None

    def _request(self, wish: WireOrder, files: Sequence[FilePart], call: _Call) -> httpx.Request:
        form = UploadForm(wish.fields, files) if files else None
        headers = {
            "Content-Type": form.media_type if form else "application/json",
            "Accept-Encoding": "identity",  # base64 of pictures hardly becomes smaller
        }
        if form is not None:
            headers["Content-Length"] = str(form.length)
        return self._http.build_request(
            "POST",
            address(self._base_url, wish, self._dialect),
            content=form.stream() if form else as_json(wish),
            headers=headers,
            extensions={"trace": call.note},
        )

    # --- the call --------------------------------------------------------------------------------

    async def _called(
        self, run: Run, request: httpx.Request, call: _Call, arriving: Arriving
    ) -> SubmitEvent:
        response = await self._http.send(request, stream=True)
        try:
            if 200 <= response.status_code < 300:
                return await self._taken_in(run, response, call, arriving)
            answer = await received(response, self._mask, max_bytes=MAX_ANSWER_BYTES)
        finally:
            await response.aclose()
        if answer.status == PROXY_WANTS_CREDENTIALS:
            return NotNow("the proxy wants other credentials", why=Why.NEVER_SENT)
        return self._heard(run, answer, call.seconds())

    async def _taken_in(
        self, run: Run, response: httpx.Response, call: _Call, arriving: Arriving
    ) -> SubmitEvent:
        """The answer is on the disk before anything is said of it."""
        most = run.n * _as_base64(self._deps.picture_limit_bytes()) + MORE_THAN_PICTURES
        headers = used_headers(response.headers, self._mask)
        await in_thread(partial(arriving.head, response.status_code, headers, call.rates))
        size, batch, body = 0, bytearray(), _Body(response)
        async for chunk in body.pieces():
            size += len(chunk)
            if size > most:
                return AnswerLost(f"the answer has more than {most} bytes", heard=True)
            batch += chunk
            if len(batch) >= BLOCK_BYTES:
                await in_thread(partial(arriving.write, batch))
                batch = bytearray()
        call.has_arrived()
        await in_thread(partial(arriving.write, batch))
        seconds = call.seconds()
        await asyncio.shield(in_thread(arriving.finish))
        spooled = await self._spool.read(name_of(run), self._mask)
        if spooled is None:
            return AnswerLost("the answer has gone from the spool", heard=True)
        if found := delivered(run, spooled, call.rates):
            return found
        await self.forget(run)  # nothing in it will ever be a picture
        if body.broken_off is not None:
            raise body.broken_off
        if spooled.answer is None:
            return AnswerLost(f"the answer cannot be read: {spooled.trouble}", heard=True)
        said = json.dumps(spooled.answer.said).encode()
        answer = VendorAnswer(spooled.status, said, spooled.headers)
        return self._heard(run, answer, seconds)

    def _heard(self, run: Run, answer: VendorAnswer, seconds: float) -> SubmitEvent:
        prompt = str(orjson.loads(run.request).get("prompt") or "")
        return read_refusal(Heard(answer, seconds >= self._deps.slow_seconds, prompt))

    async def _let_go(self, run: Run, arriving: Arriving) -> None:
        """What is not whole is of no use, and the references have gone up or will not."""
        await in_thread(arriving.discard)
        try:
            await self._spool.remove_references(run)
        except OSError:
            return  # the sweep comes by again


class _Body:
    """An answer's body as far as it comes. What was `broken_off` may be whole all the same, when
    only its last chunk, or bytes that there never were, did not come."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.broken_off: httpx.HTTPError | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            self.broken_off = error


_SENDING: Final = frozenset(
    {"http11.send_request_headers.complete", "http11.send_request_body.complete"}
)


class _Call:
    """One call: whether it has left, and how long ago all of it had, or as much as was taken.

    It is settled at the `rates` of when it began, whatever a reload does to its route meanwhile.
    """

    def __init__(self, sure: Sure, rates: Rates | None) -> None:
        self.departure = Departure(sure)
        self.rates = rates
        self._sent_at = 0.0
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Raises `TimeoutError` when the block lasts longer and the answer has not arrived."""
        loop = asyncio.get_running_loop()
        async with self._limit:
            self._timer = loop.call_later(seconds, self._is_over, loop)
            try:
                yield
            finally:
                self._timer.cancel()

    def _is_over(self, loop: asyncio.AbstractEventLoop) -> None:
        more = LAST_SECONDS if self.departure.has_left else 0.0
        self._limit.reschedule(loop.time() + more)

    def has_arrived(self) -> None:
        """All of the answer is here: no time that passes now takes it away again."""
        if self._timer is not None:
            self._timer.cancel()
            self._limit.reschedule(None)

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        await self.departure.note(event, facts)
        if event in _SENDING:
            self._sent_at = asyncio.get_running_loop().time()

    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._sent_at


def _disk_refused(call: _Call, error: OSError) -> SubmitEvent:
    if call.departure.has_left:
        return AnswerLost(f"the disk did not take the answer: {error}", heard=True)
    return NotNow(f"there is no room for the answer: {error}", why=Why.NEVER_SENT)


def _as_base64(size_bytes: int) -> int:
    return -(-size_bytes // 3) * 4
