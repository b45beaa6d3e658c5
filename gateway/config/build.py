"""A document to settings: every problem of every kind in one go.

What is wrong in itself is taken out, the smallest part that will do, so that the rest can still
be checked across; the names of entries stay known. pydantic's own errors end here.
"""

from __future__ import annotations

from copy import deepcopy
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.convert import NO_KINDS, Kinds
from gateway.config.document import Document, Path, Problem, SettingsError
from gateway.config.kind_rules import with_known_rates
from gateway.config.making_rules import making_problems
from gateway.config.part import Part, yaml_name
from gateway.config.rules import Names, check
from gateway.config.schema import ServerSettings, Settings
from gateway.config.words import nearest, suggestion

ENTRY_SECTIONS = frozenset({"upstreams", "models", "teams"})
_ADDRESS = ("host", "port")
_ADDRESS_PATHS: frozenset[Path] = frozenset({(), ("server",), *(("server", n) for n in _ADDRESS)})
DECISIVE = ("kind", "style", "usage")  # what else an upstream may have, and its routes
PRUNINGS = 4  # wrong values go first, then entries that lack them, then what that leaves wrong


def build(document: Document, kinds: Kinds = NO_KINDS) -> Settings:
    """Raises SettingsError with all problems of the document, in the order of the file."""
    if not isinstance(document.value, dict):
        structure = [document.problem((), "the settings must be a mapping")]
        raise SettingsError(document.problems or structure)
    document.problems.extend(_empty_strangers(document))
    reported = {problem.path for problem in document.problems}
    draft = _Draft(document, reported)
    settings = draft.settings()
    known = reported | draft.broken.keys()
    broken_models = any(path[:1] == ("models",) for path in known)
    names = Names(
        _names(document, "upstreams"),
        _names(document, "models"),
        broken=broken_models,
        vague=frozenset(str(path[1]) for path in known if _hides_the_kind(path)),
    )
    found = [
        *((path, text) for path, text in draft.broken.items() if path not in reported),
        *((path, text) for path, text in check(settings, names) if not _within(path, known)),
    ]
    told = known | {path for path, _ in found}
    unmade = making_problems(settings, kinds)
    found += [(path, text) for path, text in unmade if not _within(path, told)]
    problems = [*document.problems, *(document.problem(path, text) for path, text in found)]
    if problems:
        raise SettingsError(problems)
    return with_known_rates(settings)


def _hides_the_kind(path: Path) -> bool:
    """Whether a mistake there leaves open what the rest of its upstream should be."""
    if path[:1] != ("upstreams",) or len(path) != 3:
        return False
    known = path[2] in _keys_at(path[:2])
    return path[2] in DECISIVE if known else nearest(path[2], DECISIVE) is not None


def _empty_strangers(document: Document) -> list[Problem]:
    """Unknown keys with nothing behind them, which the document's value has no trace of.

    `{usd: 0,012}` is one: YAML reads a price of nothing, and a key that is called 012.
    """
    return [
        document.problem(path, _stranger(path[-1], keys))
        for path in document.places
        if path
        and isinstance(path[-1], str)
        and (keys := _keys_at(path[:-1]))
        and path[-1] not in keys
        and _is_left_out(document.value, path)
    ]


def _stranger(key: str, keys: list[str]) -> str:
    if key.isdigit():
        return "unknown key; the decimals of a number stand behind a point, as in 0.012"
    return f"unknown key{suggestion(key, keys)}"


def _is_left_out(value: object, path: Path) -> bool:
    """Whether there is nothing at `path` although all that it is in is there."""
    for step in path[:-1]:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
    return isinstance(value, dict) and path[-1] not in value


def listening(document: Document) -> ServerSettings | None:
    """The document's address to listen on; None when a mistake may have made another one of it."""
    value = document.value.get("server") if isinstance(document.value, dict) else None
    section = {} if value is None else value
    unread = any(problem.path[:2] in _ADDRESS_PATHS for problem in document.problems)
    if unread or not isinstance(document.value, dict) or not isinstance(section, dict):
        return None
    try:
        return ServerSettings.model_validate(section)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    if any(one["loc"][0] in _ADDRESS or one["type"] == "extra_forbidden" for one in details):
        return None
    return ServerSettings.model_validate(
        {name: section[name] for name in _ADDRESS if name in section}
    )


