"""Log lines: their form, what is never in them, and that writing them stops nobody."""

import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway import logs

QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Stream(io.StringIO):
    """A stream that can be a terminal, a full disk, or one whose reader stands still."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.is_full = False
        self.moves = threading.Event()
        self.moves.set()
        self.stuck = threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        if not self.moves.is_set():
            self.stuck.set()
            self.moves.wait(10)
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)

    def lines(self) -> list[dict[str, Any]]:
        logs.flush()
        return [json.loads(line) for line in self.getvalue().split("\n")[:-1]]


Configure = Callable[..., Stream]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configures logging for one test and puts everything back after it."""
    names = ["", *logs.QUIET_LIBRARIES]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    streams: list[Stream] = []

    def to_stream(form: str = "json", level: str = "info", *, terminal: bool = False) -> Stream:
        stream = Stream(terminal=terminal)
        logs.configure(form, level, stream)
        streams.append(stream)
        return stream

    yield to_stream
    for stream in streams:
        stream.moves.set()
    if logs._Output.writer is not None:
        logs._Output.writer.close()
        logs._Output.writer = None
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def stream(configure: Configure) -> Stream:
    return configure()


def logger() -> Any:
    return structlog.get_logger("gateway.orders")


# --- form ----------------------------------------------------------------------------------------


def test_a_line_is_one_json_object_with_its_head_first(stream: Stream) -> None:
    with structlog.contextvars.bound_contextvars(request="req_1"):
        logger().info("order", verdict="hit", seconds=1.5, n=2, stored=True, rule=None)
    (line,) = stream.lines()
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z") and abs(time.time() - _unix(stamp)) < 60
    assert list(line)[:3] == ["level", "logger", "event"]
    assert line == {
        "level": "info",
        "logger": "gateway.orders",
        "event": "order",
        "request": "req_1",
        "verdict": "hit",
        "seconds": 1.5,
        "n": 2,
        "stored": True,
        "rule": None,
    }


def _unix(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def test_lower_levels_are_left_out(configure: Configure) -> None:
    stream = configure(level="warning")
    logger().info("order")
    logging.getLogger("uvicorn.error").info("started")
    logger().error("broken")
    assert [line["event"] for line in stream.lines()] == ["broken"]


def test_libraries_go_the_same_way(stream: Stream) -> None:
    logging.getLogger("uvicorn.error").warning("%s requests cut", 3)
    logging.getLogger("httpx2").info("GET https://example.org/?signature=abc")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    logging.getLogger("httpcore2.connection").warning("sent Bearer abc")
    logging.getLogger("odd").log(35, "a level of its own")
    lines = stream.lines()
    assert [(one["logger"], one["level"], one["event"]) for one in lines] == [
        ("uvicorn.error", "warning", "3 requests cut"),
        ("httpcore2.connection", "warning", "sent Bearer [redacted]"),
        ("odd", "warning", "a level of its own"),
    ]


def test_exceptions_are_told_in_one_line(stream: Stream) -> None:
    def fail() -> None:
        raise RuntimeError("cannot reach https://user:hunter2@host/, sent Bearer abc.def")

    try:
        fail()
    except RuntimeError:
        logger().exception("ours")
        logging.getLogger("asyncio").error("theirs", exc_info=True)
    ours, theirs = stream.lines()
    for line in (ours, theirs):
        assert "in fail" in line["exception"]
        assert "RuntimeError: cannot reach https://[redacted]@host/" in line["exception"]
        assert "hunter2" not in line["exception"] and "abc.def" not in line["exception"]


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("json", True, True),
        ("console", False, False),
    ],
)
def test_format(configure: Configure, form: str, terminal: bool, is_json: bool) -> None:
    stream = configure(form, terminal=terminal)
    logger().info("order", verdict="hit")
    logs.flush()
    text = stream.getvalue()
    assert text.startswith('{"timestamp"') is is_json
    assert ("\x1b[" in text) is (terminal and not is_json)
    assert "order" in text and "hit" in text


