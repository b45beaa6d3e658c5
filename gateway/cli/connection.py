"""A command's connection to a running gateway: where it is, and how every failure is told.

Exit status 1: the gateway said no, in its own words. 2: there was no answer of a gateway, or the
command was given wrongly. The key is sent to the gateway's address and printed nowhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import click

from gateway.cli.formats import cut, plain, plain_lines
from gateway.cli.unanswered import TLS_WANTED, base_of, broken, redirected, speaks_tls, unreachable
from gateway.core.addresses import is_loopback

if TYPE_CHECKING:
    import httpx2 as httpx

EXIT_REFUSED: Final = 1
EXIT_UNANSWERED: Final = 2
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
"""Between two pieces of an answer; a report over years of many teams takes seconds."""

LARGEST_ANSWER_BYTES: Final = 64_000_000
"""What is held in memory to be drawn as a table; what is only passed on has no limit."""

KEY_TEXT: Final = re.compile(r"[\x21-\x7e]+")
READS: Final = ("GET", "HEAD")


class RequestRefused(click.ClickException):
    """The gateway's own no."""

    exit_code = EXIT_REFUSED

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unanswered(click.ClickException):
    """No gateway, or none that could be understood."""

    exit_code = EXIT_UNANSWERED


class Cut(Unanswered):
    """The request may have arrived: its answer did not."""


class Connection:
    """To one gateway, for one command; `key` is None for what anybody may ask."""

    def __init__(self, *, url: str, key: str | None = None) -> None:
        """Raises `Unanswered` for a `url` that is no address."""
        self.url = _address(url)
        self._key = key
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        *,
        fine: tuple[int, ...] = (200,),
        query: Mapping[str, str | int | None] | None = None,
        **request: Any,
    ) -> Iterator[httpx.Response]:
        """An answer with one of the statuses that are `fine`, its body still to come.

        Raises `RequestRefused` or `Unanswered`, as all here.
        """
        import httpx2 as httpx

        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            with self._connection().stream(
                method, f"{self.url}{path}", params=asked, **request
            ) as response:
                if response.status_code not in fine:
                    raise self._refusal(path, response)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unanswered(unreachable(self.url, error)) from error
        except httpx.TimeoutException as error:
            raise Cut(
                f"{self.url} did not answer within {ANSWER_SECONDS:.0f} s." + _doubt(method)
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Cut(broken(self.url, error) + _doubt(method)) from error

    def whole(self, response: httpx.Response, media_type: str = "application/json") -> bytes:
        """The body of an answer that is held in memory."""
        self.expect(response, media_type)
        pieces, size_bytes = [], 0
        for block in response.iter_bytes():
            size_bytes += len(block)
            if size_bytes > LARGEST_ANSWER_BYTES:
                raise Unanswered(
                    f"the answer is larger than {LARGEST_ANSWER_BYTES // 1_000_000} MB:"
                    " ask for less of it with filters."
                )
            pieces.append(block)
        return b"".join(pieces)

    def read(self, answer: bytes) -> Any:
        """The object that an answer is."""
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self._stranger(200, "application/json", answer)
        return value

    def expect(self, response: httpx.Response, media_type: str) -> None:
        found = _media_type(response)
        if found != media_type:
            raise self._stranger(response.status_code, found, _start(response))

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Around what reads an answer: one of another shape is told, not a defect of ours."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            message = (
                f"{self.url} answered in a shape that this command does not know ({error!r}): its"
                " version may be another. With --json the answer is printed as it is."
            )
            raise Unanswered(plain(message)) from error

    def _connection(self) -> httpx.Client:
        import httpx2 as httpx

        if self._client is None:
            local = is_loopback(urlsplit(self.url).hostname or "")
            headers = {"Accept": "application/json"}
            if self._key is not None:
                headers["Authorization"] = f"Bearer {self._key}"
            self._client = httpx.Client(
                headers=headers,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                # A proxy of the environment is for other machines, and would be given the key.
                trust_env=not local,
                # Reading the system's certificates takes longer than most answers.
                verify=httpx.create_ssl_context() if self.url.startswith("https://") else False,
            )
        return self._client

    def _refusal(self, path: str, response: httpx.Response) -> click.ClickException:
        start, status = _start(response), response.status_code
        if location := response.headers.get("location", ""):
            return Unanswered(redirected(self.url, path, status, location))
        try:
            said = json.loads(start)
            error = said.get("error") or {"message": said["msg"], "code": ""}  # of the file API
            message, code = str(error["message"]), str(error.get("code"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return self._stranger(status, _media_type(response), start)
        hint = self._key_hint() if status == 401 else _patience(response)
        return RequestRefused(plain_lines(message) + hint, status=status, code=code)

    def _key_hint(self) -> str:
        """What to look at when the key is not taken, on a line of its own."""
        return ""

    def _stranger(self, status: int, media_type: str, start: bytes) -> Unanswered:
        text = plain(re.sub(r"<[^>]*>", " ", start.decode("utf-8", "replace"))).strip()
        # A proxy's page may repeat the request's headers.
        text = text.replace(self._key, "***") if self._key else text
        if TLS_WANTED.search(text):
            return Unanswered(speaks_tls(self.url))
        told = f' ("{cut(text, 100)}")' if text else ""
        return Unanswered(
            f"{self.url} answered {status} with {plain(media_type) or 'no media type'}, not as a"
            f" gateway does{told}: is something else there, or a proxy in between?"
        )


def checked_key(key: str | None, *, option: str, missing: str) -> str:
    """The key as it can be sent. Raises `Unanswered`; `missing` says how to come by one."""
    if not key:
        raise Unanswered(missing)
    if not KEY_TEXT.fullmatch(key):
        raise Unanswered(f"{option} has spaces, line breaks or letters that no key has.")
    return key


def _address(url: str) -> str:
    try:
        return base_of(url)
    except ValueError as error:
        raise Unanswered(str(error)) from None


def _start(response: httpx.Response) -> bytes:
    """Enough of a body for its message."""
    start = b""
    for block in response.iter_bytes():
        start += block
        if len(start) > 65_536:
            break
    return start


def _patience(response: httpx.Response) -> str:
    seconds = response.headers.get("retry-after", "")
    return f"\nTry again in {seconds} s." if seconds.isascii() and seconds.isdigit() else ""


def _doubt(method: str) -> str:
    known = " Whether the change was made is not known: look first."
    return "" if method in READS else known


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
