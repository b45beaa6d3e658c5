"""One HTTP connection: uvicorn's protocol, with what a server that strangers reach needs more.

It bounds a client's time and bytes, takes no offer to change the protocol, hears a client out
whose request was answered early, and lets an application cut the connection. It knows nothing of
sockets, of the server's life and of what is served.
"""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from weakref import ref

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

ABORT_EXTENSION = "connection.abort"
"""`scope["extensions"][ABORT_EXTENSION]["abort"]()` cuts the connection without an answer."""


CAME_EXTENSION = "body.came"
"""`scope["extensions"][CAME_EXTENSION]["body"](most)` is the whole body where it is here already
and has no more bytes than so many; it is received then. None: it is to be received as ever."""

CLOSE: Final = (b"connection", b"close")
"""The header that says: nothing is read behind this answer."""

_SPECIAL: Final = frozenset({b"connection", b"transfer-encoding"})

# A client that needs longer for a request's head, or for the whole of it, is not going to finish.
# An application bounds the time for a body itself and answers; this ends what drips on after that.
HEAD_SECONDS = 20.0
REQUEST_SECONDS = 90.0
# Head, trailers and chunk sizes: many times what clients and proxies send. Without a bound a
# stranger could fill the memory, since they are held until they are complete.
BESIDE_BODY_BYTES = 256 * 1024
# Requests that wait for the answer to one before them. Each is held parsed, at 200 times its bytes:
# ten connections with one packet of them each took half a gigabyte. Hardly a client sends two.
PIPELINED_REQUESTS = 500
# After an answer that came before the end of its request: how long and how much more is read and
# thrown away, so that a client that sends everything before it reads still finds the answer there.
LINGER_SECONDS = 30.0
LINGER_BYTES = 64 * 1024 * 1024


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a handle in the scope that cuts the connection.

    It also cuts whoever takes too long to send a request, or sends too much beside its body, takes
    no offer to change the protocol, and hears a client out whose request was answered early.
    """

    _beside_body_bytes = 0
    _discarded_bytes = 0
    _patience: asyncio.TimerHandle | None = None
    _patience_seconds: float | None = None
    _is_fed = False
    _answers: "_AnswerTransport"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = _AnswerTransport(transport, self._close)
        self._wait_for_client(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._beside_body_bytes += len(data)
        rest: bytes | None = data
        self._is_fed = True
        while rest is not None:
            rest = self._parse(rest)
        self._is_fed = False
        if self._patience_seconds is not None:
            self._wait_for_client(self._patience_seconds)
        if self._beside_body_bytes > BESIDE_BODY_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED_REQUESTS:
            self.transport.abort()
        if self.transport.is_closing():
            raise ConnectionAbortedError  # the parser hands on no more of this packet
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: {"abort": self.transport.abort}}
        self._beside_body_bytes = 0
        self._wait_for_client(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._wait_for_client(REQUEST_SECONDS)
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # such a client would take "100" for its answer
        if not self._is_offer():
            super().on_headers_complete()
            cycle = self.cycle
            cycle.transport = self._answers  # type: ignore[assignment]
            cycle.__class__ = _Cycle
            self.scope["extensions"][CAME_EXTENSION] = {"body": partial(_came, ref(cycle))}

    def on_body(self, body: bytes) -> None:
        self._beside_body_bytes -= len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_offer():
            return
        self._stop_waiting()
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn leaves it so where the answer came before
        if self.cycle.response_complete and not self.cycle.keep_alive:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answered_early():
            self._discarded_bytes = 0
            self._wait_for_client(LINGER_SECONDS)

    def close_behind_answer(self) -> None:
        """If an answer is owed here, it says that it is the last one."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _parse(self, data: bytes) -> bytes | None:
        """Feeds the parser; what is left to feed, if it stopped at an offer to upgrade.

        An offer that is not taken changes nothing about its request (RFC 9110, section 7.8), but
        the parser takes what follows the head for another protocol. So a new one gets the same
        head without the offer, and the rest.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.parser.get_method() == b"CONNECT":
                self.send_400_response("This is no proxy: it takes no CONNECT.")
                return None
            head = self._head_without_offer()
            self.parser = _new_parser(self)
            return head + data[offer.args[0] :]
        except httptools.HttpParserError as error:
            if self.transport.is_closing():
                return None
            why = str(error).rstrip(".")
            if isinstance(error, httptools.HttpParserCallbackError):  # of all that we do: the URL
                why = "its address cannot be read, or is longer than 64 kB"
            self.logger.warning("no valid HTTP request: %s", why)
            self.send_400_response(f"This is no valid HTTP request: {why}.")
        return None

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request, in the shape of all errors, and closes.

        Without a word where what comes is the rest of a request that was answered early: it is owed
        no second answer, and the connection may be closed already to writing.
        """
        if self._is_answered_early():
            self.transport.close()
            return
        text = msg.encode("ascii", "replace").decode("ascii")
        error = {"code": "invalid_request", "message": text, "type": "invalid_request_error"}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        lines = [
            b"HTTP/1.1 400 Bad Request",
            *(b"%s: %s" % one for one in self.server_state.default_headers if one != CLOSE),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()

    def _is_offer(self) -> bool:
        """Whether the parser is about to stop behind this head."""
        return bool(self.parser.should_upgrade())

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name != b"upgrade":
                kept = _without_upgrade(value) if name == b"connection" else value
                lines.append(b"%s: %s" % (name, kept))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _is_answered_early(self) -> bool:
        """Whether the request that comes in has its answer, and more of its body is to come."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _close(self) -> None:
        """Closes when the request has come in whole; until then only the answer's end is told."""
        if not self._is_answered_early():
            self.transport.close()
        elif self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _discard(self, count: int) -> None:
        self._discarded_bytes += count
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.abort()

    def _wait_for_client(self, seconds: float) -> None:
        """From the end of the piece at hand on: most requests come in one, and need no timer."""
        self._stop_waiting()
        if self._is_fed:
            self._patience_seconds = seconds
        else:
            self._patience = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._patience_seconds = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _Cycle(RequestResponseCycle):
    """uvicorn's, with a quicker way for the head of an ordinary answer.

    That is checked and put together as one text: with 16 headers, each looked at by itself, it was
    a third of what sending takes.
    """

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            head = self._ordinary_head(message)
            if head is not None:
                self.response_started = True
                self.waiting_for_100_continue = False
                self.transport.write(head)
                return
        await super().send(message)

    def _ordinary_head(self, message: Any) -> bytes | None:
        """None of an answer whose connection closes, that says nothing of its length, or that is
        none that may be sent."""
        if not self.keep_alive or self.disconnected or self.flow.write_paused:
            return None
        headers = [*self.default_headers, *message["headers"]]
        names = [name.lower() for name, _ in headers]
        values = [value for _, value in headers]
        if names.count(b"content-length") != 1 or not _SPECIAL.isdisjoint(names):
            return None
        if HEADER_RE.search(b"".join(names)) or HEADER_VALUE_RE.search(b"".join(values)):
            return None
        self.expected_content_length = int(values[names.index(b"content-length")])
        self.chunked_encoding = False
        lines = map(b": ".join, zip(names, values, strict=True))
        return STATUS_LINE[message["status"]] + b"\r\n".join((*lines, b"", b""))


def _came(known: "ref[RequestResponseCycle]", most: int) -> bytes | None:
    """What the cycle's `receive` would give, where it need not be waited for."""
    cycle = known()
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    if cycle.waiting_for_100_continue or not cycle.message_event.is_set():
        return None
    if len(cycle.body) > most:
        return None
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


class _AnswerTransport:
    """A transport for the answers of one connection: its closing is for the protocol.

    The head of an answer waits for the first piece of its body, so that both go out in one call:
    each call costs as much as a tenth of an answer that is held ready, and wakes the client. It
    waits for no longer than the event loop needs for what it has in hand.

    What is closed takes nothing more: uvloop raises where asyncio is silent, in the moment between
    the closing of a connection and the word of it.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


def _new_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn makes its own
    return parser


def _without_upgrade(value: bytes) -> bytes:
    tokens = value.split(b",")
    return b",".join(token for token in tokens if token.strip().lower() != b"upgrade")


def asks_first(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def closing_unless_asked_for(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Of a client that waits to be asked for its body: closes after an answer that did not ask.

    Such a client may send the body all the same, or leave it out and go on with its next request
    (RFC 9110, section 10.1.1). Nobody can tell these apart, so nothing may follow on it.
    """
    asked = False

    async def receive_noted() -> Message:
        nonlocal asked
        asked = True
        return await receive()

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start" and not asked:
            headers = [*message.get("headers", ()), CLOSE]
            message = {**message, "headers": headers}
        await send(message)

    return receive_noted, send_closing
