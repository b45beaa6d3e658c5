"""The connection of the operator's commands to the admin API, and how its failures are told.

Exit status 1: the gateway said no, in its own words. 2: there was no answer of a gateway, or the
command was given wrongly. The admin key is sent to the gateway's address and printed nowhere.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import click

from gateway.cli.formats import cut, plain, plain_lines
from gateway.cli.tables import say
from gateway.core.addresses import is_loopback

if TYPE_CHECKING:
    import httpx2 as httpx

DEFAULT_URL: Final = "http://127.0.0.1:8080"
URL_VARIABLE: Final = "GATEWAY_URL"
KEY_VARIABLE: Final = "GATEWAY_ADMIN_KEY"
EXIT_REFUSED: Final = 1
EXIT_UNANSWERED: Final = 2
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
"""Between two pieces of an answer; a report over years of many teams takes seconds."""

LARGEST_ANSWER_BYTES: Final = 64_000_000
"""What is held in memory to be drawn as a table; what is only passed on has no limit."""

KEY_TEXT: Final = re.compile(r"[\x21-\x7e]+")


class RequestRefused(click.ClickException):
    """The gateway's own no."""

    exit_code = EXIT_REFUSED


class Unanswered(click.ClickException):
    """No gateway, or none that could be understood."""

    exit_code = EXIT_UNANSWERED