def test_console_shows_no_control_characters_of_values(configure: Configure) -> None:
    stream = configure("console")
    logger().info("request failed", path="/\x1b[2J\nforged line")
    logs.flush()
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_configuring_again_finishes_the_former_stream(configure: Configure) -> None:
    first = configure()
    logger().info("one")
    second = configure()
    logger().info("two")
    assert [line["event"] for line in second.lines()] == ["two"]
    assert json.loads(first.getvalue())["event"] == "one"
    assert (
        len([one for one in logging.getLogger().handlers if type(one).__name__ == "_Bridge"]) == 1
    )


# --- what is never said --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "authorization", "Authorization", "api_key", "apiKey", "X-API-Key", "key", "team_keys",
        "secret", "signing_secret", "password", "db_passwd", "token", "access_token", "cookie",
        "signature", "auth",
    ],
)  # fmt: skip
def test_values_of_secret_keys_are_masked(stream: Stream, key: str) -> None:
    logger().info(
        "order", **{key: "hunter2"}, nested={key: ["hunter2"]}, listed=[{key: b"hunter2"}]
    )
    assert "hunter2" not in json.dumps(stream.lines())


def test_ordinary_values_are_left_alone(stream: Stream) -> None:
    facts = {
        "task": "task-unified-1760000000-abcdefgh",
        "upstream_task": "task-unified-1760000000-sk0sk0sk",
        "prompt_tokens": 12,
        "route": "evolink/gpt-image-1.5-beta",
        "reason": "risk-free disk-full brisk-walk: n = 3, a task-unified-1 is late",
        "link": "https://files.example.org/a/b.png?page=2&size=1024",
    }
    logger().info("order", **facts)
    (line,) = stream.lines()
    assert {name: line[name] for name in facts} == facts


SECRETS = st.text("QXZ0123456789", min_size=12)
FILLERS = st.text(st.characters(exclude_characters="QXZ0123456789"), max_size=30)
CARRIERS = st.sampled_from(
    [
        "Bearer {}",
        "bearer   {}",
        "{{'authorization': 'Bearer {}'}}",
        "sk-{}",
        "SK-{}",
        "igw_{}",
        "https://bucket.example.org/a.png?X-Amz-Date=1&X-Amz-Signature={}&x=1",
        "https://example.org/?token={}",
        "https://example.org/a?a=b&api_key={}",
        "postgresql://gateway:{}@db/gateway",
    ]
)


@st.composite
def leaks(draw: st.DrawFn) -> tuple[str, str]:
    """A secret, and a text that carries it somewhere."""
    secret = draw(SECRETS)
    text = draw(FILLERS) + " " + draw(CARRIERS).format(secret) + " " + draw(FILLERS)
    return secret, text


@QUIET
@given(leak=leaks())
def test_secrets_never_appear(configure: Configure, leak: tuple[str, str]) -> None:
    secret, text = leak
    stream = configure("json")
    logger().info(text, reason=text, nested={"deep": [{"er": (text,)}], text: 1}, error=Told(text))
    try:
        raise Told(text)
    except Told:
        logger().exception("failed", note=text.encode("utf-8", "replace"))
    logging.getLogger("uvicorn.error").warning("%s", text)
    logs.flush()
    assert stream.getvalue().count("\n") == 3
    assert secret not in stream.getvalue()


@QUIET
@given(leak=leaks(), before=st.integers(logs.VALUE_CHARACTERS - 120, logs.VALUE_CHARACTERS + 5))
@example(("QXZQXZQXZQXZ", "postgresql://gateway:QXZQXZQXZQXZ@db"), logs.VALUE_CHARACTERS - 30)
def test_a_cut_bares_no_part_of_a_secret(leak: tuple[str, str], before: int) -> None:
    secret, text = leak
    shown = logs.clean(None, "info", {"reason": "x" * before + " " + text})["reason"]
    assert not any(secret[at : at + 6] in shown for at in range(len(secret) - 5))


class Told(Exception):
    pass


# --- bounds --------------------------------------------------------------------------------------


