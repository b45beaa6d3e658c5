"""Names that nobody has: which one was meant. Asked only after an answer of nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Protocol
from urllib.parse import unquote

import click

from gateway.cli.formats import plain

LISTED: Final = 8
"""Names that are told when none is near; more are a list of their own."""

TEAM_PATH: Final = re.compile(r"teams/([^/]+)(?:/keys/([^/]+).*)?")


class Asking(Protocol):
    """An operator's connection, as far as it is asked here."""

    def get(self, path: str) -> bytes: ...

    def read(self, answer: bytes) -> Any: ...

    def understood(self) -> AbstractContextManager[None]: ...


def meant(operator: Asking, path: str, code: str) -> str:
    """What to say, on a line of its own, of a path whose team or key there is not."""
    found = TEAM_PATH.match(path)
    if found is None or code not in ("team_not_found", "key_not_found"):
        return ""
    team, key = unquote(found[1]), unquote(found[2] or "")
    with suppress(click.ClickException):
        if code == "team_not_found":
            return f"\n{_near(team, _teams(operator), 'team')}"
        return f"\n{_key(key, _rows(operator, path.partition('/keys/')[0] + '/keys'))}"
    return ""


def unknown(operator: Asking, asked: Mapping[str, Any]) -> str:
    """Why a question has no answer: its team or its model is not there; else empty."""
    kinds = {"team": _teams, "model": _models}
    with suppress(click.ClickException):
        for kind, known in kinds.items():
            name = asked.get(kind)
            if name and name not in (there := known(operator)):
                return f"there is no {kind} {plain(name)!r}. {_near(name, there, kind)}"
    return ""


def _near(name: str, known: Iterable[str], kind: str) -> str:
    """`Did you mean 'marketing'?`, or the names that there are."""
    from gateway.config.words import nearest

    there = sorted(known)
    if close := nearest(name, there):
        return f"Did you mean {plain(close)!r}?"
    if not there:
        return f"There is no {kind} at all."
    more = " and more" if len(there) > LISTED else ""
    return f"There are {', '.join(plain(one) for one in there[:LISTED])}{more}."


def _key(name: str, keys: Sequence[Any]) -> str:
    """A key is named by its id; its label is what people remember."""
    labelled = [str(one["id"]) for one in keys if one["label"] and one["label"] == name]
    if labelled:
        return f"Keys are named by their id: did you mean {' or '.join(labelled)}?"
    return _near(name, [str(one["id"]) for one in keys], "key")


def _teams(operator: Asking) -> list[str]:
    return [str(one["name"]) for one in _rows(operator, "teams")]


def _models(operator: Asking) -> list[str]:
    answer = operator.read(operator.get("settings"))
    with operator.understood():
        return list(answer["settings"]["models"])


def _rows(operator: Asking, path: str) -> list[Any]:
    answer = operator.read(operator.get(path))
    with operator.understood():
        return list(answer["data"])
