"""Settings: one strict YAML file to typed values, or every problem at once with its place.

`load` and `parse` read; `sandbox_settings` needs no file; `convert` turns settings into the
core's types; `restart_needed` compares two sets for a reload. Importing this does no I/O.

    document.py   YAML text to a tree of text, each part with its place; problems
    units.py      kinds of settings with a number in them: how each is read and shown
    words.py      kinds of settings of words
    part.py       what every mapping of the file is
    schema.py     every setting: its kind, its default, whether a reload takes it over
    upstream_entry.py  those of an upstream, of whichever kind
    rules.py      what no single setting can know; others that end in _rules.py, each of its noun
    build.py      a document to settings, or every problem at once
    convert.py    settings to the core's types
    notices.py    what is allowed and yet worth a sentence
    reload.py     what of a change needs a restart, and what has changed
    first_settings.py  the file that an installation begins with
    managed.py    teams made at run time, held to the same rules
    sandbox.py    the settings of `serve --sandbox`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.config.build import build, listening
from gateway.config.convert import NO_KINDS, Kinds
from gateway.config.document import Problem, SettingsError, read_document
from gateway.config.reload import differences, digest, restart_needed
from gateway.config.rules import server_problems
from gateway.config.sandbox import sandbox_settings
from gateway.config.schema import ServerSettings, Settings, Storage

__all__ = [
    "Problem",
    "Settings",
    "SettingsError",
    "differences",
    "digest",
    "load",
    "load_listening",
    "parse",
    "parse_storage",
    "restart_needed",
    "sandbox_settings",
    "with_address",
]

FILE_LIMIT_BYTES = 1024 * 1024  # hundreds of teams fit into a tenth of it


def load(path: Path, environ: Mapping[str, str], kinds: Kinds = NO_KINDS) -> Settings:
    """Reads a settings file; `environ` answers `${NAME}`, `kinds` say what can be made. Raises
    SettingsError."""
    return parse(_text(path), environ, path.name, kinds)


def load_listening(path: Path, environ: Mapping[str, str]) -> ServerSettings:
    """Where the gateway of this file listens; in what else is wrong there the rest is the default.

    A running gateway keeps its last good settings, so a mistake in its file does not make it ill.
    Raises SettingsError, with every problem, where the mistake may be in the address itself.
    """
    document = read_document(_text(path), environ, path.name)
    return listening(document) or build(document).server


def _text(path: Path) -> str:
    name = path.name
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
        if len(content) > FILE_LIMIT_BYTES:
            raise SettingsError([Problem((), "larger than 1 MiB: is it a settings file?", name)])
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError([Problem((), f"cannot be read: {error.strerror}", str(path))]) from None
    except UnicodeDecodeError:
        raise SettingsError([Problem((), "is not UTF-8 text", name)]) from None


def parse(
    text: str,
    environ: Mapping[str, str],
    name: str = "config.yaml",
    kinds: Kinds = NO_KINDS,
) -> Settings:
    """Reads settings from YAML text; `name` stands in the problems. Raises SettingsError."""
    return build(read_document(text, environ, name), kinds)


def parse_storage(text: str, environ: Mapping[str, str], name: str) -> Storage:
    """The section `storage` of a text that may have no other one. Raises SettingsError."""
    document = read_document(text, environ, name)
    try:
        build(document)
    except SettingsError as error:
        own = [problem for problem in error.problems if problem.path[:1] in ((), ("storage",))]
        if own:
            raise SettingsError(own) from None
    value = document.value if isinstance(document.value, dict) else {}
    return Storage.model_validate(value.get("storage") or {})


def with_address(
    settings: Settings, *, host: str | None = None, port: int | None = None
) -> Settings:
    """The settings with another address to listen on, as `--host` and `--port` ask for.

    Raises SettingsError when the new host needs a `public_url` that the settings do not have.
    """
    update = {"host": host, "port": port}
    server = settings.server.model_copy(
        update={name: value for name, value in update.items() if value is not None}
    )
    changed = settings.model_copy(update={"server": server})
    problems = [Problem(*found) for found in server_problems(changed)]
    if problems:
        raise SettingsError(problems)
    return changed
