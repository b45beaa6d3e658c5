"""How SQLite and PostgreSQL say what the audit asks of JSON in a text column.

Damaged text must never raise: what cannot be read has no kind and no members.
"""

from __future__ import annotations

from typing import Protocol


class JsonWords(Protocol):
    """Each takes SQL that gives a text and answers with SQL."""

    def kind(self, text: str) -> str:
        """`object`, `array` or another type; NULL for what is no JSON."""

    def length(self, text: str) -> str:
        """Of what is known to be an array."""

    def members(self, text: str) -> str:
        """A row `one` with a `value` for each member of an array; none of anything else."""

    def field(self, value: str, name: str) -> str:
        """The text of a member's field."""

    def word(self, value: str, place: int) -> str:
        """The text in a member that is a list itself."""

    def number(self, value: str, place: int) -> str:
        """The whole number there."""


class SqliteJson:
    def kind(self, text: str) -> str:
        return f"CASE WHEN json_valid({text}) THEN json_type({text}) END"

    def length(self, text: str) -> str:
        return f"json_array_length({text})"

    def members(self, text: str) -> str:
        return f"json_each(CASE WHEN json_valid({text}) THEN {text} ELSE '[]' END) AS one"

    def field(self, value: str, name: str) -> str:
        return f"json_extract({value}, '$.{name}')"

    def word(self, value: str, place: int) -> str:
        return f"json_extract({value}, '$[{place}]')"

    def number(self, value: str, place: int) -> str:
        return f"json_extract({value}, '$[{place}]')"


class PostgresJson:
    """`json_kind` is made by the migrations. PostgreSQL reads `\\u0000` and halves of surrogates
    and cannot give them out, so texts with them are left to whoever reads them in Python."""

    def kind(self, text: str) -> str:
        return f"json_kind({text})"

    def length(self, text: str) -> str:
        return f"json_array_length({text}::json)"

    def members(self, text: str) -> str:
        unsaid = " OR ".join(f"{text} LIKE '%\\\\u{start}%'" for start in ("0000", "d", "D"))
        readable = f"CASE WHEN {unsaid} THEN NULL ELSE json_kind({text}) END = 'array'"
        array = f"CASE WHEN {readable} THEN {text} ELSE '[]' END"
        return f"json_array_elements(({array})::json) AS one (value)"

    def field(self, value: str, name: str) -> str:
        return f"({value} ->> '{name}')"

    def word(self, value: str, place: int) -> str:
        return f"({value} ->> {place})"

    def number(self, value: str, place: int) -> str:
        told = self.word(value, place)
        return f"CASE WHEN {told} ~ '^[0-9]{{1,15}}$' THEN {told}::bigint ELSE 0 END"
