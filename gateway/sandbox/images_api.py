"""The image API: submits, polls, the task list, models and credits.

Each route reads as the list of checks that the real service makes, in its order.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox.answers import Cut, RefusedError, Silence, garbage, json_answer
from gateway.sandbox.callbacks import CallbackError, Callbacks, check_callback_url
from gateway.sandbox.gate import require_key
from gateway.sandbox.magic import Magic, MagicError
from gateway.sandbox.models import Model, Wish, WishError, read_wish, with_names
from gateway.sandbox.state import OutOfCreditsError, OverloadedError, SandboxState
from gateway.sandbox.task import ID_PREFIX, Task, accepted_json, listed_json, plain, task_json

# A submit holds a prompt and some URLs; a megabyte is far beyond any real one.
_MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_BATCH = _MAX_PAGE_SIZE = 50
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")


class ImagesApi:
    """Routes under /v1."""

    def __init__(self, state: SandboxState, callbacks: Callbacks) -> None:
        self._state = state
        self._callbacks = callbacks
        self._models = with_names(sorted(state.options.more_models))

    def routes(self) -> list[Route]:
        return [
            Route("/v1/images/generations", self.submit, methods=["POST"]),
            Route("/v1/tasks/batch", self.batch, methods=["POST"]),
            Route("/v1/tasks/{task_id}", self.poll, methods=["GET"]),
            Route("/v1/tasks", self.list_tasks, methods=["GET"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/credits", self.credits, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """POST /v1/images/generations: the pending task, HTTP 200."""
        require_key(request, self._state)
        if self._state.too_many_submits():
            raise RefusedError(429)
        body = await read_object(request)
        model = self._model(body)
        magic, occurrence = self._magic(body.get("prompt"))
        old_shape = magic.acts("integer-code")
        wish = self._wish(body, model, old_shape)
        key, digest = _idempotency(request, body)
        first = self._state.first_of(key, digest) if key else None
        if first is False:
            raise RefusedError(409, param="Idempotency-Key", old_shape=old_shape)
        if isinstance(first, Task):
            return self._answer(first, request, {"Idempotency-Replayed": "true"})
        status = magic.status("http", occurrence)
        if magic.acts("elsewhere", occurrence):
            status = (503, None)
        if status is not None:
            raise RefusedError(status[0], code=status[1], old_shape=old_shape)
        task = self._accept(wish, magic)
        if key:
            self._state.remember_key(key, digest, task)
        base_url = str(request.base_url)
        self._callbacks.plan(task, lambda: self._task_json(task, base_url))
        return self._broken(magic, occurrence) or json_answer(accepted_json(task))

    async def poll(self, request: Request) -> Response:
        """GET /v1/tasks/{id}: the task object as it stands; 200 for failed tasks too."""
        require_key(request, self._state, of_task=True)
        task_id = request.path_params["task_id"]
        if not task_id.startswith(ID_PREFIX):
            message = f"Invalid task id: it must start with {ID_PREFIX}"
            raise RefusedError(400, code="invalid_task_id", message=message, param="task_id")
        task = self._state.poll(task_id)
        if task is None:
            raise RefusedError(404, of_task=True)
        magic = task.magic
        status = magic.status("poll-http", task.polls)
        if status is not None:
            old_shape = magic.acts("integer-code")
            raise RefusedError(status[0], code=status[1], of_task=True, old_shape=old_shape)
        broken = self._broken(magic, task.polls, prefix="poll-")
        return broken or self._answer(task, request)

    async def batch(self, request: Request) -> Response:
        """POST /v1/tasks/batch: the known ones among up to 50 ids."""
        require_key(request, self._state, of_task=True)
        ids = (await read_object(request)).get("task_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= _MAX_BATCH:
            message = f"task_ids must hold 1 to {_MAX_BATCH} task ids"
            raise RefusedError(400, message=message, param="task_ids")
        found = [self._state.poll(task_id) for task_id in ids if isinstance(task_id, str)]
        base_url = str(request.base_url)
        return json_answer({"data": [self._task_json(task, base_url) for task in found if task]})

    async def list_tasks(self, request: Request) -> Response:
        """GET /v1/tasks: newest first, filtered by status, type and model."""
        require_key(request, self._state, of_task=True)
        query = request.query_params
        now = self._state.clock()
        rows = [
            task
            for task in self._state.newest_first()
            if query.get("status") in (None, "", task.status(now))
            and query.get("model") in (None, "", task.wish.model.serves)
            and query.get("type") in (None, "", "image")
        ]
        page = _whole(query.get("page"), 1, 1_000_000)
        size = _whole(query.get("page_size"), 20, _MAX_PAGE_SIZE)
        shown = rows[(page - 1) * size : page * size]
        data = [listed_json(task, now) for task in shown]
        return json_answer({"data": data, "page": page, "page_size": size, "total": len(rows)})

    async def models(self, request: Request) -> Response:
        """GET /v1/models: those that this key may use."""
        require_key(request, self._state)
        allowed = [name for name in self._models if name not in self._state.options.denied_models]
        data = [{"id": name, "object": "model", "owned_by": "evolink"} for name in allowed]
        return json_answer({"data": data, "object": "list"})

    async def credits(self, request: Request) -> Response:
        """GET /v1/credits: what is left; reservations are already taken off."""
        require_key(request, self._state)
        left = plain(round(self._state.credits_left, 4))
        used = plain(round(self._state.credits_used, 4))
        user = {"remaining_credits": left, "used_credits": used}
        data = {"token": user | {"unlimited_credits": False}, "user": user}
        return json_answer({"data": data, "message": "", "success": True})

    def _model(self, body: Mapping[str, Any]) -> Model:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, message="model is required", param="model")
        if name in self._state.options.denied_models:
            raise RefusedError(403, message=f"Token does not have access to model: {name}")
        if name not in self._models:
            raise RefusedError(
                404, message=f"Model not found: {name}", param="model", old_shape=True
            )
        return self._models[name]

    def _magic(self, prompt: object) -> tuple[Magic, int]:
        try:
            return self._state.read_submit(prompt if isinstance(prompt, str) else "")
        except MagicError as error:
            raise RefusedError(400, message=str(error), param="prompt") from error

    def _wish(self, body: Mapping[str, Any], model: Model, old_shape: bool) -> Wish:
        try:
            wish = read_wish(body, model)
            if wish.callback_url is not None:
                check_callback_url(wish.callback_url, self._state.options)
        except WishError as error:
            message = f"Invalid request parameters: {error}"
            raise RefusedError(
                400, message=message, param=error.param, old_shape=old_shape
            ) from error
        except CallbackError as error:
            raise RefusedError(
                400, message=str(error), param="callback_url", old_shape=old_shape
            ) from error
        return wish

    def _accept(self, wish: Wish, magic: Magic) -> Task:
        try:
            return self._state.accept(wish, magic)
        except OutOfCreditsError as error:
            raise RefusedError(402, old_shape=magic.acts("integer-code")) from error
        except OverloadedError as error:
            raise RefusedError(503, old_shape=magic.acts("integer-code")) from error

    def _broken(self, magic: Magic, occurrence: int, *, prefix: str = "") -> Response | None:
        """The broken answer that the magic words ask for, if any."""
        if magic.acts(prefix + "hang", occurrence):
            return Silence()
        if magic.acts(prefix + "drop", occurrence):
            return Cut()
        return garbage() if magic.acts(prefix + "garbage", occurrence) else None

    def _answer(
        self, task: Task, request: Request, headers: dict[str, str] | None = None
    ) -> Response:
        return json_answer(self._task_json(task, str(request.base_url)), headers=headers)

    def _task_json(self, task: Task, base_url: str) -> dict[str, Any]:
        return task_json(task, self._state.clock(), self._state.links(task, base_url))


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises RefusedError 400 or 413."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise RefusedError(413)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, message="Request body is not valid JSON") from error
    if not isinstance(content, dict):
        raise RefusedError(400, message="Request body must be a JSON object")
    return content


def _idempotency(request: Request, body: Mapping[str, Any]) -> tuple[str | None, str]:
    """(the idempotency key or None, digest of the body). The key counts per bearer key."""
    written = request.headers.get("idempotency-key")
    if written is None:
        return None, ""
    if not _IDEMPOTENCY_KEY.fullmatch(written):
        message = "Idempotency-Key must be 16 to 96 characters of A-Z a-z 0-9 . _ -"
        raise RefusedError(400, message=message, param="Idempotency-Key")
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{request.headers['authorization']} {written}", digest


def _whole(text: str | None, usual: int, most: int) -> int:
    return min(max(int(text), 1), most) if text is not None and text.isdecimal() else usual
