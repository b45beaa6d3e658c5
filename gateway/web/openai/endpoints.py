"""The OpenAI Images API, synchronous, for OpenAI's own clients at the base URL `/openai/v1`.

One more way in: the order, its admission, its run and its pictures are those of our own API;
here an order is only taken in OpenAI's words, waited for, and answered in them.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.catalog import Team
from gateway.core.model import Freshness, Picture, Run, RunState
from gateway.core.orders.estimate import models_of
from gateway.core.orders.receipt import receipt
from gateway.core.orders.replies import outcome_unknown
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current
from gateway.errors import GatewayError, NotCached, NotFound, RateLimited, Unavailable
from gateway.ports.pictures import Pictures
from gateway.services.orders import Answer, Orders, Sent
from gateway.services.tasks import Tasks
from gateway.web import chapters
from gateway.web.body import Bodies
from gateway.web.edge import REQUEST_ID, add_upstream_seconds
from gateway.web.evolink import wire
from gateway.web.evolink.images import (
    ORDER_ERRORS,
    N,
    decision_headers,
    freshness_of,
    read_key,
)
from gateway.web.evolink.prefer import while_connected
from gateway.web.openai import errors
from gateway.web.openai import wire as openai_wire
from gateway.web.openai.answers import PicturesAnswer, Source
from gateway.web.openai.edits import Edits
from gateway.web.openai.errors import ModelNotFound, StillRunning, StillRunningAlone
from gateway.web.openai.wire import Wish
from gateway.web.operation import Operation
from gateway.web.receipts import RECEIPT, tell
from gateway.web.schema import FILE, INTEGER, OBJECT, STRING, Component, listed, open_object

PREFIX: Final = "/openai/"

CROWDED_SECONDS: Final = 10.0
"""About what a picture takes: then one of those that wait has ended."""

AWAY_SECONDS: Final = 5.0
"""The pictures are paid and kept: the same order finds them when their store is back."""


RETRY_COUNT: Final = "x-stainless-retry-count"
"""OpenAI's SDKs number their own tries of one call by it, from 0."""

_TRIES: Final = re.compile(r"[1-9][0-9]?")

TRY_SECONDS: Final = 660.0
"""An SDK waits ten minutes for an answer, and at most one more before it tries again."""


_IMAGE: Final = open_object({"b64_json": STRING, "url": STRING})
IMAGES: Final = Component(
    "Images",
    open_object(
        {"created": INTEGER, "data": listed(_IMAGE), "usage": OBJECT},
        ["created", "data"],
        text="As OpenAI's Images API answers.",
    ),
)
_WISH: Final = {
    "model": STRING,
    "prompt": STRING,
    "n": N,
    "size": STRING,
    "quality": STRING,
    "response_format": {**STRING, "enum": ["b64_json", "url"]},
}
_PICTURES: Final = {
    "image": listed(FILE, minItems=1, maxItems=openai_wire.MAX_PICTURES),
    "mask": FILE,
}
GENERATION: Final = open_object(_WISH, ["model", "prompt"])
EDIT: Final = Component("Edit", open_object({**_WISH, **_PICTURES}, ["model", "prompt", "image"]))


@dataclass(frozen=True, slots=True)
class Readers:
    """What reads the requests: JSON, and the forms of edits."""

    bodies: Bodies
    edits: Edits