def test_every_value_is_bounded(stream: Stream) -> None:
    endless: list[object] = ["x"]
    endless.append(endless)
    logger().info(
        "x" * 10_000,
        long="y" * 10_000,
        many=list(range(10_000)),
        deep=endless,
        wide={"z" * 9_999: 1},
    )

    def dig(depth: int) -> None:
        if depth:
            dig(depth - 1)
        raise Told("z" * 10_000)

    try:
        dig(90)
    except Told:
        logger().exception("deep")
    first, second = stream.lines()
    assert first["long"] == "y" * logs.VALUE_CHARACTERS + logs.CUT
    assert len(first["many"]) == logs.COLLECTION_ITEMS
    assert len(json.dumps(first)) < 15_000
    assert "Told: zzz" in second["exception"]
    assert len(second["exception"]) < logs.TRACEBACK_LINES * 200 + 3_000


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_no_value_makes_logging_fail(stream: Stream) -> None:
    logger().info(
        "odd", surrogate="\ud800", huge=2**80, nan=float("nan"), rude=Rude(), odd={1: 2, None: 3}
    )
    (line,) = stream.lines()
    assert line["huge"] == 2**80
    assert "Rude" in line["rude"]
    assert line["odd"] == {"1": 2, "None": 3}


@QUIET
@given(facts=st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)))  # fmt: skip
def test_every_line_is_json(configure: Configure, facts: dict[str, object]) -> None:
    facts.pop("event", None)
    facts.pop("exc_info", None)
    stream = configure()
    logger().info("anything", **facts)
    assert len(stream.lines()) == 1


# --- writing -------------------------------------------------------------------------------------


def test_a_reader_that_stands_still_stops_nobody(stream: Stream) -> None:
    stream.moves.clear()
    logger().info("first")
    assert stream.stuck.wait(5)
    extra = 25
    started = time.perf_counter()
    for number in range(logs.QUEUE_LINES + extra):
        logs._Output.writer.put(json.dumps({"event": "burst", "number": number}))  # type: ignore[union-attr]
    assert time.perf_counter() - started < 2
    stream.moves.set()
    logs.flush()
    lines = stream.lines()
    assert [one["number"] for one in lines if one["event"] == "burst"] == list(
        range(logs.QUEUE_LINES)
    )
    (notice,) = [one for one in lines if one["event"] == "log lines dropped"]
    assert notice["count"] == extra


def test_what_a_full_disk_refused_is_counted(stream: Stream) -> None:
    stream.is_full = True
    for _ in range(7):
        logger().info("lost")
    logs.flush()
    stream.is_full = False
    logger().info("back")
    assert [(one["event"], one.get("count")) for one in stream.lines()] == [
        ("back", None),
        ("log lines dropped", 7),
    ]
    logger().info("on")
    assert stream.lines()[-1]["event"] == "on"


def test_lines_appear_by_themselves(stream: Stream) -> None:
    logger().info("order")
    deadline = time.monotonic() + 5
    while not stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(stream.getvalue())["event"] == "order"


def test_json_is_utf8_whatever_the_locale(configure: Configure) -> None:
    configure()
    raw = io.BytesIO()
    logs.configure("json", "info", io.TextIOWrapper(raw, encoding="ascii"))
    logger().info("größer", surrogate="\ud800")
    logs.flush()
    assert json.loads(raw.getvalue().decode("utf-8"))["event"] == "größer"


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "raise RuntimeError('the end')"])
def test_no_line_is_lost_at_exit(end: str) -> None:
    program = (
        "import structlog\n"
        "from gateway import logs\n"
        "logs.configure('auto', 'info')\n"
        "log = structlog.get_logger('gateway.runs')\n"
        "for number in range(3000): log.info('run', number=number)\n" + end
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    lines = [
        json.loads(one) for one in ended.stderr.splitlines() if one.startswith(b'{"timestamp"')
    ]
    assert [one["number"] for one in lines] == list(range(3000))
    assert ended.stdout == b""


def test_the_commands_help_does_not_load_it() -> None:
    program = "import sys, gateway.cli; print({'structlog', 'gateway.logs'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert ended.stdout == b"set()\n"
