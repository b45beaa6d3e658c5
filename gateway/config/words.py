"""Settings of words: text, truths, choices, names, secrets, digests, addresses.

Every reader takes what stands in the file, returns the typed value, and raises ValueError with
a sentence that says what would be right. A message never shows text that came from outside the
file, nor any text of a field that may hold a secret. The types at the end join each reader with
how its value is shown again. It must not know any setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr

from gateway.config.document import Scalar
from gateway.core.addresses import check_url, is_host
from gateway.core.catalog import CacheScope, ClientControl, Mode, ReferenceMode
from gateway.core.money.accounts import Window
from gateway.core.orders import spellings
from gateway.core.proxies import masked, proxy_problem

E = TypeVar("E", bound=StrEnum)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HEX = re.compile(r"[0-9a-fA-F]{64}")
DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
HEADER_TEXT = re.compile(r"[\x21-\x7e]+")
WEB = frozenset({"http", "https"})
MAKE_KEY = """key=$(openssl rand -hex 24); echo "$key"; printf %s "$key" | sha256sum"""
HOW_TO_DIGEST = "make one with: printf %s 'the-key' | sha256sum"
SHOWN_CHARACTERS = 40
MASK = "********"
DESCRIPTION_CHARACTERS = 1_000
OPERATOR_CHARACTERS = 64


def shown(value: object) -> str:
    """A value as an error message may repeat it."""
    if isinstance(value, Scalar) and value.outside:
        return "what ${NAME} stands for"
    if isinstance(value, str):
        return repr(str(value)[:SHOWN_CHARACTERS])
    kinds = {dict: "a mapping", list: "a list", tuple: "a list", type(None): "null"}
    return kinds.get(type(value)) or repr(value)


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}")
    if not value.strip():
        raise ValueError("must not be empty")
    return str(value)


def short(value: str) -> str:
    """Of text that stands in lists of everything."""
    if len(value) > DESCRIPTION_CHARACTERS:
        raise ValueError(f"must have at most {DESCRIPTION_CHARACTERS} characters, not {len(value)}")
    return value


def boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"must be true or false, not {shown(value)}")


def choice(kind: type[E]) -> Callable[[object], E]:
    """A reader of one word of `kind`."""

    def read(value: object) -> E:
        words = [member.value for member in kind]
        if isinstance(value, str) and value in words:
            return kind(str(value))
        listed = ", ".join(words[:-1]) + f" or {words[-1]}"
        raise ValueError(f"must be {listed}, not {shown(value)}{suggestion(value, words)}")

    return read


def nearest(value: object, words: Iterable[str]) -> str | None:
    """The one of `words` that `value` is probably a slip of."""
    close = get_close_matches(str(value), list(words), n=1) if isinstance(value, str) else []
    return close[0] if close else None


def suggestion(value: object, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` when `value` is close to one of `words`, else nothing."""
    near = nearest(value, words)
    return f"; did you mean {near!r}?" if near else ""


def name(value: object) -> str:
    written = text(value)
    if not NAME.fullmatch(written):
        raise ValueError(
            "a name is at most 128 letters, digits and . _ : / - and starts with a letter or digit"
        )
    return written


def secret(value: object) -> str:
    """A secret that can stand in an HTTP header; no message ever shows it."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if not value:
        raise ValueError("must not be empty")
    if not HEADER_TEXT.fullmatch(value):
        raise ValueError("contains spaces, line breaks or characters that are not ASCII")
    return str(value)


def optional(read: Callable[[object], str]) -> Callable[[object], str | None]:
    """A reader of what may be left out: `${NAME:-}` gives empty text."""
    return lambda value: None if value is None or value == "" else read(value)


def header_line(value: object) -> str:
    """Text that can stand in an HTTP header, spaces inside included."""
    written = text(value)
    if not re.fullmatch(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*", written):
        raise ValueError("must be one line of ASCII text")
    return written


def version(value: object) -> str:
    """Text that stands as it is in the query of an address."""
    written = text(value)
    if not VERSION.fullmatch(written):
        raise ValueError("must be letters, digits and . _ -, such as 2025-04-01-preview")
    return written


def folder(value: str) -> str:
    """No shell has read it: nothing stands for a home folder."""
    if not value.startswith("~"):
        return value
    home = "a leading ~ does not stand for a home folder here: write ${HOME}"
    raise ValueError(f"{home}/... or the whole path; ./~ is a folder of that name")


def digest(value: object) -> str:
    """`sha256:<64 hex>` to the 64 hex characters, lower case; no message ever shows it."""
    found = DIGEST.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be sha256: and 64 hex characters; {HOW_TO_DIGEST}")
    return found[1].lower()


def sha256(value: object) -> str:
    """The same where the field says what it is: the prefix may be left out."""
    return digest(f"sha256:{value}" if HEX.fullmatch(str(value)) else value)


def operator(value: object) -> str:
    """What an operator is called in the record of changes, so that no two can be mistaken."""
    written = text(value)
    if (
        len(written) > OPERATOR_CHARACTERS
        or not written.isprintable()
        or written != written.strip()
    ):
        raise ValueError(
            f"an operator's name is one line of at most {OPERATOR_CHARACTERS} characters"
        )
    if re.fullmatch("[0-9a-f]{12}", written):
        raise ValueError(
            "must not look like the digest of a key, which is how those without are told"
        )
    return written


def show_digest(hexadecimal: str) -> str:
    return f"sha256:{hexadecimal[:8]}..."


def web_address(value: object) -> str:
    """An http or https address without credentials, query or trailing slash; never shown."""
    written = text(value)
    try:
        parts = urlsplit(written)
        usable = parts.scheme in WEB and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or re.search(r"[\s\\]", written):
        raise ValueError("must be an address that starts with https:// or http://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must have no user name, query or fragment in it")
    if not is_host(parts.hostname or ""):
        raise ValueError("must be an address as a browser shows it: nothing has such a host")
    return written.rstrip("/")


def origin(value: object) -> str:
    """What a browser sends as `Origin`: scheme, host, and a port that is not the usual one."""
    address = web_address(value)
    parts = urlsplit(address)
    if parts.path:
        raise ValueError("must be an origin such as https://app.example.com, without a path")
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = (parts.hostname or "").lower()
    if "*" in host:
        raise ValueError("must be one origin, without '*'; name each of them")
    if not host.isascii():
        host = _as_browsers_write(host)
    shown_host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{shown_host}{port}"


def _as_browsers_write(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("must be an address that starts with https:// or http://") from None


def webhook(value: object) -> str:
    """An http or https address of a receiver; what follows the host may be a secret."""
    written = text(value)
    problem = check_url(written, schemes=WEB, allow_private=True)
    if problem is not None:
        raise ValueError("must be an address that starts with https:// or http://")
    return written


def show_webhook(value: SecretStr | None) -> str | None:
    """The receiver's host; the path of a chat program's webhook is as good as a key."""
    if value is None:
        return None
    parts = urlsplit(value.get_secret_value())
    return f"{parts.scheme}://{parts.netloc}/..."


def proxy(value: object) -> str:
    """An http or https proxy, whose user name and password may be in it."""
    written = text(value)
    problem = proxy_problem(written)
    if problem is not None:
        raise ValueError(problem)
    return written


def show_proxy(value: SecretStr | None) -> str | None:
    return None if value is None else masked(value.get_secret_value())


def json_value(value: object) -> object:
    """A free value: quoted text is text, unquoted text reads as JSON's numbers and truths."""
    if isinstance(value, dict):
        return {key: json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_value(inner) for inner in value]
    if not isinstance(value, Scalar):
        return value
    if not value.plain or value.outside:
        return str(value)
    if value in ("true", "false"):
        return value == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})", value):
        return int(value)
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,14}", value):
        return float(value)
    return str(value)


