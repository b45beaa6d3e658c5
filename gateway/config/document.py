"""YAML text to a tree of mappings, lists and text, with the place of every path and problem.

A scalar stays the text that stands in the file: the field that it belongs to decides how it is
read. So `no`, `010`, `1:1` and `12:30:00` mean what they say instead of what YAML 1.1 makes of
them, money never passes through a float, and a secret that looks like a number stays text.
A key with nothing behind it is the same as a key left out; `null` and `~`, unquoted, are null.

`${NAME}`, `${NAME:-default}`, `${file:/path}` and `$$` (one dollar sign) are replaced inside
scalar values, never in keys, after the structure is known: a value cannot add structure, and
what was put in is not searched again. What came from outside is text and stays text; a field
of numbers reads it as it would read the same characters in the file.

A problem never carries a value that came from outside or stands in a secret's field. It must
not know any setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import cast

import yaml

Path = tuple[str | int, ...]

VALUES_LIMIT = 100_000  # aliases can blow a small file up; no real settings come near
DEPTH_LIMIT = 50  # the settings need six
SECRET_FILE_LIMIT_BYTES = 64 * 1024  # a secret is a line or a key, not a data set
TEXT_TAG = "tag:yaml.org,2002:str"
STRUCTURE_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
HIDDEN = {code: code + 0x10F000 for code in range(0x20, 0x7F)}  # for private use
SHOWN_AGAIN = {hidden: code for code, hidden in HIDDEN.items()}
REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}?")
VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = re.compile(rf"({VARIABLE_NAME})(?::-(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands (`line` and `column` count from 1) and how to mend it.

    `line` is None for settings that were not read from a file.
    """

    path: Path
    message: str
    name: str = "settings"
    line: int | None = None
    column: int | None = None

    @property
    def dotted(self) -> str:
        return dotted(self.path)

    def __str__(self) -> str:
        place = self.name if self.line is None else f"{self.name}:{self.line}:{self.column}"
        return f"{place} {self.dotted}: {self.message}" if self.path else f"{place} {self.message}"


