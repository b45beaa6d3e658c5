"""What is wrong with a settings file: every mistake at once, each with its place and path.

A problem never carries a value that came from the environment or stands in a secret's field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]


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
