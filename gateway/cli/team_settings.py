"""A team's settings as they are given to `teams create` and `teams change`: options, or a file.

What they may be is the gateway's to judge; here they are only put into the shape that a team has
in the settings file. A value of None takes a setting away (RFC 7396).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final

import click

LIFTS: Final = ("none", "any")
"""Words that take a limit away."""


class _Amount(click.ParamType[Any]):
    """`50/day` as {"usd": 50, "per": "day"}; `none` stays."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self.name = "AMOUNT/WINDOW" if unit == "usd" else "COUNT/WINDOW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any] | str:
        if str(value) in LIFTS:
            return str(value)
        amount, _, window = str(value).removeprefix("$").partition("/")
        form = r"[0-9]{1,15}" if self._unit == "count" else r"[0-9]{1,15}(\.[0-9]{1,15})?"
        if not re.fullmatch(form, amount) or not window:
            self.fail(f"{value!r} is not of the form 50/day; 'none' takes all away.", param, ctx)
        # Cents stay text, which never passes through a float.
        return {self._unit: amount if "." in amount else int(amount), "per": window}


class _Count(click.ParamType[Any]):
    """A whole number; `none` stays."""

    name = "COUNT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if str(value) in LIFTS:
            return str(value)
        if not re.fullmatch("[0-9]{1,15}", str(value)):
            self.fail(f"{value!r} is no whole number; 'none' takes the limit away.", param, ctx)
        return int(value)


class _Default(click.ParamType[Any]):
    """`quality=low` as a field and its value; `none` stays."""

    name = "FIELD=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any] | str:
        from gateway.config.document import Scalar
        from gateway.config.words import json_value

        if str(value) in LIFTS:
            return str(value)
        field, equals, text = str(value).partition("=")
        if not equals or not field or not text:
            self.fail(
                f"{value!r} is not of the form quality=low; 'none' takes all away.", param, ctx
            )
        return field, None if text in LIFTS else json_value(Scalar(text, plain=True))


