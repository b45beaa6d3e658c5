"""One line per fact: JSON for machines, colours for a terminal, and never a secret in it.

`configure` is called once by a command that serves; everybody else only asks structlog for a
logger. Lines of libraries that use the standard logging go the same way. A line is handed to a
thread that writes, so that logging never waits for a disk or a pipe.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FLUSH_SECONDS: Final = 0.2
"""How long a line may wait for others, so that many share one write."""

QUEUE_LINES: Final = 10_000
"""A burst of some seconds; when the reader of the log is stuck, further lines are counted only."""

FLUSH_LIMIT_SECONDS: Final = 5.0
"""A stuck reader must not keep the process from ending."""

PLAIN: Final = {str, int, float, bool, type(None)}

VALUE_CHARACTERS: Final = 2048
MARGIN_CHARACTERS: Final = 1024
COLLECTION_ITEMS: Final = 50
DEPTH: Final = 3
TRACEBACK_LINES: Final = 60
"""The last ones: they say what happened and where."""

REDACTED: Final = "[redacted]"
CUT: Final = "…[cut]"

QUIET_LIBRARIES: Final = ("httpx2", "httpcore2", "uvicorn.error")
"""They would write a line or more for each call upstream, each start and each stop; the gateway
has lines of its own for those."""

_SECRET_KEY: Final = re.compile(
    r"^auth$|authorization|passw|secret|token|credential|cookie|signature|api[-_ ]?key|keys?$",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = re.compile(
    r"(bearer\s+)\S+"
    r"|(?<![a-z0-9])sk-[\w-]+"  # not within `task-...`
    r"|igw_[\w-]+"
    r"|([?&][^=&?\s]{0,64}(?:sig|token|key|secret|credential|passw|auth)[^=&?\s]{0,64}=)[^&\s]*"
    r"|(://)[^/@\s]+(?=@)",
    re.IGNORECASE,
)


def configure(
    format: str = "auto",  # noqa: A002 - the setting's own name
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Sends all logs to the stream (standard error unless given) from now on.

    `format` is json, console, or auto: console on a terminal, else JSON. `level` is debug,
    info, warning or error. May be called again; what was logged before is written first.
    """
    stream = sys.stderr if stream is None else stream
    on_terminal = stream.isatty()
    as_json = format == "json" or (format == "auto" and not on_terminal)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            clean,
            _head,
            _render_json if as_json else _console(colors=on_terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Line,
        cache_logger_on_first_use=False,
    )
    _route_standard_logging(number)
    if isinstance(stream, io.TextIOWrapper):
        encoding = None if on_terminal else "utf-8"
        stream.reconfigure(encoding=encoding, errors="backslashreplace")
    before, _Output.writer = _Output.writer, LineWriter(stream)
    if before is not None:
        before.close()
    atexit.unregister(flush)
    atexit.register(flush)


def flush() -> None:
    """Returns when every line logged so far is written, or after a few seconds."""
    if _Output.writer is not None:
        _Output.writer.flush()


# --- what may be said ----------------------------------------------------------------------------


def clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Masks secrets by key and by look, and bounds every value: nothing else renders a line."""
    if _is_plain(event):
        return event
    return {
        key: _traceback(value) if key == "exception" else _cleaned(key, value, DEPTH)
        for key, value in event.items()
    }


def _is_plain(event: EventDict) -> bool:
    """Whether it has short texts and plain values alone and none that is suspicious, as the lines
    of an order and its run: the texts are looked at as one then, in a third of the time."""
    values = event.values()
    if not {*map(type, values)} <= PLAIN or any(map(_is_secret, event)):
        return False
    text = "\n".join([value for value in values if type(value) is str])
    return len(text) <= VALUE_CHARACTERS and "exception" not in event and not _is_suspicious(text)


def _cleaned(key: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value  # a count such as `prompt_tokens` is no secret
    if _is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return _text(value)
    if depth and isinstance(value, Mapping):
        items = list(value.items())[:COLLECTION_ITEMS]
        return {_text(str(k)): _cleaned(str(k), v, depth - 1) for k, v in items}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_cleaned("", item, depth - 1) for item in list(value)[:COLLECTION_ITEMS]]
    return _text(_shown(value))


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose text fails with {type(error).__name__}>"


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _text(text: str) -> str:
    if len(text) > VALUE_CHARACTERS:
        return _start_of(text)
    return _SECRET_TEXT.sub(_mask, text) if _is_suspicious(text) else text


def _start_of(text: str) -> str:
    """The start of a long text. What looks like a secret only by what follows the cut, as a
    password before `@host` does, is masked too."""
    pieces, end = [], 0
    for found in _SECRET_TEXT.finditer(text[: VALUE_CHARACTERS + MARGIN_CHARACTERS]):
        if found.start() >= VALUE_CHARACTERS:
            break
        pieces += [text[end : found.start()], _mask(found)]
        end = found.end()
    return "".join([*pieces, text[end:VALUE_CHARACTERS], CUT])


def _is_suspicious(text: str) -> bool:
    """Whether the search is worth its 5 µs: nearly all values are names and ids."""
    lower = text.lower()
    if "=" in lower or "://" in lower or "igw_" in lower or "bearer" in lower:
        return True
    return "sk-" in lower and "sk-" in lower.replace("task-", "")


def _mask(found: re.Match[str]) -> str:
    return "".join(group for group in found.groups() if group) + REDACTED


def _traceback(value: object) -> str:
    return "\n".join(_text(line) for line in str(value).splitlines()[-TRACEBACK_LINES:])


# --- how it is said ------------------------------------------------------------------------------


def _head(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """When, how grave, by whom and what, in this order; then the rest."""
    now = datetime.now(UTC).isoformat()
    level = "error" if method == "exception" else method
    head = {"timestamp": f"{now[:-6]}Z", "level": level, "logger": logger.name}
    return {**head, "event": event["event"], **event, **head}


def _render_json(_: WrappedLogger, __: str, line: EventDict) -> str:
    try:
        return orjson.dumps(line).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer beyond 64 bits
        return json.dumps(line, default=str)


def _console(*, colors: bool) -> Processor:
    from structlog.dev import ConsoleRenderer, plain_traceback

    return ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, repr_native_str=True)


class _Line:
    """What structlog hands its rendered lines to; made for a logger's name."""

    def __init__(self, name: str = "gateway") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        if _Output.writer is not None:
            _Output.writer.put(line)

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Lets records of the standard logging go our way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            log = structlog.get_logger(record.name)
            log.log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)


def _route_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


# --- how it is written ---------------------------------------------------------------------------


class LineWriter:
    """Writes lines in batches from a thread of its own. Putting one never blocks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: deque[str | threading.Event] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._dropped = 0
        self._counting = threading.Lock()
        threading.Thread(target=self._run, name="log writer", daemon=True).start()

    def put(self, line: str) -> None:
        if len(self._queue) < QUEUE_LINES:
            self._queue.append(line)
        else:
            self._count_dropped(1)

    def flush(self) -> None:
        """Waits, for a bounded time, until what was put before is written."""
        written = threading.Event()
        self._queue.append(written)
        self._wake.set()
        written.wait(FLUSH_LIMIT_SECONDS)

    def close(self) -> None:
        """Writes what is left and lets the thread end."""
        self._closing = True
        self.flush()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._closing
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self._write_all()

    def _write_all(self) -> None:
        lines: list[str] = []
        waiting: list[threading.Event] = []
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, str):
                lines.append(item)
            else:
                waiting.append(item)
        dropped = self._count_dropped(0)
        if lines or dropped:
            self._write(lines, dropped)
        for written in waiting:
            written.set()

    def _write(self, lines: list[str], dropped: int) -> None:
        """One write for all. What the stream does not take is counted, and told when it does."""
        notice = [_dropped_line(dropped)] if dropped else []
        text = "\n".join([*lines, *notice, ""])
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the disk is full, or the reader is gone
            self._count_dropped(len(lines))
        else:
            self._count_dropped(-dropped)

    def _count_dropped(self, more: int) -> int:
        with self._counting:
            self._dropped += more
            return self._dropped


def _dropped_line(count: int) -> str:
    line = {
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "level": "warning",
        "logger": "gateway.logs",
        "event": "log lines dropped",
        "count": count,
    }
    return json.dumps(line)


class _Output:
    """The writer in use; logging belongs to the process, like its standard error."""

    writer: LineWriter | None = None