def time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        close = suggestion(name, available_timezones())
        raise ValueError(f"must be an IANA time zone such as Europe/Paris{close}") from None
    return name


def without_version(address: str) -> str:
    """Clients are often given the base with `/v1`; the paths below it are ours to add."""
    return address.removesuffix("/v1")


# --- the types -----------------------------------------------------------------------------------


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class HandOver(StrEnum):
    """How a proxy in front is told to send a picture's file itself."""

    NONE = "none"
    X_ACCEL_REDIRECT = "x-accel-redirect"
    X_SENDFILE = "x-sendfile"


class BudgetWindow(StrEnum):
    """The windows of budgets and picture counts; the core has `minute` for runs besides."""

    HOUR = Window.HOUR
    DAY = Window.DAY
    WEEK = Window.WEEK
    MONTH = Window.MONTH
    TOTAL = Window.TOTAL


_TEXT = BeforeValidator(text)
_SHOW_SECRET = PlainSerializer(lambda _: MASK)

Text = Annotated[str, _TEXT]
Description = Annotated[str, _TEXT, AfterValidator(short)]
Size = Annotated[str, _TEXT, AfterValidator(spellings.size)]
Name = Annotated[str, BeforeValidator(name)]
Flag = Annotated[bool, BeforeValidator(boolean)]
Address = Annotated[str, BeforeValidator(web_address)]
Origin = Annotated[str, BeforeValidator(origin)]
Secret = Annotated[SecretStr, BeforeValidator(secret), _SHOW_SECRET]
SecretOrNone = Annotated[SecretStr | None, BeforeValidator(optional(secret)), _SHOW_SECRET]
KeyDigest = Annotated[str, BeforeValidator(digest), PlainSerializer(show_digest)]
Sha256 = Annotated[str, BeforeValidator(sha256), PlainSerializer(show_digest)]
Operator = Annotated[str, BeforeValidator(operator)]
TimeZone = Annotated[str, _TEXT, AfterValidator(time_zone)]
HeaderLine = Annotated[str, BeforeValidator(header_line)]
HeaderLineOrNone = Annotated[str | None, BeforeValidator(optional(header_line))]
VersionOrNone = Annotated[str | None, BeforeValidator(optional(version))]
Webhook = Annotated[
    SecretStr | None, BeforeValidator(optional(webhook)), PlainSerializer(show_webhook)
]
Proxy = Annotated[SecretStr | None, BeforeValidator(optional(proxy)), PlainSerializer(show_proxy)]
Folder = Annotated[Text, AfterValidator(folder)]
AddressOrNone = Annotated[str | None, BeforeValidator(optional(web_address))]
Format = Annotated[LogFormat, BeforeValidator(choice(LogFormat)), PlainSerializer(str)]
Handing = Annotated[HandOver, BeforeValidator(choice(HandOver)), PlainSerializer(str)]
Level = Annotated[LogLevel, BeforeValidator(choice(LogLevel)), PlainSerializer(str)]
Per = Annotated[BudgetWindow, BeforeValidator(choice(BudgetWindow)), PlainSerializer(str)]
Control = Annotated[ClientControl, BeforeValidator(choice(ClientControl)), PlainSerializer(str)]
Scope = Annotated[CacheScope, BeforeValidator(choice(CacheScope)), PlainSerializer(str)]
References = Annotated[ReferenceMode, BeforeValidator(choice(ReferenceMode)), PlainSerializer(str)]
TeamMode = Annotated[Mode, BeforeValidator(choice(Mode)), PlainSerializer(str)]
FreeValue = Annotated[object, BeforeValidator(json_value)]