class SettingsError(Exception):
    """The settings cannot be used; `problems` lists every reason in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.line or 0, p.column or 0, p.dotted))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: Path) -> str:
    """`("teams", "art", "keys", 0)` as people write it: `teams.art.keys[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


class Scalar(str):
    """The text of one YAML scalar. `plain`: written without quotes; `outside`: has a reference."""

    plain: bool
    outside: bool

    def __new__(cls, text: str, *, plain: bool = False, outside: bool = False) -> Scalar:
        scalar = super().__new__(cls, text)
        scalar.plain, scalar.outside = plain, outside
        return scalar


@dataclass(slots=True)
class Document:
    """`value` is made of dict (text keys), list, Scalar and None; `places` says where it stood."""

    name: str
    value: object = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at `path`, placed at the nearest part of it that the file has."""
        if not self.places:
            return Problem(path, message, self.name)
        known = path
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Problem(path, message, self.name, line, column)

    def report(self, path: Path, message: str) -> None:
        self.problems.append(self.problem(path, message))


class _Loader(yaml.CSafeLoader):
    """Leaves every scalar text; only a tag that somebody wrote differs from the text tag."""


# The resolvers that would read `no` as false; PyYAML looks them up on the class.
_Loader.yaml_implicit_resolvers = {}


def read_document(text: str, environ: Mapping[str, str], name: str) -> Document:
    """Reads one YAML document; mistakes in it are listed in the document's `problems`."""
    document = Document(name)
    try:
        opaque = _hide_references(text)
        _check_depth(opaque)
        root = yaml.compose(opaque, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error, name))
    except yaml.YAMLError:
        message = "not valid YAML: it contains characters that YAML does not allow"
        document.problems.append(Problem((), message, name, 1, 1))
    else:
        document.places[()] = (1, 1)
        document.value = {} if root is None else _Reader(document, environ).read(root, ())
    return document


def _check_depth(text: str) -> None:
    """Composing nodes recurses in C, where too deep a nesting would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            mark = cast("yaml.Mark", event.start_mark)
            raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=mark)


def _hide_references(text: str) -> str:
    """Makes `${…}` opaque to YAML, whose braces, commas and colons would end it inside `{ }`.

    Character for character, so that lines and columns stay; `_text` turns it back.
    """
    return re.sub(r"\$\{[^}\n]*\}", lambda match: match[0].translate(HIDDEN), text)


def _text(node: yaml.ScalarNode) -> str:
    return str(node.value).translate(SHOWN_AGAIN)


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return Problem((), f"not valid YAML: {said}", name, line, column)


class _Reader:
    """Walks the node tree once, filling the document's places and problems on the way."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        self._count = 0

    def read(self, node: yaml.Node, path: Path) -> object:
        self._document.places.setdefault(path, _place(node))
        self._count += 1
        if self._count > VALUES_LIMIT:
            if self._count == VALUES_LIMIT + 1:
                self._document.report(path, f"more than {VALUES_LIMIT} values; too many aliases?")
            return None
        if node.tag not in STRUCTURE_TAGS and node.tag != TEXT_TAG:
            self._document.report(path, f"remove the tag {node.tag!r}: tags have no meaning here")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._document.report(path, "an alias that contains itself")
            return None
        self._open.add(id(node))
        value = self._structure(node, path)
        self._open.discard(id(node))
        return value

    def _structure(self, node: yaml.Node, path: Path) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.report(path, "a key must be plain text")
                continue
            key = _text(key_node)
            inner: Path = (*path, key)
            if inner in self._document.places:
                line, column = _place(key_node)
                first = self._document.places[inner][0]
                message = f"this key was already given in line {first}"
                self._document.problems.append(
                    Problem(inner, message, self._document.name, line, column)
                )
                continue
            self._document.places[inner] = _place(key_node)
            if not _is_nothing(value_node):
                values[key] = self.read(value_node, inner)
        return values

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Scalar | None:
        plain = node.style not in ("'", '"', "|", ">")
        text = _text(node)
        if plain and text in ("", "~", "null"):
            return None
        if "$" not in text:
            return Scalar(text, plain=plain)
        expanded = REFERENCE.sub(lambda match: self._replace(match, path), text)
        outside = any(match[0] != "$$" for match in REFERENCE.finditer(text))
        return Scalar(expanded, plain=plain, outside=outside)

    def _replace(self, match: re.Match[str], path: Path) -> str:
        if match[0] == "$$":
            return "$"
        inside = match[1]
        if match[0].endswith("}") and inside.startswith("file:"):
            return self._file(inside.removeprefix("file:"), path)
        variable = VARIABLE.fullmatch(inside)
        if variable is None or not match[0].endswith("}"):
            forms = "write ${NAME}, ${NAME:-default} or ${file:/path}, and $$ for a dollar sign"
            self._document.report(path, f"a reference that is not understood: {forms}")
            return ""
        return self._variable(variable[1], variable[2], path)

    def _variable(self, name: str, default: str | None, path: Path) -> str:
        value = self._environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            self._document.report(path, f"the environment variable {name} is not set")
            return ""
        return value

    def _file(self, name: str, path: Path) -> str:
        if not name.startswith("/"):
            self._document.report(path, "${file:} wants an absolute path, such as /run/secrets/x")
            return ""
        try:
            with FilePath(name).open("rb") as file:
                content = file.read(SECRET_FILE_LIMIT_BYTES + 1)
            if len(content) > SECRET_FILE_LIMIT_BYTES:
                self._document.report(
                    path, f"{name} is larger than {SECRET_FILE_LIMIT_BYTES} bytes"
                )
                return ""
            return content.decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            self._document.report(path, f"cannot read {name}: {error.strerror}")
        except UnicodeDecodeError:
            self._document.report(path, f"{name} is not UTF-8 text")
        return ""


def _is_nothing(node: yaml.Node) -> bool:
    """Whether a key has nothing behind it, as when all that it held is commented out."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != TEXT_TAG:
        return False
    return node.value == "" and node.style not in ("'", '"', "|", ">")


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
