"""Teams made at run time: their settings as JSON, held to the rules of a team in the file.

A document is a team as the file has it, without its keys: YAML names, canonical JSON. It must
not know where documents are stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from gateway.config import convert, words
from gateway.config.build import message
from gateway.config.document import Path, dotted
from gateway.config.kind_notices import left_to_kinds
from gateway.config.making_rules import Models, team_making, unmade_alone
from gateway.config.notices import must_choose
from gateway.config.rules import Names, aliases, team_problems
from gateway.config.schema import Settings, TeamEntry
from gateway.core.catalog import Allow, Team
from gateway.core.teams.records import ManagedTeam
from gateway.errors import InvalidRequest

DEEPEST: Final = 4
"""No setting of a team lies deeper; a patch beyond that is refused when it is read."""

LOOKED_FOR: Final = 200
TOLD: Final = 20
LINE: Final = 500
"""Of a document with thousands of faults, or one of thousands of characters, this much is looked
for and told: more than anybody mends at once."""

Found = list[tuple[Path, str]]


def read_name(value: object) -> str:
    """The name of a new team. Raises `InvalidRequest`."""
    try:
        name = words.name(value)
    except ValueError as error:
        raise InvalidRequest(f"name: {error}", param="name") from None
    if "/" in name:
        raise InvalidRequest("name: must have no / in it: it stands in addresses", param="name")
    return name


def new_document(body: Mapping[str, Any], settings: Settings, models: Models) -> str:
    """The document of a team that is asked for; `models` are those of the settings, as the core has
    them. Raises `InvalidRequest` with every problem."""
    entry = _read(body)
    _refuse(_problems(entry, settings, models))
    return _document(entry)


def changed_document(
    document: str, patch: Mapping[str, Any], settings: Settings, models: Models
) -> str:
    """The document after a merge patch (RFC 7396). Raises `InvalidRequest` with every problem.

    What was wrong before is not held against it: a model that left the settings must not keep
    a budget from being raised.
    """
    entry = _read(_patched(json.loads(document), patch))
    try:
        known = _problems(_read(json.loads(document)), settings, models)
    except InvalidRequest:
        known = []
    _refuse([problem for problem in _problems(entry, settings, models) if problem not in known])
    return _document(entry)


def shown(entry: TeamEntry) -> dict[str, Any]:
    """A team's settings as JSON by their YAML names, without keys and description."""
    told = entry.model_dump(by_alias=True, exclude_none=True, exclude={"keys", "description"})
    return plain(told)


def shown_document(document: str) -> tuple[str | None, dict[str, Any]]:
    """The description and the settings of a document."""
    told = json.loads(document)
    return told.pop("description", None), told


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are shown, in JSON's own types: amounts of money become numbers."""
    result: dict[str, Any] = json.loads(json.dumps(value, default=_number))
    return result


def _number(amount: Decimal) -> int | float:
    return int(amount) if amount == int(amount) else float(amount)


def reader(
    settings: Settings, kinds: convert.Kinds
) -> Callable[[ManagedTeam], tuple[Team, Sequence[str]]]:
    """A function from a stored team to the core's, and what is worth a sentence about it.

    Never fails: one that cannot be read any more may order nothing until it is changed.
    """
    models = convert.catalog(settings, kinds).models

    def read(managed: ManagedTeam) -> tuple[Team, Sequence[str]]:
        try:
            entry = _read(json.loads(managed.document))
        except InvalidRequest as error:
            closed = Team(managed.name, allow=Allow(models=frozenset()))
            reason = error.message.replace("\n", "; ")
            return closed, [f"teams.{managed.name}: may order nothing, until mended: {reason}"]
        team = convert.team(managed.name, entry, settings)
        lost = _lost(managed.name, entry, settings)
        open_ones = left_to_kinds(team, models, settings)
        alone = unmade_alone(team, models)
        return team, [*lost, *must_choose(team, models), *open_ones, *alone]

    return read


def _lost(name: str, entry: TeamEntry, settings: Settings) -> Sequence[str]:
    """The allowed models that the settings no longer have."""
    known = {*settings.models, *aliases(settings)}
    return [
        f"teams.{name}.allow.models: {model!r} is no model of the settings any more, so it is not "
        "allowed; the team was made through the admin API and is changed there"
        for model in entry.allow.models or ()
        if model not in known
    ]


def _read(value: object) -> TeamEntry:
    if isinstance(value, dict) and "keys" in value:
        told = "a team's keys are made one by one: POST /admin/v1/teams/{team}/keys"
        _refuse([(("keys",), told)])
    try:
        return TeamEntry.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        _refuse(
            [(detail["loc"], message(detail, ("teams", "*", *detail["loc"]))) for detail in details]
        )
        raise


def _problems(entry: TeamEntry, settings: Settings, models: Models) -> Found:
    names = Names(frozenset(settings.upstreams), frozenset(settings.models))
    found = list(islice(team_problems((), entry, settings, names), LOOKED_FOR))
    told = {path for path, _ in found}
    unmade = team_making((), convert.team("", entry, settings), models)
    return [*found, *(one for one in unmade if one[0] not in told)]


def _refuse(problems: Found) -> None:
    if problems:
        told = problems[:TOLD]
        lines = [f"{dotted(path)}: {text}"[:LINE] if path else text for path, text in told]
        if left := len(problems) - len(told):
            lines.append(f"and {left} problems more")
        raise InvalidRequest("\n".join(lines), param=dotted(problems[0][0])[:LINE] or None)


def _document(entry: TeamEntry) -> str:
    told = shown(entry)
    if entry.description is not None:
        told["description"] = entry.description
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _patched(value: object, patch: object, depth: int = 0) -> object:
    if not isinstance(patch, Mapping) or depth > DEEPEST:
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for name, part in patch.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), part, depth + 1)
    return result
