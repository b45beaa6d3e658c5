"""What the vendor says, in whichever of its shapes: an HTTP answer, and the error in it.

Everything is read defensively: `code` may be a text or a number, fields may be missing, new or of
another type, a body may not be JSON at all. What an error means for a run is not decided here.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

WORDS: Final = 200
"""Characters of upstream's own words that are written down: enough to know what it meant."""

MAX_READ: Final = 100 * WORDS
"""Characters of a text that are looked through for a prompt."""

SHORTEST_PART: Final = 12
"""So much of a prompt, repeated, is a part of it and no chance."""


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """An HTTP answer; `body` is None when it was too large to be one of the vendor's.

    The names in `headers` are lower case, or it does not matter there.
    """

    status: int
    body: bytes | None
    headers: Mapping[str, str]

    def json_object(self) -> dict[str, Any] | None:
        if self.body is None:
            return None
        try:
            parsed = orjson.loads(self.body.removeprefix(BOM_UTF8))
            orjson.dumps(parsed)  # what is nested too deeply to be written down again is no task
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return None
        return parsed if isinstance(parsed, dict) else None

    def text(self) -> str:
        return (self.body or b"").decode("utf-8", "replace")

    def retry_after_seconds(self) -> float | None:
        """`Retry-After` as seconds from now; a date is read against the answer's own `Date`.

        `Retry-After-Ms` says it more exactly, where it is there.
        """
        waits = (
            self._number("retry-after-ms") / 1000,
            self._number("retry-after"),
            self._seconds_until(self.headers.get("retry-after", "")),
        )
        return next((one for one in waits if math.isfinite(one) and one >= 0), None)

    def _number(self, header: str) -> float:
        try:
            return float(self.headers.get(header, ""))
        except ValueError:
            return math.nan

    def _seconds_until(self, value: str) -> float:
        try:
            then = parsedate_to_datetime(value)
            return (then - parsedate_to_datetime(self.headers.get("date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return math.nan


@dataclass(frozen=True, slots=True)
class VendorProblem:
    """An error of the vendor. `number` is its code where that is a number or reads as one.

    `bare`: it was no object but a text, which may be anybody's.
    """

    code: str
    message: str
    param: str | None
    kind: str = ""
    number: int | None = None
    bare: bool = False


def error_object(parsed: Mapping[str, Any] | None) -> VendorProblem | None:
    """The vendor's `error` object: `{"error": {"code", "message", "type", "param"}}`."""
    error = parsed.get("error") if parsed else None
    return _problem(error) if isinstance(error, dict) else None


def any_error(parsed: Mapping[str, Any] | None) -> VendorProblem | None:
    """An error in any shape: its object, a bare text, or `{"code", "msg"}` without one."""
    if not parsed:
        return None
    if found := error_object(parsed):
        return found
    error = parsed.get("error")
    if isinstance(error, str) and error.strip():
        return VendorProblem(_spelt(error), error, None, bare=True)
    return _problem(parsed) if "code" in parsed else None


def code_of(text: str) -> str:
    """A code as it is compared: `No-Available-Channel` is `no_available_channel`."""
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def words(answer: VendorAnswer, problem: VendorProblem | None, prompt: str) -> str:
    """The first of what upstream said, in one line; its own text where there is no message.

    A prompt that it repeats is left out: it is erased with its pictures, and these words are not.
    """
    said = (problem.message if problem else "") or answer.text()
    return without(_one_line(without(said, prompt)), _one_line(prompt))[:WORDS]


def without(text: str, prompt: str) -> str:
    """The beginning of a text of upstream's, without the prompt, also where its characters are
    escaped, or where it was cut."""
    text = text[:MAX_READ]
    escaped = (orjson.dumps(prompt).decode()[1:-1], json.dumps(prompt)[1:-1])
    for form in dict.fromkeys((prompt, *escaped)):
        if not form:
            continue
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "[prompt]", text)
        start = form[:SHORTEST_PART]
        while len(start) == SHORTEST_PART and (at := text.find(start)) >= 0:
            text = f"{text[:at]}[prompt]{text[at + _alike(text[at:], form) :]}"
    return text


def _problem(source: Mapping[str, Any]) -> VendorProblem | None:
    code, param = source.get("code"), source.get("param")
    told = [source.get(name) for name in ("message", "msg")]
    message = next((one for one in told if isinstance(one, str)), "")
    if not code and not message:
        return None
    kind = source.get("type")
    return VendorProblem(
        code=str(code) if isinstance(code, str | int) else "",
        message=message,
        param=param if isinstance(param, str) and param else None,
        kind=kind if isinstance(kind, str) else "",
        number=_number(code),
    )


def _number(code: object) -> int | None:
    if isinstance(code, bool):
        return None
    if isinstance(code, str) and code.isascii() and code.strip().isdecimal():
        return int(code) if len(code) < SHORTEST_PART else None
    whole = isinstance(code, int) or (isinstance(code, float) and code.is_integer())
    return int(code) if whole else None  # type: ignore[call-overload]


def _spelt(text: str) -> str:
    """A bare text as a code, if it can be one."""
    return text.strip() if re.fullmatch(r"[\w .-]{1,64}", text.strip()) else ""


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())


def _alike(text: str, other: str) -> int:
    """How many characters they begin with in common."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((at for at, (one, two) in pairs if one != two), min(len(text), len(other)))
