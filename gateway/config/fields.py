"""The types of single settings: how each is read, its bounds, and how it is shown again.

A type here is a reader of `words` or `units` joined with its inverse. It must not know which
setting uses it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from gateway.config import units, words
from gateway.core.catalog import CacheScope, ClientControl, Mode, ReferenceMode
from gateway.core.money.accounts import Window
from gateway.core.orders import spellings

MASK = "********"


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class BudgetWindow(StrEnum):
    """The windows of budgets and picture counts; the core has `minute` for runs besides."""

    HOUR = Window.HOUR
    DAY = Window.DAY
    WEEK = Window.WEEK
    MONTH = Window.MONTH
    TOTAL = Window.TOTAL


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        close = words.suggestion(name, available_timezones())
        raise ValueError(f"must be an IANA time zone such as Europe/Paris{close}") from None
    return name


def _without_version(address: str) -> str:
    """Clients are often given the base with `/v1`; the paths below it are ours to add."""
    return address.removesuffix("/v1")


def whole(low: int, high: int) -> Any:
    said = Annotated[int, Field(ge=low, le=high)]
    return BeforeValidator(units.whole(low, high), json_schema_input_type=said)


_TEXT = BeforeValidator(words.text)
_SHOW_SECONDS = PlainSerializer(units.show_seconds)
_SHOW_BYTES = PlainSerializer(units.show_size)
_SHOW_USD = PlainSerializer(units.show_usd)
_SHOW_SECRET = PlainSerializer(lambda _: MASK)

Text = Annotated[str, _TEXT]
Description = Annotated[str, _TEXT, AfterValidator(words.short)]
Size = Annotated[str, _TEXT, AfterValidator(spellings.size)]
Name = Annotated[str, BeforeValidator(words.name)]
Flag = Annotated[bool, BeforeValidator(words.boolean)]
Address = Annotated[str, BeforeValidator(words.web_address)]
Origin = Annotated[str, BeforeValidator(words.origin)]
Secret = Annotated[SecretStr, BeforeValidator(words.secret), _SHOW_SECRET]
SecretOrNone = Annotated[SecretStr | None, BeforeValidator(words.secret_or_none), _SHOW_SECRET]
KeyDigest = Annotated[str, BeforeValidator(words.digest), PlainSerializer(words.show_digest)]
BaseAddress = Annotated[Address, AfterValidator(_without_version)]
TimeZone = Annotated[str, _TEXT, AfterValidator(_zone)]
Seconds = Annotated[float, BeforeValidator(units.duration("1ms", "1d")), _SHOW_SECONDS]
SecondsOrNone = Annotated[float, BeforeValidator(units.duration("0s", "1d")), _SHOW_SECONDS]
WholeDays = Annotated[float, BeforeValidator(units.duration("1d", "36500d")), _SHOW_SECONDS]
Days = Annotated[float, BeforeValidator(units.duration("1s", "36500d")), _SHOW_SECONDS]
Bytes = Annotated[int, BeforeValidator(units.size("1KB", "1000TB")), _SHOW_BYTES]
BodyBytes = Annotated[int, BeforeValidator(units.size("1KB", "64MiB")), _SHOW_BYTES]
UploadBytes = Annotated[int, BeforeValidator(units.size("1KB", "1GB")), _SHOW_BYTES]
FloorBytes = Annotated[int, BeforeValidator(units.size("0B", "1000TB")), _SHOW_BYTES]
CacheBytes = Annotated[int, BeforeValidator(units.size("0B", "1000TB")), _SHOW_BYTES]
Price = Annotated[int, BeforeValidator(units.usd_micros), _SHOW_USD]
MoneyAboveZero = Annotated[
    int,
    BeforeValidator(
        units.usd_micros_above_zero, json_schema_input_type=Annotated[float, Field(gt=0)]
    ),
    _SHOW_USD,
]
HeaderLine = Annotated[str, BeforeValidator(words.header_line)]
Webhook = Annotated[
    SecretStr | None, BeforeValidator(words.webhook), PlainSerializer(words.show_webhook)
]
Proxy = Annotated[SecretStr | None, BeforeValidator(words.proxy), PlainSerializer(words.show_proxy)]
Percent = Annotated[int, BeforeValidator(units.percent), PlainSerializer(units.show_percent)]
LedgerPlace = Annotated[Text, AfterValidator(words.ledger)]
PicturesPlace = Annotated[Text, AfterValidator(words.pictures)]
Count = Annotated[int, whole(1, 1_000_000_000)]
Format = Annotated[LogFormat, BeforeValidator(words.choice(LogFormat)), PlainSerializer(str)]
Level = Annotated[LogLevel, BeforeValidator(words.choice(LogLevel)), PlainSerializer(str)]
Per = Annotated[BudgetWindow, BeforeValidator(words.choice(BudgetWindow)), PlainSerializer(str)]
Control = Annotated[
    ClientControl, BeforeValidator(words.choice(ClientControl)), PlainSerializer(str)
]
Scope = Annotated[CacheScope, BeforeValidator(words.choice(CacheScope)), PlainSerializer(str)]
References = Annotated[
    ReferenceMode, BeforeValidator(words.choice(ReferenceMode)), PlainSerializer(str)
]
TeamMode = Annotated[Mode, BeforeValidator(words.choice(Mode)), PlainSerializer(str)]
FreeValue = Annotated[object, BeforeValidator(words.json_value)]
