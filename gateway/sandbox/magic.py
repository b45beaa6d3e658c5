"""Magic words: what a prompt may ask of the sandbox, in the manner of payment test cards.

`WORDS` is the one table that the parser, the chance rates and `--help` read; another simulated
vendor brings a table of its own. A word is written `[sandbox:name]`, `[sandbox:name=value]` or
`[sandbox:name=value*times]`; several may be combined.
Pure: text in, decisions out.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Value(Enum):
    """What may stand behind the `=` of a word."""

    NONE = "nothing"
    CODE = "a code of letters, digits and underscores"
    NUMBER = "a number"
    WHOLE = "a whole number below 100"
    STATUS = "an HTTP status from 400 to 599"


_FORMS = {
    Value.NONE: re.compile(r""),
    Value.CODE: re.compile(r"[A-Za-z0-9_.-]{1,64}"),
    Value.NUMBER: re.compile(r"\d{1,9}(\.\d{1,9})?"),
    Value.WHOLE: re.compile(r"\d{1,2}"),
    Value.STATUS: re.compile(r"[45]\d\d(:[A-Za-z0-9_]{1,64})?"),
}


@dataclass(frozen=True)
class Word:
    """One magic word. `usual` is its value when none is written; None makes a value obligatory."""

    name: str
    form: str
    value: Value
    usual: str | None
    effect: str


WORDS: Mapping[str, Word] = {
    word.name: word
    for word in (
        # --- what the submit answers
        Word("http", "http=STATUS[:CODE]", Value.STATUS, "503",
             "the submit is refused with that status (and code); nothing is accepted or charged"),
        Word("elsewhere", "elsewhere", Value.NONE, "",
             "the submit is refused as http=503 is; a simulated OpenAI makes it"),
        Word("drop", "drop", Value.NONE, "",
             "the task is accepted, then the connection is cut before the answer"),
        Word("garbage", "garbage", Value.NONE, "",
             "the task is accepted; the answer is 200 with a body that is not JSON"),
        Word("hang", "hang", Value.NONE, "",
             "the task is accepted, but the submit is never answered"),
        Word("integer-code", "integer-code", Value.NONE, "",
             "errors of this task's calls have the older shape, with the status as integer code"),
        Word("old-shape", "old-shape", Value.NONE, "",
             "task objects have the older fields only: estimated_cost, no result_data, no usage"),
        # --- how the task goes
        Word("delay", "delay=SECONDS", Value.NUMBER, None,
             "the task takes exactly that long"),
        Word("fail", "fail=CODE", Value.CODE, "service_error",
             "the task fails with that code; nothing is charged"),
        Word("stuck", "stuck", Value.NONE, "",
             "the task stays in processing and never ends"),
        Word("credits", "credits=X", Value.NUMBER, None,
             "the finished task reports (and the account pays) X credits"),
        Word("results", "results=COUNT", Value.WHOLE, "1",
             "the finished task holds COUNT pictures, whatever n asked for"),
        # --- what a poll answers
        Word("poll-http", "poll-http=STATUS[:CODE]", Value.STATUS, "503",
             "polls of the task are answered with that status"),
        Word("poll-garbage", "poll-garbage", Value.NONE, "",
             "polls are answered 200 with a body that is not JSON"),
        Word("poll-drop", "poll-drop", Value.NONE, "",
             "polls are cut before the answer"),
        Word("poll-hang", "poll-hang", Value.NONE, "",
             "polls are never answered"),
        # --- what a result link gives
        Word("dead-link", "dead-link[=STATUS]", Value.STATUS, "404",
             "the result link answers 404 (or that status)"),
        Word("slow-link", "slow-link[=SECONDS]", Value.NUMBER, "300",
             "the picture drips out over 300 (or that many) seconds"),
        Word("huge-link", "huge-link", Value.NONE, "",
             "the picture is followed by bytes without end"),
        Word("html-link", "html-link", Value.NONE, "",
             "the link gives an HTML page, status 200"),
        Word("truncated-link", "truncated-link", Value.NONE, "",
             "the link gives the first half of the picture as if it were the whole"),
        Word("cut-link", "cut-link", Value.NONE, "",
             "the connection is cut in the middle of the picture"),
        Word("redirect-link", "redirect-link", Value.NONE, "",
             "the link redirects to http://169.254.169.254/, an internal address"),
    )
}  # fmt: skip

_WRITTEN = re.compile(r"\[sandbox:([^\]=*\s]+)(?:=([^\]*]*))?(?:\*(\d{1,6}))?\]")
_ATTEMPTED = re.compile(r"\[sandbox:[^\]]*\]?")


class MagicError(ValueError):
    """A magic word that cannot be understood; the message says which and what is possible."""


@dataclass(frozen=True)
class Use:
    """A word as written in one prompt: its value, and how many times it acts (None: always)."""

    value: str
    times: int | None


class Magic:
    """The words of one prompt, together with the chances of words that act unasked."""

    __slots__ = ("_rates", "_salt", "_uses", "_words")

    def __init__(
        self,
        uses: Mapping[str, Use],
        rates: Mapping[str, float],
        salt: str,
        words: Mapping[str, Word] = WORDS,
    ) -> None:
        self._uses = uses
        self._words = words
        self._rates = rates
        self._salt = salt

    def text(self, name: str, occurrence: int = 1) -> str | None:
        """The value of word `name` at its `occurrence`-th chance to act; None when it does not."""
        use = self._uses.get(name)
        if use is not None:
            return use.value if use.times is None or occurrence <= use.times else None
        rate = self._rates.get(name, 0.0)
        if rate and random.Random(f"{self._salt}:{name}:{occurrence}").random() < rate:
            return self._words[name].usual
        return None

    def acts(self, name: str, occurrence: int = 1) -> bool:
        return self.text(name, occurrence) is not None

    def number(self, name: str, occurrence: int = 1) -> float | None:
        text = self.text(name, occurrence)
        return None if text is None else float(text)

    def status(self, name: str, occurrence: int = 1) -> tuple[int, str | None] | None:
        """A STATUS word as (status, code or None)."""
        text = self.text(name, occurrence)
        if text is None:
            return None
        status, _, code = text.partition(":")
        return int(status), code or None


def read_magic(
    prompt: str,
    *,
    rates: Mapping[str, float],
    salt: str,
    words: Mapping[str, Word] = WORDS,
) -> Magic:
    """Reads the words of `prompt`; `salt` makes the chances of this submit its own.

    Raises MagicError for a word that is unknown or has a wrong value.
    """
    if "[sandbox:" not in prompt:
        return Magic({}, rates, salt, words)
    uses = {}
    for attempt in _ATTEMPTED.findall(prompt):
        written = _WRITTEN.fullmatch(attempt)
        if written is None:
            raise MagicError(f"{attempt} is not a magic word; write [sandbox:name=value]")
        name, value, times = written.groups()
        uses[name] = Use(_value(name, value, words), int(times) if times else None)
    return Magic(uses, rates, salt, words)


def without_magic(prompt: str) -> str:
    """The prompt as it is drawn: without its magic words and doubled blanks."""
    return " ".join(_ATTEMPTED.sub(" ", prompt).split())


def check_rates(rates: Mapping[str, float], words: Mapping[str, Word] = WORDS) -> None:
    """Raises ValueError for a rate outside 0..1, or of a word that cannot happen by chance."""
    for name, rate in rates.items():
        if name not in words or words[name].usual is None:
            known = ", ".join(word.name for word in words.values() if word.usual is not None)
            raise ValueError(f"rates: {name!r} cannot happen by chance; possible are {known}")
        if not 0 <= rate <= 1:
            raise ValueError(f"rates: {name} must be from 0 to 1, not {rate}")


def _value(name: str, written: str | None, words: Mapping[str, Word]) -> str:
    word = words.get(name)
    if word is None:
        raise MagicError(f"unknown magic word {name!r}; known are {', '.join(words)}")
    value = word.usual if written is None else written
    if value is None or not _FORMS[word.value].fullmatch(value):
        raise MagicError(f"magic word [sandbox:{word.form}] takes {word.value.value}")
    return value
