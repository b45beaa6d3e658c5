"""The file host: result pictures under temporary links, and uploaded files.

It behaves like the real one where that has bitten clients: it wants a User-Agent of the client's
own, and it refuses a request that carries credentials.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.sandbox.answers import Cut, cut_connection
from gateway.sandbox.drawing import Picture
from gateway.sandbox.files import StoredFile
from gateway.sandbox.magic import without_magic
from gateway.sandbox.state import SandboxState
from gateway.sandbox.studio import Studio
from gateway.sandbox.task import Task

_REFUSED_AGENT = "Python-urllib"
INTERNAL_ADDRESS = "http://169.254.169.254/latest/meta-data/"
_DRIPS = 200
_HUGE_CHUNK = bytes(64 * 1024)
# "Without end" ends here, so that a forgotten client cannot read for ever.
_HUGE_CHUNKS = 64 * 1024
_HTML = "<!doctype html><title>One moment</title><h1>Checking your browser</h1>"
_FOUND = TypeVar("_FOUND", bound=Response)


class FileHost:
    """Routes of result links and of uploaded files."""

    def __init__(self, state: SandboxState, studio: Studio) -> None:
        self._state = state
        self._studio = studio

    def routes(self) -> list[Route]:
        result = "/{account}/images/{year:int}/{month}/{day}/{name}"
        return [
            Route(result, self.result, methods=["GET"]),
            Route("/api/v1/files/download/{file_id}", self.download, methods=["GET"]),
            Route("/{path:path}", self.uploaded, methods=["GET"]),
        ]

    async def result(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        link_name, _, rest = request.path_params["name"].partition("_")
        index = rest.partition(".")[0]
        task = self._state.of_link(link_name)
        if task is None or not index.isdigit() or not self._alive(request, task, int(index)):
            return PlainTextResponse("not found", 404)
        return await self._serve(request, task, int(index))

    async def uploaded(self, request: Request) -> Response:
        path: str = request.path_params["path"]
        if path.startswith(("v1/", "api/")) or "." not in path:
            raise HTTPException(404)
        return self._file(request, self._state.files.by_path(path))

    async def download(self, request: Request) -> Response:
        return self._file(request, self._state.files.by_id(request.path_params["file_id"]))

    def _file(self, request: Request, stored: StoredFile | None) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        if stored is None:
            return PlainTextResponse("not found", 404)
        return self._counted(request, Response(stored.content, media_type=stored.media_type))

    def _refused(self, request: Request) -> Response | None:
        if self._state.links_down:
            return Cut()
        if "authorization" in request.headers:
            return PlainTextResponse("credentials are not accepted here", 400)
        agent = request.headers.get("user-agent", "")
        if not agent or agent.startswith(_REFUSED_AGENT):
            return PlainTextResponse("error code: 1010", 403)
        return None

    def _alive(self, request: Request, task: Task, index: int) -> bool:
        now = self._state.clock()
        lifetime = self._state.options.link_lifetime_seconds
        return (
            task.status(now) == "completed"
            and task.ready_at is not None
            and now < task.ready_at + lifetime
            and index < task.pictures
            and request.url.path == task.link_path(self._state.account, index)
        )

    async def _serve(self, request: Request, task: Task, index: int) -> Response:
        """The picture, or what the task's magic words make of it."""
        self._state.downloads_by_path.add(request.url.path)
        occurrence = task.downloads[index] = task.downloads.get(index, 0) + 1
        magic = task.magic
        dead = magic.status("dead-link", occurrence)
        if dead is not None:
            return PlainTextResponse("not found", dead[0])
        if magic.acts("redirect-link", occurrence):
            return RedirectResponse(INTERNAL_ADDRESS, 302)
        if magic.acts("html-link", occurrence):
            return HTMLResponse(_HTML)
        content = await self._studio.picture(picture_of(task, index, self._state))
        media_type = f"image/{task.wish.output_format}"
        seconds = magic.number("slow-link", occurrence)
        if seconds is not None:
            headers = {"Content-Length": str(len(content))}
            return StreamingResponse(_drip(content, seconds), 200, headers, media_type)
        if magic.acts("huge-link", occurrence):
            return StreamingResponse(_endless(content), media_type=media_type)
        if magic.acts("cut-link", occurrence):
            return HalfThenCut(content, media_type=media_type)
        if magic.acts("truncated-link", occurrence):
            content = content[: len(content) // 2]
        return self._counted(request, Response(content, media_type=media_type))

    def _counted(self, request: Request, answer: _FOUND) -> _FOUND:
        if request.method != "HEAD":
            self._state.bytes_served += len(answer.body)
        return answer


class HalfThenCut(Response):
    """Announces the whole body, sends half of it and cuts the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await cut_connection(scope, receive)


def picture_of(task: Task, index: int, state: SandboxState) -> Picture:
    """What is drawn for picture `index` of a task."""
    wish = task.wish
    return Picture(
        prompt=without_magic(wish.prompt),
        caption=f"{wish.model.serves}  ·  {wish.size}  ·  {wish.quality}",
        index=index,
        count=task.pictures,
        pixels=wish.pixels,
        scale=state.options.picture_scale,
        output_format=wish.output_format,
        seed=f"{state.options.seed}:{task.serial}:{index}",
    )


async def _drip(content: bytes, seconds: float) -> AsyncIterator[bytes]:
    step = max(1, -(-len(content) // _DRIPS))
    for start in range(0, len(content), step):
        yield content[start : start + step]
        await asyncio.sleep(seconds * step / len(content))


async def _endless(content: bytes) -> AsyncIterator[bytes]:
    yield content
    for _ in range(_HUGE_CHUNKS):
        yield _HUGE_CHUNK
