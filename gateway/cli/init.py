"""`image-gateway init`: the settings of a new installation, and the key of its operator.

The admin key goes to standard output, alone and once, before the settings that know its digest have
their name: whatever stops this command, there are never settings whose key nobody has seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from gateway.cli.init_words import Done, warnings, what_next
from gateway.cli.placing import NewFile, held
from gateway.config import SettingsError, parse
from gateway.config.document import VARIABLE_NAME
from gateway.config.first_settings import (
    ALERT_VARIABLE,
    KEY_VARIABLE,
    METRICS_KEY_NAME,
    UPSTREAM_URL,
    FirstSettings,
    first_settings_yaml,
    upstream_address,
)
from gateway.config.sandbox import digest_of
from gateway.config.schema import ServerSettings
from gateway.config.words import MAKE_KEY, web_address, without_version

SETTINGS_NAME: Final = "config.yaml"
WRITTEN_SETTINGS: Final = {
    "compose": "deploy/config.yaml",
    "replicas": "deploy/replicas/config.yaml",
}
ENVIRONMENT_NAME: Final = ".env"
METRICS_KEY: Final = re.compile(r"[\x21-\x7e]{16,}")
ADDRESS: Final = re.compile(r"""[^\x00-\x20"'<>`{}|^$\ud800-\udfff]*[^:"'<>`{}|^$]""")
"""Beyond what the settings demand: it stands in every link, and in commands that are copied."""
SECRET_BYTES: Final = 24


@click.command("init", short_help="Write the settings of a new installation, and make its key.")
@click.option(
    "--public-url",
    help="The address under which clients reach the gateway, such as https://images.example.org.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where config.yaml is written.  [default: this folder]",
)
@click.option(
    "--upstream-key",
    help="Where the vendor's key will stand: the name of an environment variable, or the absolute"
    f" path of a file.  [default: {KEY_VARIABLE}]",
)
@click.option(
    "--upstream",
    "upstream_url",
    envvar="EVOLINK_URL",
    default=UPSTREAM_URL,
    show_default=True,
    show_envvar=True,
    help="The vendor, or for a rehearsal the address of 'image-gateway sandbox'.",
)
@click.option("--data-dir", help="Where pictures and ledger go.  [default: data, in --dir]")
@click.option("--host", default=ServerSettings().host, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=ServerSettings().port,
    show_default=True,
    help="Port to listen on.",
)
@click.option(
    "--compose",
    is_flag=True,
    help="Write the .env of deploy/compose.yaml instead, whose settings are there already.",
)
@click.option(
    "--replicas",
    is_flag=True,
    help="The same for deploy/replicas/compose.yaml: several gateways, PostgreSQL and a bucket.",
)
def init_command(folder: Path, **given: Any) -> None:
    """Write the settings of a new installation, and make its admin key.

    Asks for what is missing, if there is a terminal. The settings are short, valid, and for your
    eyes only; an existing file is never touched. The admin key is alone on standard output, now
    and never again: the file holds its digest. The vendor's key is not asked for: the settings
    say where it will stand.

    \b
      image-gateway init --public-url https://images.example.org
      image-gateway init --public-url https://images.example.org --dir /etc/image-gateway \\
        --data-dir /var/lib/image-gateway --upstream-key /etc/image-gateway/evolink.key
      image-gateway init --public-url https://localhost --upstream http://127.0.0.1:8090 \\
        --dir rehearsal        # against 'image-gateway sandbox': nothing is paid
    """
    if sys.stdout is None:
        raise click.ClickException("standard output is closed: the admin key is shown there, once.")
    replicas = given.pop("replicas")
    compose = given.pop("compose") or replicas
    if compose:
        _refuse_all_but_the_address("replicas" if replicas else "compose")
    name = ENVIRONMENT_NAME if compose else SETTINGS_NAME
    try:
        folder = _absolute(folder)
        _refuse_existing(folder / name)  # before anything is asked
        chosen = replace(_chosen(folder, **given), replicas=replicas)
        if replicas:
            _refuse_all_but_a_name(chosen.public_url)
        with held(folder):
            _refuse_existing(folder / name)
            done = _compose(folder, chosen) if compose else _native(folder, chosen)
    except OSError as error:
        where = error.filename or folder
        message = f"{where}: {error.strerror or error}. Nothing was set up."
        raise click.ClickException(message) from None
    with contextlib.suppress(OSError):  # all is there, whoever may still read this
        click.echo("\n".join([*warnings(chosen), *what_next(done)]), err=True)


def _refuse_all_but_the_address(option: str) -> None:
    """The settings of compose are written already; what they say cannot be chosen here."""
    context = click.get_current_context()
    for name in ("upstream_key", "upstream_url", "data_dir", "host", "port"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"--{option}: leave {name.removesuffix('_url').replace('_', '-')} out:"
                f" {WRITTEN_SETTINGS[option]} says it."
            )


def _refuse_all_but_a_name(public_url: str) -> None:
    """The balancer of deploy/replicas serves a whole name, on the ports that it publishes."""
    parts = urlsplit(public_url)
    if parts.path or parts.port not in (None, 80, 443):
        raise click.UsageError(
            "--replicas: its balancer serves a name of its own on the usual ports, such as"
            f" https://{parts.hostname}: without {parts.path or f':{parts.port}'}."
        )


def _absolute(folder: Path) -> Path:
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 (links stay as named)
    for path in (absolute, *absolute.parents):
        if path.exists() and not path.is_dir():
            raise click.UsageError(f"--dir: {path} is a file; name a folder.")
    return absolute


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise click.ClickException(
            f"{path} exists, and was not touched: an installation is there already. Name another"
            " folder with --dir, or move the file away first.\n"
            "If only its admin key is lost, make another and put its digest into admin_keys:\n"
            f"  {MAKE_KEY}"
        )


# --- what is chosen ------------------------------------------------------------------------------


def _chosen(
    folder: Path, *, public_url: str | None, upstream_key: str | None, **given: Any
) -> FirstSettings:
    """What was given, and what a person at the terminal answers."""
    asked = public_url is None
    if asked and not _somebody():
        raise click.UsageError(
            "there is nobody to ask here: say --public-url, the address under which clients will"
            " reach the gateway, such as https://images.example.org."
        )
    url = _answer("Address under which clients reach the gateway", public_url, _public_url)
    if upstream_key is None and asked:
        question = f"Where the vendor's key will stand: a variable or a file [{KEY_VARIABLE}]"
        key = _answer(question, None, _key_source, default=KEY_VARIABLE)
    else:
        key = _answer("", KEY_VARIABLE if upstream_key is None else upstream_key, _key_source)
    try:
        upstream = upstream_address(without_version(web_address(given["upstream_url"])))
    except ValueError as error:
        raise click.UsageError(f"--upstream (or EVOLINK_URL): {error}.") from None
    first = FirstSettings(
        public_url=url,
        admin_key=digest_of("-"),
        metrics_key=digest_of("--"),
        data_dir=_data_dir(folder, given["data_dir"]),
        api_key=key,
        upstream_url=upstream,
        host=given["host"],
        port=given["port"],
    )
    _prove(first)
    return first


def _somebody() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _answer(
    question: str, given: str | None, read: Callable[[str], str], *, default: str = ""
) -> str:
    """What `read` makes of what was given or is typed. What is asked leaves stdout to the key."""
    if given is not None:
        try:
            return read(given)
        except ValueError as error:
            raise click.UsageError(_sentence(error)) from None
    while True:
        click.echo(f"{question}: ", err=True, nl=False)
        line = sys.stdin.readline()
        if not line:
            raise click.Abort
        try:
            return read(line.strip() or default)
        except ValueError as error:
            click.echo(_sentence(error), err=True)


def _sentence(error: ValueError) -> str:
    said = str(error)
    return said if said.endswith("?") else f"{said}."


def _public_url(text: str) -> str:
    try:
        url = without_version(web_address(text))
        if not ADDRESS.fullmatch(url):
            raise ValueError("must be an address as a browser shows it")
    except ValueError as error:
        scheme = "" if "://" in text or not text else f"; did you mean https://{text}?"
        raise ValueError(f"--public-url: {error}{scheme}") from None
    return url


def _key_source(text: str) -> str:
    """The reference that stands in the file. What may be the key itself is not said again."""
    if re.fullmatch(VARIABLE_NAME, text):
        return f"${{{text}}}"
    if re.fullmatch(r"/[^\x00-\x1f}]+", text):
        return f"${{file:{text}}}"
    raise ValueError(
        "--upstream-key: neither the name of a variable, such as EVOLINK_API_KEY, nor the absolute"
        " path of a file. It says where the key will stand; the key itself stays out of arguments,"
        " which other programs can read"
    )


def _data_dir(folder: Path, given: str | None) -> str:
    """An absolute path: another folder to start from must not be another ledger."""
    return os.path.abspath(folder / (given or "data"))  # noqa: PTH100


def _prove(first: FirstSettings) -> None:
    """Raises UsageError for what no settings take, before anything is written."""
    text = first_settings_yaml(replace(first, api_key="sk-proof"))
    try:
        text.encode()
        settings = parse(text, {})
    except UnicodeEncodeError:
        raise click.UsageError("a path or name here is no valid UTF-8.") from None
    except SettingsError as error:
        said = "; ".join(f"{one.dotted} {one.message}".strip() for one in error.problems)
        raise click.UsageError(f"this gives no valid settings: {said}.") from None
    if settings.storage.data_dir != first.data_dir:
        raise click.UsageError("the data folder's name cannot stand in the settings.")


# --- what is written -----------------------------------------------------------------------------


def _native(folder: Path, chosen: FirstSettings) -> Done:
    with _metrics_key(folder / METRICS_KEY_NAME) as metrics:
        admin = _new_admin_key()
        keys = replace(chosen, admin_key=digest_of(admin), metrics_key=digest_of(metrics))
        _place(folder / SETTINGS_NAME, first_settings_yaml(keys), admin)
    return Done(folder / SETTINGS_NAME, chosen, compose=False)


def _compose(folder: Path, chosen: FirstSettings) -> Done:
    admin, metrics = _new_admin_key(), _new_key()
    lines = {
        KEY_VARIABLE: "",
        ALERT_VARIABLE: "",
        "PUBLIC_URL": chosen.public_url,
        "ADMIN_KEY_SHA256": _hexadecimal(admin),
        "METRICS_KEY": metrics,
        "METRICS_KEY_SHA256": _hexadecimal(metrics),
        "GRAFANA_PASSWORD": secrets.token_hex(12),
        **(_keys_of_the_stores() if chosen.replicas else {}),
    }
    text = "".join(f"{name}={value}\n" for name, value in lines.items())
    _place(folder / ENVIRONMENT_NAME, text, admin)
    return Done(folder / ENVIRONMENT_NAME, chosen, compose=True)


def _keys_of_the_stores() -> dict[str, str]:
    """Hexadecimal: the password stands in an address as it is."""
    return {
        "POSTGRES_PASSWORD": _new_key(),
        "AWS_ACCESS_KEY_ID": "gateway",
        "AWS_SECRET_ACCESS_KEY": _new_key(),
    }


def _place(path: Path, text: str, admin_key: str) -> None:
    """Shows the key and puts the file in its place; does neither when the key cannot be shown."""
    new = NewFile(path, text)
    try:
        _show(admin_key)
        try:
            new.put()
        except OSError:
            click.echo("The key above opens nothing:", err=True)
            raise
    finally:
        new.drop()


def _show(admin_key: str) -> None:
    try:
        click.echo(admin_key)
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # what is still held back is for nobody
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.ClickException(
            f"the admin key could not be shown: {error.strerror}. Nothing was set up."
        ) from None


@contextlib.contextmanager
def _metrics_key(path: Path) -> Iterator[str]:
    """The key in the file, which is made for the block and goes again when that fails."""
    if os.path.lexists(path):
        yield _read_metrics_key(path)
        return
    key = _new_key()
    NewFile(path, f"{key}\n").put()
    try:
        yield key
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read_metrics_key(path: Path) -> str:
    """That of an earlier time, which Prometheus may know already."""
    with path.open("rb") as file:
        key = file.read(1000).decode("ascii", "replace").strip()
    if not METRICS_KEY.fullmatch(key):
        raise click.ClickException(f"{path} is there and holds no key: move it away first.")
    return key


def _new_admin_key() -> str:
    """A form of its own, so that it is known again where it should not be."""
    return f"iga_{_new_key()}"


def _new_key() -> str:
    return secrets.token_hex(SECRET_BYTES)


def _hexadecimal(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