class _Draft:
    """The document's value, losing what is broken until the rest is valid.

    `broken` says what was lost and why, in so far as the document has not `reported` it.
    """

    def __init__(self, document: Document, reported: set[Path]) -> None:
        self.broken: dict[Path, str] = {}
        self._document = document
        self._value = deepcopy(document.value)
        for path in document.places:
            _fill_entry(self._value, path)
        self._explained = {_remove(self._value, path) for path in reported}

    def settings(self) -> Settings:
        for _ in range(PRUNINGS):
            try:
                return Settings.model_validate(self._value)
            except ValidationError as error:
                # Missing comes last: a key may be missing only because it is misspelt.
                details = error.errors(include_url=False, include_input=False)
                for detail in sorted(details, key=lambda detail: detail["type"] == "missing"):
                    self._take_out(detail)
        self.broken.setdefault((), "mend these first; too much is wrong to check the rest")
        return Settings()

    def _take_out(self, detail: ErrorDetails) -> None:
        path = _path(detail, self._document)
        if path not in self._explained:
            self.broken.setdefault(path, message(detail, path))
        if detail["type"] == "extra_forbidden":
            meant = nearest(path[-1], _keys_at(path[:-1]))
            self._explained.update({(*path[:-1], meant)} if meant else ())
        lost = path[:2] if detail["type"] == "missing" else path
        self._explained.add(_remove(self._value, lost))


def _fill_entry(value: object, path: Path) -> None:
    """An upstream, model or team with nothing behind its name is there all the same."""
    if len(path) == 2 and path[0] in ENTRY_SECTIONS and isinstance(value, dict):
        entries = value.get(path[0])
        if isinstance(entries, dict):
            entries.setdefault(path[1], {})


def _remove(value: object, path: Path) -> Path:
    """Takes `path` out of nested mappings; a list goes whole, so that no index moves.

    Returns what was taken out: the path or the list that it is in.
    """
    items = [index for index, step in enumerate(path) if isinstance(step, int)]
    path = path[: items[0]] if items else path
    for step in path[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, dict) and path:
        value.pop(path[-1], None)
    return path


def _within(path: Path, known: set[Path]) -> bool:
    return any(path[:length] in known for length in range(len(path) + 1))


def _path(detail: ErrorDetails, document: Document) -> Path:
    """Where the file has the mistake; a missing key is named although the file lacks it."""
    path: Path = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] == "missing" or not document.places:
        return path
    while path and path not in document.places:
        path = path[:-1]
    return path


def message(detail: ErrorDetails, path: Path) -> str:
    """pydantic's error in our words; `path` leads there from the settings' top."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(path[-1], _keys_at(path[:-1]))}"
    if kind == "missing":
        return "missing; this setting is required"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "must be a mapping"
    if kind in ("tuple_type", "list_type"):
        return "must be a list"
    return detail["msg"].replace("Input should be", "must be")


def _keys_at(path: Path) -> list[str]:
    """The keys that the mapping at `path` may have, by the shape of the settings."""
    kind: object = Settings
    for step in path:
        kind = _inner(kind, step)
    if isinstance(kind, type) and issubclass(kind, Part):
        return [yaml_name(name) for name in kind.model_fields]
    return []


def _inner(kind: object, step: str | int) -> object:
    """The type one step further in: a field's, an item's or an entry's."""
    if isinstance(kind, type) and issubclass(kind, Part):
        fields = {yaml_name(name): field for name, field in kind.model_fields.items()}
        return _bare(fields[str(step)].annotation) if step in fields else None
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
    return _bare(arguments[-1]) if arguments else None


def _bare(kind: object) -> object:
    """Without `Annotated` and `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(part for part in get_args(kind) if part is not NoneType))
    return kind


def _names(document: Document, section: str) -> frozenset[str]:
    """The names in a section as the document has them, broken entries and all."""
    entries = document.value.get(section) if isinstance(document.value, dict) else None
    listed = {str(path[1]) for path in document.places if path[:1] == (section,) and path[1:]}
    return frozenset(listed | set(entries if isinstance(entries, dict) else ()))
