"""A stand-in for the admin API on a real loopback socket, for the operator's commands to call.

It answers what a test put there, remembers what came, and does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.cli import main
from gateway.serving import InProcessServer

ADMIN_KEY = "admin-key-of-the-tests"


@dataclass(frozen=True)
class Came:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


@dataclass
class FakeAdmin:
    """Answers by method and path below `/admin/v1/`, or by a whole path, which begins with a slash
    and wants no key; the last of several is repeated."""

    url: str = ""
    answers: dict[tuple[str, str], list[Response]] = field(default_factory=dict)
    came: list[Came] = field(default_factory=list)

    def answer(self, method: str, path: str, *values: object, status: int = 200) -> None:
        """JSON for values, and a whole `Response` as it is."""
        self.answers[method, path] = [
            value
            if isinstance(value, Response)
            else Response(json.dumps(value), status, media_type="application/json")
            for value in values
        ]

    def refuse(self, method: str, path: str, status: int, message: str, code: str = "x") -> None:
        error = {"code": code, "message": message, "type": "invalid_request_error", "param": None}
        self.answer(method, path, {"error": error}, status=status)

    @property
    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._take, methods=methods)])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        raw = request.scope["raw_path"].decode().removeprefix("/admin/v1/")
        query = dict(request.query_params)
        self.came.append(Came(request.method, raw, query, json.loads(body) if body else None))
        keyed = not raw.startswith("/")
        if keyed and request.headers.get("authorization") != f"Bearer {ADMIN_KEY}":
            text = '{"error":{"code":"unauthorized","message":"That is no admin key."}}'
            return Response(text, 401, media_type="application/json")
        if request.headers["accept"] != "application/json":
            return Response("the commands speak JSON", 406)
        answers = self.answers[request.method, raw]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def run(
        self, *words: str, columns: int = 120, key: str | None = ADMIN_KEY, url: str | None = None
    ) -> Result:
        """What a command prints, and how it ends; an exception that it lets through is raised."""
        return run(self.url if url is None else url, *words, columns=columns, key=key)


def run(url: str, *words: str, columns: int = 120, key: str | None = ADMIN_KEY) -> Result:
    environ = {"GATEWAY_URL": url, "GATEWAY_ADMIN_KEY": key, "COLUMNS": str(columns)}
    result = CliRunner().invoke(main, words, env=environ)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def fake_admin() -> Iterator[FakeAdmin]:
    """A fake on a socket, served by a loop of its own: the commands block."""
    fake = FakeAdmin()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = InProcessServer(fake.app)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        fake.url = server.base_url
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(1), loop).result(15)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