class OpenAI:
    """The endpoints."""

    def __init__(
        self,
        service: Orders,
        tasks: Tasks,
        current: Current,
        readers: Readers,
        *,
        pictures: Pictures,
    ) -> None:
        self._service = service
        self._tasks = tasks
        self._current = current
        self._readers = readers
        self._pictures = pictures

    @Operation(
        "POST /openai/v1/images/generations",
        chapters.OPENAI,
        "Generate, synchronously",
        "For the unmodified OpenAI SDKs: set their base URL to `/openai/v1`.",
        body=GENERATION,
        answer=IMAGES,
        answer_headers=RECEIPT,
        errors=ORDER_ERRORS,
    )
    async def generate(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        with self._service.reading(team, self._sent(request)):
            fields = await self._readers.bodies.read_json(
                request, policy.body_limit_bytes, team.name
            )
            wish = openai_wire.read_wish(fields, policy.catalog, team)
        return await self._made(request, team, wish, began=time.perf_counter())

    @Operation(
        "POST /openai/v1/images/edits",
        chapters.OPENAI,
        "Edit pictures, synchronously",
        form=EDIT,
        answer=IMAGES,
        answer_headers=RECEIPT,
        errors=ORDER_ERRORS,
    )
    async def edit(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        began = time.perf_counter()
        with self._service.reading(team, self._sent(request)):
            wish = await self._readers.edits.wish(request, team, policy)
        try:
            return await self._made(request, team, wish, began=began)
        except GatewayError as error:
            raise errors.of_an_edit(error) from None

    @Operation(
        "GET /openai/v1/models",
        chapters.OPENAI,
        "The models that the team may use",
        answer=open_object({"data": listed(OBJECT)}, ["data"]),
    )
    async def models(self, _: Request, team: Team) -> Response:
        policy = self._current.policy
        listed = openai_wire.model_list(models_of(team, policy), policy.catalog.aliases)
        return _json(orjson.dumps(listed))

    @Operation(
        "GET /openai/v1/models/{model}",
        chapters.OPENAI,
        "One model",
        path_words={"model": "Its name or an alias."},
        answer=OBJECT,
        errors=(NotFound,),
    )
    async def model(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        asked = request.path_params["model"]
        found = policy.catalog.find(asked)
        if found is None or found not in models_of(team, policy):
            raise ModelNotFound(f"There is no model '{asked[:64]}' for this team.", param="model")
        return _json(orjson.dumps(openai_wire.model_object(found.name)))

    async def _made(self, request: Request, team: Team, wish: Wish, *, began: float) -> Response:
        """Orders the wish, waits for the pictures and answers with them."""
        sent = self._sent(request)
        with self._service.reading(team, sent):
            freshness, key = self._freshness(request), read_key(request)
        sent = replace(sent, key=key)
        answer = await self._ordered(team, wish, freshness, sent)
        add_upstream_seconds(request, answer.upstream_seconds)
        run = answer.task.run
        if not run.is_final:
            left = self._current.policy.openai_wait_seconds - (time.perf_counter() - began)
            async with while_connected(request):
                run = (await self._tasks.ended(answer.task, left)).run
        sent.told(receipt(answer.decision, run))
        made = await self._answer(team, run, wish, answer.freshness, key)
        made.headers.update(decision_headers(answer))
        return made

    def _sent(self, request: Request) -> Sent:
        return Sent(
            lambda told: tell(request, told, self._current.clock()), request.scope[REQUEST_ID]
        )

    async def _ordered(self, team: Team, wish: Wish, freshness: Freshness, sent: Sent) -> Answer:
        """The order taken; where it could not be waited for, only if its pictures are there.

        Raises what `submit` raises, or `RateLimited`, before any money moves.
        """
        may_wait = self._tasks.may_wait(team.name)
        asked = freshness if may_wait else replace(freshness, only_if_cached=True)
        try:
            return await self._service.submit(team, wish.body, asked, sent)
        except NotCached:
            if may_wait or freshness.only_if_cached:
                raise
            raise RateLimited(
                "Too many requests of this team wait for their pictures; this one was not taken. "
                "Send it again when some of them have ended.",
                retry_after_seconds=CROWDED_SECONDS,
            ) from None

    @staticmethod
    def _freshness(request: Request) -> Freshness:
        """What is asked of the cache. What the first of an SDK's own tries has begun, or got since,
        is as fresh as it wished: the next one passes the cache by no more, and pays no second time.
        """
        asked = freshness_of(request)
        tries = request.headers.get(RETRY_COUNT, "")
        asks_anew = asked.no_cache or asked.max_age_seconds is not None
        if not asks_anew or not _TRIES.fullmatch(tries):
            return asked
        age = max(asked.max_age_seconds or 0.0, int(tries) * TRY_SECONDS)
        return replace(asked, no_cache=False, max_age_seconds=age)

    async def _answer(
        self, team: Team, run: Run, wish: Wish, freshness: Freshness, key: str | None
    ) -> Response:
        """What became of the run, in OpenAI's words. Raises what is no picture."""
        if run.failure is not None:
            raise errors.failure_error(run.failure, charged=bool(run.spent.usd_micros))
        if run.state is RunState.UNSURE:
            raise outcome_unknown(run, team)
        if run.state is not RunState.DONE:
            wait = self._tasks.come_again_seconds(team.name)
            raise _still_running(freshness, key, wait)
        if wish.as_links:
            return _json(openai_wire.links_body(run, self._current.policy.public_url))
        return await self._with_bytes(run, openai_wire.pictures_head(openai_wire.facts(run)))

    async def _with_bytes(self, run: Run, head: bytes) -> Response:
        """Raises before anything is sent when one of the pictures cannot be had."""
        try:
            files = [(picture, await self._source(picture)) for picture in run.pictures]
        except PictureProblem:
            message = "The pictures are kept and cannot be read just now; send the order again."
            raise Unavailable(message, retry_after_seconds=AWAY_SECONDS) from None
        return PicturesAnswer(head, files)

    async def _source(self, picture: Picture) -> Source:
        found = await self._pictures.find(picture.name)
        if found is None:
            raise GatewayError("A picture of this answer was erased meanwhile.")
        return found.path or partial(self._pictures.read, picture.name)


def _still_running(
    freshness: Freshness, key: str | None, wait_seconds: float | None
) -> StillRunning:
    """How the pictures may be had yet, which an order that passed the cache by has to be told."""
    made = "The pictures are still being made, and will be kept."
    if freshness.no_store and key is None:
        return StillRunningAlone(
            f"{made} No other request joins what was ordered with 'no-store', so that this one "
            "would be paid again; with an Idempotency-Key it would not.",
            retry_after_seconds=wait_seconds,
        )
    passed_by = freshness.no_cache and key is None
    again = "again without 'Cache-Control: no-cache'" if passed_by else "again"
    return StillRunning(
        f"{made} Send the identical request {again} while they are: it joins them and costs "
        "nothing.",
        retry_after_seconds=wait_seconds,
    )


def is_meant(request: Request) -> bool:
    """Whether a client of OpenAI's is looking for its endpoints elsewhere."""
    return request.url.path.endswith(("/images/generations", "/images/edits"))


def is_openai(path: str) -> bool:
    """Whether errors on this path are told in OpenAI's shape."""
    return path.startswith(PREFIX)


def error_answer(error: GatewayError, public_url: str) -> Response:
    shown = errors.as_openai(error)
    return Response(
        errors.error_body(shown, public_url),
        status_code=shown.status,
        headers={**wire.error_headers(shown), **errors.error_headers(shown)},
        media_type="application/json",
    )


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
