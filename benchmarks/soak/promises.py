"""What clients were promised, remembered by them: what has to be true in the end.

Beside it stands what nobody expected of an answer; one such thing fails the soak.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FINISHED: Final = 400
"""Orders that may be ordered again: more than the response cache of a soak holds."""

UNEXPECTED: Final = 200
"""Kinds of unexpected answers that are told apart."""

NAME: Final = re.compile(r"/pictures/([0-9a-f]{64}\.[a-z]+)")


@dataclass(frozen=True, slots=True)
class Done:
    """An order that was answered with its pictures."""

    body: Mapping[str, Any]
    task: str
    pictures: tuple[str, ...]


@dataclass
class Promises:
    tasks: dict[str, str] = field(default_factory=dict)
    """Task → team, of every order that was taken."""
    called_back: set[str] = field(default_factory=set)
    """Tasks whose callback has to come."""
    pictures: dict[str, None] = field(default_factory=dict)
    """Names of pictures that some answer showed, in their order."""
    gone: set[str] = field(default_factory=set)
    """Of those that an operator wanted erased."""
    finished: deque[Done] = field(default_factory=lambda: deque(maxlen=FINISHED))
    acts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)

    def take(self, task: str, team: str, *, calls_back: bool = False) -> None:
        self.tasks[task] = team
        if calls_back:
            self.called_back.add(task)

    def show(self, text: str) -> tuple[str, ...]:
        """The pictures whose links are in an answer; from now on they have to be there."""
        names = tuple(dict.fromkeys(NAME.findall(text)))
        self.pictures.update(dict.fromkeys(names))
        return names

    def finish(self, done: Done) -> None:
        if done.pictures and self.gone.isdisjoint(done.pictures):
            self.finished.append(done)

    def erase(self, names: tuple[str, ...]) -> None:
        """Before it is asked for: from then on the picture may be there or not."""
        self.gone.update(names)
        kept = [one for one in self.finished if self.gone.isdisjoint(one.pictures)]
        self.finished.clear()
        self.finished.extend(kept)

    def wonder(self, what: str) -> None:
        if len(self.unexpected) < UNEXPECTED or what in self.unexpected:
            self.unexpected[what] += 1

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    @property
    def expected_pictures(self) -> list[str]:
        return [name for name in self.pictures if name not in self.gone]