OPTIONS: Final[Sequence[tuple[str, str, dict[str, Any]]]] = (
    # Where it belongs, the option, and how click reads it.
    ("description", "--description", {"help": "What the team is; '' takes it away."}),
    (
        "budgets",
        "--budget",
        {
            "type": _Amount("usd"),
            "multiple": True,
            "help": "Dollars per hour, day, week, month or total, e.g. 50/day. Repeatable; all are"
            " replaced. 'none': no budget.",
        },
    ),
    (
        "limits.images",
        "--images",
        {
            "type": _Amount("count"),
            "multiple": True,
            "help": "Pictures per window, e.g. 200/day. Repeatable. 'none': no limit.",
        },
    ),
    (
        "limits.runs_per_minute",
        "--runs-per-minute",
        {"type": _Count(), "help": "Paid runs begun per minute, or 'none'."},
    ),
    (
        "limits.concurrent_runs",
        "--concurrent-runs",
        {"type": _Count(), "help": "Paid runs at the same time, or 'none'."},
    ),
    (
        "allow.models",
        "--allow-model",
        {"multiple": True, "metavar": "MODEL", "help": "Repeatable; 'any' lifts it."},
    ),
    (
        "allow.sizes",
        "--allow-size",
        {"multiple": True, "metavar": "SIZE", "help": "Repeatable; 'any' lifts it."},
    ),
    (
        "allow.qualities",
        "--allow-quality",
        {"multiple": True, "metavar": "QUALITY", "help": "Repeatable; 'any' lifts it."},
    ),
    ("allow.max_n", "--max-n", {"type": _Count(), "help": "Pictures per order, or 'any'."}),
    (
        "defaults",
        "--default",
        {
            "type": _Default(),
            "multiple": True,
            "help": "What orders get that leave it out, e.g. quality=low. Repeatable; others stay."
            " 'quality=none' takes one away, 'none' all.",
        },
    ),
    (
        "cache.scope",
        "--cache-scope",
        {
            "type": click.Choice(["team", "organization", "default"]),
            "help": "With whom the team shares answers.",
        },
    ),
    (
        "cache.client_control",
        "--client-control",
        {
            "type": click.Choice(["honour", "ignore", "default"]),
            "help": "Whether Cache-Control of the team's clients may pass the cache by.",
        },
    ),
    (
        "mode",
        "--mode",
        {
            "type": click.Choice(["enforce", "shadow"]),
            "help": "shadow counts what it would refuse and refuses nothing.",
        },
    ),
    (
        "references",
        "--references",
        {
            "type": click.Choice(["trust", "fetch"]),
            "help": "Whether links to reference pictures are looked behind.",
        },
    ),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a team's settings, and `--file` for the whole."""
    command = click.option(
        "--file",
        "file",
        type=click.File("r", encoding="utf-8"),
        help="All of the settings as YAML or JSON ('-': standard input), as a team has them in"
        " config.yaml, or as 'teams show --json' prints them. Options go above it.",
    )(command)
    for place, option, how in reversed(OPTIONS):
        command = click.option(option, _parameter(place), **how)(command)
    return command


def read_settings(team: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as a merge patch: only that. With a file, what is not in it is taken away.

    Raises UsageError for what contradicts itself.
    """
    patch = {} if given["file"] is None else _whole(team, given["file"])
    for place, option, _ in OPTIONS:
        _check_no_contradiction(option, given[_parameter(place)])
        value = given[_parameter(place)]
        if value is not None and value != ():
            part, _, name = place.partition(".")
            inner = {name: _value(value)} if name else _value(value)
            both = isinstance(inner, dict)
            patch[part] = {**(patch.get(part) or {}), **inner} if both else inner
    return patch


def _check_no_contradiction(option: str, given: Any) -> None:
    """Raises UsageError where a limit is both set and lifted, or one default is given twice."""
    if not isinstance(given, tuple) or len(given) < 2:
        return
    lifting = [one for one in given if one in LIFTS]
    if lifting and len(lifting) < len(given):
        raise click.UsageError(
            f"{option} {lifting[0]} takes away what the other {option} sets: which is meant?"
        )
    fields = [one[0] for one in given if isinstance(one, tuple)]
    if twice := next((field for field in fields if fields.count(field) > 1), None):
        raise click.UsageError(f"{option} says {twice!r} twice: which is meant?")


def without_absent(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch of nothing: what it leaves behind."""
    return {
        name: without_absent(value) if isinstance(value, dict) else value
        for name, value in patch.items()
        if value is not None
    }


def with_budgets(settings: Mapping[str, Any], given: Sequence[Any]) -> Mapping[str, Any]:
    """The settings of a new team, once it is said what it may spend: a person at the terminal is
    asked where neither the options nor the file say so. Raises UsageError."""
    if given or settings.get("budgets") is not None:
        return settings
    if not sys.stdin.isatty():
        raise click.UsageError(
            "what may the team spend? Say --budget 50/day, or several as --budget 50/day --budget"
            " 500/month; --budget none lets it spend without end."
        )
    question = "Budget in dollars, such as 500/month or 50/day ('none': it spends without end)"
    amount = click.prompt(question, type=_Amount("usd"), err=True)
    return {**settings, "budgets": None if amount in LIFTS else [amount]}


def _parameter(place: str) -> str:
    return place.replace(".", "_")


def _value(given: Any) -> Any:
    """An option's value; of one that may be given often, a list, unless one of them lifts it.

    Fields with their values are a mapping.
    """
    if isinstance(given, tuple):
        if any(one in LIFTS for one in given):
            return None
        return dict(given) if isinstance(given[0], tuple) else list(given)
    return None if given in ("", "default", *LIFTS) else given


def _whole(team: str, file: IO[str]) -> dict[str, Any]:
    """What is in the file, and None for every setting that is not."""
    from gateway.config.words import json_value

    document = _read(team, file)
    parts: dict[str, Any] = dict.fromkeys(_known())
    for part, value in {**document, "defaults": json_value(document.get("defaults"))}.items():
        inner = dict.fromkeys(_known().get(part, ()))
        parts[part] = {**inner, **value} if isinstance(value, dict) else value
    return parts


def _read(team: str, file: IO[str]) -> dict[str, Any]:
    """The settings in a file, read as a settings file is. Raises UsageError."""
    from gateway.config.document import read_document

    try:
        document = read_document(file.read(), os.environ, file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--file {file.name} cannot be read: {error}") from None
    if document.problems:
        raise click.UsageError("\n".join(str(problem) for problem in document.problems))
    value = document.value
    if not isinstance(value, dict):
        raise click.UsageError(f"--file {file.name} must hold a mapping, as a team in config.yaml.")
    if value.get("name", team) != team:
        raise click.UsageError(f"--file {file.name} is of team {value['name']!r}, not {team!r}.")
    if isinstance(value.get("settings"), dict):  # as `teams show --json` prints it
        value = {"description": value.get("description"), **value["settings"]}
    return {part: inner for part, inner in value.items() if part != "name"}


def _known() -> Mapping[str, Sequence[str]]:
    """Every setting of a team but its keys, and what is in it where it has parts of its own."""
    from gateway.config.part import Part, yaml_name
    from gateway.config.schema import TeamEntry
    from gateway.core.orders.defaults import DEFAULTABLE

    return {
        yaml_name(name): [yaml_name(inner) for inner in kind.model_fields]
        if isinstance(kind := field.annotation, type) and issubclass(kind, Part)
        else []
        for name, field in TeamEntry.model_fields.items()
        if name != "keys"
    } | {"defaults": DEFAULTABLE}
