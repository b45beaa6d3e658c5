"""The operator's commands and the admin API: their options, their names in paths, their questions.

How the connection behaves is told in `connection`; this is what all those commands share.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from gateway.cli.connection import Connection, RequestRefused, checked_key
from gateway.cli.formats import plain
from gateway.cli.names import meant
from gateway.cli.tables import say
from gateway.cli.unanswered import DEFAULT_URL, URL_VARIABLE

if TYPE_CHECKING:
    import httpx2 as httpx

ADMIN: Final = "/admin/v1/"
KEY_VARIABLE: Final = "GATEWAY_ADMIN_KEY"
TEAM_KEY: Final = "igw_"
"""How keys of teams begin that the gateway has made."""

NO_KEY: Final = (
    f"this needs an admin key: set {KEY_VARIABLE}, or give --key. The gateway knows it by its"
    " digest in server.admin_keys; that of 'serve --sandbox' is admin-demo-key."
)


class Operator(Connection):
    """One operator's connection to one gateway, for one command."""

    def __init__(self, *, url: str, key: str | None, as_json: bool) -> None:
        self.as_json = as_json
        option = f"--key (or {KEY_VARIABLE})"
        super().__init__(url=url, key=checked_key(key, option=option, missing=NO_KEY))

    def get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> bytes:
        """The JSON of a successful answer. Raises `RequestRefused` or `Unanswered`, as all here."""
        with self._asked("GET", path, query=query) as response:
            return self.whole(response)

    def send(self, method: str, path: str, body: object = None) -> bytes:
        """The JSON of a successful answer to a change."""
        with self._asked(method, path, json=body) as response:
            return self.whole(response)

    def copy(self, path: str, query: Mapping[str, str | int | None], *, media_type: str) -> None:
        """Writes an answer to standard output as it comes, byte for byte, of any length."""
        out = sys.stdout.buffer
        with self._asked("GET", path, query=query) as response:
            self.expect(response, media_type)
            for block in response.iter_bytes():
                out.write(block)
        if media_type == "application/json":
            out.write(b"\n")
        out.flush()

    @contextmanager
    def _asked(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """An answer of the admin API; of a name that nobody has it is said which was meant."""
        try:
            with self.opened(method, f"{ADMIN}{path}", **request) as response:
                yield response
        except RequestRefused as refused:
            if not (hint := meant(self, path, refused.code)):
                raise
            message = refused.message + hint
            raise RequestRefused(message, status=refused.status, code=refused.code) from None

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

    def _key_hint(self) -> str:
        if (self._key or "").startswith(TEAM_KEY):
            return "\nThis is a team's key: it opens nothing of an operator's."
        return f"\nIs --key or {KEY_VARIABLE} a key whose digest is in server.admin_keys?"


url_option = click.option(
    "--url",
    envvar=URL_VARIABLE,
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Where the gateway is.",
)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command its `Operator` as the first argument, and the options that make one."""

    @url_option
    @click.option("--key", envvar=KEY_VARIABLE, show_envvar=True, help="The admin key.")
    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON as it is.")
    @functools.wraps(command)
    def with_operator(*, url: str, key: str | None, as_json: bool, **given: Any) -> None:
        check_text(given.values())
        with Operator(url=url, key=key, as_json=as_json) as operator:
            command(operator, **given)

    return with_operator


def check_text(given: Iterable[Any]) -> None:
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
