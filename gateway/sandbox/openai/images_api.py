"""The two calls that make pictures, at OpenAI's address and at Azure's two.

`_serve` reads as the list of checks that the real service makes, in its order. Whoever waits for
the answer may leave: that ends the waiting and nothing else.
"""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.sandbox.answers import client_gone
from gateway.sandbox.magic import MagicError
from gateway.sandbox.openai.answers import afterwards, answer, at_once
from gateway.sandbox.openai.bodies import read_edit, read_generation
from gateway.sandbox.openai.gate import AZURE, AZURE_V1, OPENAI, model_of, require_key, style_of
from gateway.sandbox.openai.refusals import FAILURES, RefusedError, invalid
from gateway.sandbox.openai.state import Call, OpenAIState
from gateway.sandbox.openai.streams import EventStream
from gateway.sandbox.openai.tokens import worth
from gateway.sandbox.openai.wishes import Wish, read_wish
from gateway.sandbox.openai.workshop import Made, Work, Workshop


class ImagesApi:
    """Routes that cost money."""

    def __init__(self, state: OpenAIState, workshop: Workshop) -> None:
        self._state = state
        self._workshop = workshop

    def routes(self) -> list[Route]:
        calls = {"generations": self.generate, "edits": self.edit}
        return [
            Route(f"{base}/images/{name}", call, methods=["POST"])
            for base in (OPENAI, AZURE_V1, AZURE)
            for name, call in calls.items()
        ]

    async def generate(self, request: Request) -> Response:
        """POST .../images/generations."""
        return await self._serve(request, is_edit=False)

    async def edit(self, request: Request) -> Response:
        """POST .../images/edits."""
        return await self._serve(request, is_edit=True)

    async def _serve(self, request: Request, *, is_edit: bool) -> Response:
        style = style_of(request.url.path)
        key = require_key(request, self._state, style)
        options = self._state.options
        try:
            if is_edit:
                sheet = await read_edit(request, self._state.links, style, options)
            else:
                sheet = await read_generation(request, options)
        except ClientDisconnect:
            return _Nothing()
        model = model_of(request, sheet.fields, self._state, style)
        wish = read_wish(sheet, model, style, compatible=options.compatible)
        call = self._let_in(request, key, wish)
        early = at_once(call)
        if early is not None:
            return early
        work = self._workshop.begin(call)
        if wish.partials is not None and not _is_answered_whole(call):
            return EventStream(call, work, self._workshop, self._state)
        made = await _waited_for(work, request)
        if made is None:
            return _Nothing()
        return afterwards(call) or answer(call, made, self._state)

    def _let_in(self, request: Request, key: str, wish: Wish) -> Call:
        """Counts a call that is in order. Raises RefusedError."""
        if wish.model.name in self._state.options.unverified_models:
            raise RefusedError(FAILURES["unverified"])
        credit = self._state.options.credit_usd_micros
        if credit is not None and self._state.bill.of(key).usd_micros >= credit:
            raise RefusedError(FAILURES["credit_balance_exhausted"])
        wanted = {
            "requests": 1,
            "tokens": worth(wish, wish.n).total,
            "images": wish.n,
            "input-images": len(wish.references),
        }
        self._state.pace.take(key, wanted)
        try:
            return self._state.call(key, request.scope["sandbox_request_id"], wish)
        except MagicError as error:
            raise invalid("prompt", "invalid_value", str(error)) from error


class _Nothing(Response):
    """No answer, for there is nobody to take it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


def _is_answered_whole(call: Call) -> bool:
    """Whether even a stream never begins, since something else than events is asked for."""
    return call.acts("late-http") or call.acts("drop") or call.acts("hang")


async def _waited_for(work: Work, request: Request) -> Made | None:
    """What was made; None when the client went away before. The work goes on in any case."""
    gone = asyncio.create_task(client_gone(request.receive))
    try:
        await asyncio.wait({work.making, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    return work.making.result() if work.making.done() else None
