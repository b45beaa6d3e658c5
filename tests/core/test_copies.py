"""Copies with changed fields are those of the standard library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from gateway.core.copies import replace


@dataclass(frozen=True, slots=True)
class Plain:
    one: int
    two: tuple[int, ...] = ()
    hidden: str = field(default="h", repr=False, compare=False)


@dataclass(frozen=True)
class Open:
    one: int
    two: int = 2


@dataclass(frozen=True, slots=True)
class Single:
    one: int


@dataclass(frozen=True, slots=True)
class Longer(Plain):
    three: int = 3


@dataclass(frozen=True, slots=True)
class Watchful:
    one: int
    two: int = 2

    def __post_init__(self) -> None:
        if self.one < 0:
            raise ValueError


@pytest.mark.parametrize(
    "record", [Plain(1, (2,), "x"), Open(1), Single(1), Longer(1, (2,), "y", 4), Watchful(1)]
)
def test_a_copy_is_what_the_standard_library_makes(record: Plain | Open | Watchful) -> None:
    copy, long_way = replace(record, one=7), dataclasses.replace(record, one=7)
    assert copy == long_way and type(copy) is type(record) and record.one == 1
    assert [getattr(copy, f.name) for f in dataclasses.fields(copy)] == [
        getattr(long_way, f.name) for f in dataclasses.fields(long_way)
    ]
    assert replace(record) == record
    with pytest.raises(TypeError):
        replace(record, unknown=1)  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.one = 8  # type: ignore[misc]


def test_what_a_record_looks_at_when_it_is_made_is_looked_at() -> None:
    with pytest.raises(ValueError):
        replace(Watchful(1), one=-1)