class Operator:
    """One operator's connection to one gateway, for one command."""

    def __init__(self, *, url: str, key: str | None, as_json: bool) -> None:
        self.url = _base(url)
        self.as_json = as_json
        self._key = _checked(key)
        self._client: httpx.Client | None = None

    def __enter__(self) -> Operator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> bytes:
        """The JSON of a successful answer. Raises `RequestRefused` or `Unanswered`, as all here."""
        with self._opened("GET", path, query=query) as response:
            return self._whole(response)

    def send(self, method: str, path: str, body: object = None) -> bytes:
        """The JSON of a successful answer to a change."""
        with self._opened(method, path, body=body) as response:
            return self._whole(response)

    def copy(self, path: str, query: Mapping[str, str | int | None], *, media_type: str) -> None:
        """Writes an answer to standard output as it comes, byte for byte, of any length."""
        out = sys.stdout.buffer
        with self._opened("GET", path, query=query) as response:
            self._expect(response, media_type)
            for block in response.iter_bytes():
                out.write(block)
        if media_type == "application/json":
            out.write(b"\n")
        out.flush()

    def read(self, answer: bytes) -> Any:
        """The object that an answer is. Raises `Unanswered`."""
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._stranger(200, "application/json", answer)
        return value

    def show(self, answer: bytes, text: Callable[[Any], str | Iterable[str]]) -> None:
        """Prints an answer: as it is with `--json`, else the text or lines that are made of it."""
        if self.as_json:
            self.show_json(answer)
            return
        with self.understood():
            made = text(self.read(answer))
            shown = made if isinstance(made, str) else "\n".join(made)
        say(shown)

    def show_json(self, answer: bytes) -> None:
        say(answer.decode("utf-8", "replace").rstrip("\n"))

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

    # --- the wire --------------------------------------------------------------------------------

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: object = None,
    ) -> Iterator[httpx.Response]:
        """The successful answer, its body still to come."""
        import httpx2 as httpx

        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            with self._connection().stream(
                method, f"{self.url}/admin/v1/{path}", params=asked, json=body
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unanswered(_unreachable(self.url, str(error))) from error
        except httpx.TimeoutException as error:
            raise Unanswered(
                f"{self.url} did not answer within {ANSWER_SECONDS:.0f} s." + _doubt(method)
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unanswered(
                f"the connection to {self.url} failed: {plain(str(error))}." + _doubt(method)
            ) from error

    def _connection(self) -> httpx.Client:
        import httpx2 as httpx

        if self._client is None:
            local = is_loopback(urlsplit(self.url).hostname or "")
            self._client = httpx.Client(
                headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                # A proxy of the environment is for other machines, and would be given the key.
                trust_env=not local,
                # Reading the system's certificates takes longer than most answers.
                verify=not (local and self.url.startswith("http://")),
            )
        return self._client

    def _whole(self, response: httpx.Response) -> bytes:
        self._expect(response, "application/json")
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

    def _expect(self, response: httpx.Response, media_type: str) -> None:
        found = _media_type(response)
        if found != media_type:
            raise self._stranger(response.status_code, found, self._start(response))

    def _start(self, response: httpx.Response) -> bytes:
        """Enough of a body for its message."""
        start = b""
        for block in response.iter_bytes():
            start += block
            if len(start) > 65_536:
                break
        return start

    def _refusal(self, response: httpx.Response) -> click.ClickException:
        start = self._start(response)
        try:
            message = json.loads(start)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            return self._stranger(response.status_code, _media_type(response), start)
        hint = ""
        if response.status_code == 401:
            hint = f"\nIs --key or {KEY_VARIABLE} a key whose digest is in server.admin_keys?"
        return RequestRefused(plain_lines(str(message)) + hint)

    def _stranger(self, status: int, media_type: str, start: bytes) -> Unanswered:
        text = plain(re.sub(r"<[^>]*>", " ", start.decode("utf-8", "replace"))).strip()
        # A proxy's page may repeat the request's headers.
        text = text.replace(self._key, "***")
        told = f' ("{cut(text, 100)}")' if text else ""
        return Unanswered(
            f"{self.url} answered {status} with {plain(media_type) or 'no media type'}, not as a"
            f" gateway does{told}: is something else there, or a proxy in between?"
        )


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command its `Operator` as the first argument, and the options that make one."""

    @click.option(
        "--url",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Where the gateway is.",
    )
    @click.option("--key", envvar=KEY_VARIABLE, show_envvar=True, help="The admin key.")
    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON as it is.")
    @functools.wraps(command)
    def with_operator(*, url: str, key: str | None, as_json: bool, **given: Any) -> None:
        _check_text(given.values())
        with Operator(url=url, key=key, as_json=as_json) as operator:
            command(operator, **given)

    return with_operator


def _check_text(given: Iterable[Any]) -> None:
    """Raises UsageError for what was typed in bytes that are no text."""
    for value in given:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and not _is_text(text):
                raise click.UsageError(f"{plain(text)!r} is no valid UTF-8.")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of(*parts: str) -> str:
    """A path below `/admin/v1/`. Raises UsageError for a part that would lead elsewhere."""
    for part in parts:
        if part in ("", ".", ".."):
            raise click.UsageError(f"{part!r} is no name and no id.")
    return "/".join(quote(part, safe="") for part in parts)


confirmed = click.option("--yes", is_flag=True, help="Do not ask.")
"""The option of a command that asks with `confirm`."""


def confirm(question: str, *, yes: bool) -> None:
    """Returns when a person at the terminal, or `--yes`, agrees; else ends the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask here: say --yes.")
    click.confirm(question, abort=True, err=True)


def _base(url: str) -> str:
    """The gateway's address without what clients often have behind it. Raises `Unanswered`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        usable = usable and "@" not in parts.netloc and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or re.search(r"[\s\\]", url):
        raise Unanswered(
            f"--url (or {URL_VARIABLE}) must be an address such as {DEFAULT_URL}, without user"
            " name, query or fragment."
        )
    return url.rstrip("/").removesuffix("/admin/v1").removesuffix("/v1").rstrip("/")


def _checked(key: str | None) -> str:
    if not key:
        raise Unanswered(
            f"this needs an admin key: set {KEY_VARIABLE}, or give --key. The gateway knows it by"
            " its digest in server.admin_keys; that of 'serve --sandbox' is admin-demo-key."
        )
    if not KEY_TEXT.fullmatch(key):
        raise Unanswered(
            f"--key (or {KEY_VARIABLE}) has spaces, line breaks or letters that no key has."
        )
    return key


def _unreachable(url: str, reason: str) -> str:
    return (
        f"cannot reach {url}: {plain(reason) or 'no connection'}. Start a gateway there with"
        f" 'image-gateway serve', or say where it is with --url or {URL_VARIABLE}."
    )


def _doubt(method: str) -> str:
    return "" if method == "GET" else " Whether the change was made is not known: look first."


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
