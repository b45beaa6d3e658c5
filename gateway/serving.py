"""Runs an ASGI application on a real socket inside the running event loop.

`serve`, the sandbox, the demo and the tests all serve through this class. It installs no signal
handlers and never exits the process: whoever started it stops it, and stopping takes a bounded
time even while clients hang. It knows nothing about what it serves.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http_protocol import CLOSE, HttpProtocol, asks_first, closing_unless_asked_for

_T = TypeVar("_T")
# Longer than the idle time of usual clients and proxies (60 s), so that it is they who close an
# idle connection: a server that closes first can cut a request that is already on its way.
_KEEP_ALIVE_SECONDS = 75
# How long the lifespan may take to close its resources after the last connection is gone.
_LIFESPAN_SECONDS = 10.0
# How often a stop looks whether the last request has been answered.
_LEAVING_CHECK_SECONDS = 0.01


class InProcessServer:
    """One application on one socket of the current event loop.

    `port=0` picks a free port; `bound_port` and `base_url` tell which, once started.
    """

    def __init__(self, app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.bound_port = port
        self._app = app
        self._stopping = False
        self._lifespan_error: BaseException | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """`http://host:port`; a wildcard host is named by its loopback address."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return (
            f"http://[{host}]:{self.bound_port}"
            if ":" in host
            else f"http://{host}:{self.bound_port}"
        )

    async def start(self) -> None:
        """Binds, runs the lifespan's start and accepts connections when it returns.

        Raises OSError when the address cannot be bound, RuntimeError (caused by the lifespan's
        own exception) when the application does not start.
        """
        if self._serving is not None:
            raise RuntimeError("this server was already started")
        listener = self._bind()
        self._server = _Server(self._config())
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({ready, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            listener.close()
            await self._raise_start_failure(self._serving)

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Stops accepting, waits `grace_seconds` for requests in flight, then cuts the rest.

        Runs the lifespan's end before it returns. Safe to call twice and before `start`.
        """
        if self._server is None or self._serving is None or self._serving.done():
            return
        self._stopping = True
        self._server.exit()
        done, _ = await asyncio.wait({self._serving}, timeout=grace_seconds)
        if not done:
            await self._server.cut_everything()
            done, _ = await asyncio.wait({self._serving}, timeout=_LIFESPAN_SECONDS)
        if not done:
            self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving

    def drain(self) -> None:
        """From now on each answer ends its connection; who comes anew is served as before.

        A balancer that holds connections open so lets go of them before `stop` closes them.
        """
        if self._server is not None:
            self._server.close_behind_answers()

    async def refuse_connections(self) -> None:
        """Closes the listening socket and every connection: new ones are refused by the kernel."""
        if self._server is not None:
            await self._server.stop_listening()

    async def accept_connections(self) -> None:
        """Listens again on the same port after `refuse_connections`."""
        if self._server is not None:
            await self._server.listen_again(self._bind())

    @contextlib.asynccontextmanager
    async def running(self, grace_seconds: float = 5.0) -> AsyncIterator["InProcessServer"]:
        """Serves inside an `async with` block."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop(grace_seconds)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only on sockets that name their protocol; with it, an
        # answer written in two parts waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.bound_port))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self.bound_port = listener.getsockname()[1]
        return listener

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._guarded,
            http=HttpProtocol,
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,  # nobody asks who is behind a proxy: a layer less
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remembers why the lifespan failed, and ends quietly when a stop cuts a request."""
        try:
            if scope["type"] == "http" and asks_first(scope):
                receive, send = closing_unless_asked_for(receive, send)
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except BaseException as error:
            if scope["type"] == "lifespan":
                self._lifespan_error = error
            raise

    async def _raise_start_failure(self, serving: asyncio.Task[None]) -> None:
        try:
            await serving
        except BaseException as error:
            raise RuntimeError("the application did not start") from (self._lifespan_error or error)
        raise RuntimeError("the application stopped while it started") from self._lifespan_error


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Runs `main` in a fresh event loop, uvloop's where it is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop

        factory = new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def catch_stop_signals() -> asyncio.Queue[signal.Signals]:
    """From now on SIGTERM and SIGINT only come into the queue; for commands, which own the process.

    Call it before saying that the command is ready, so that no signal can come too early.
    """
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, came.put_nowait, one)
    return came


class _Server(uvicorn.Server):
    """uvicorn's server without signals, process exits and the tenth-of-a-second tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._exit = asyncio.Event()

    def exit(self) -> None:
        self.should_exit = True
        self._exit.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:
            raise RuntimeError("the application refused to start") from error

    async def main_loop(self) -> None:
        """Refreshes the date header each second until told to exit."""
        while not await self.on_tick(0):
            self.ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the door, waits until everyone has left, and ends the lifespan.

        How long the waiting may last is `InProcessServer.stop`'s decision.
        """
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_LEAVING_CHECK_SECONDS)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()

    def close_behind_answers(self) -> None:
        """Idle connections stay open: a request may be on its way on one of them."""
        self.config.encoded_headers.append(CLOSE)  # the date's refreshing takes them from there
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for connection in self.server_state.connections:
            if isinstance(connection, HttpProtocol):
                connection.close_behind_answer()

    async def cut_everything(self) -> None:
        """Aborts every connection, then cancels the requests that do not notice."""
        await self._abort_connections()
        for task in list(self.server_state.tasks):
            task.cancel()

    async def stop_listening(self) -> None:
        for server in self.servers:
            server.close()
        await self._abort_connections()

    async def listen_again(self, listener: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return HttpProtocol(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        loop = asyncio.get_running_loop()
        self.servers = [await loop.create_server(protocol, sock=listener, backlog=2048)]

    async def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # The loop delivers `connection_lost` in its next rounds; a request that is cancelled
        # before that would be answered 500 and logged as an error.
        for _ in range(3):
            await asyncio.sleep(0)
