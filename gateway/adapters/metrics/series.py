"""Counters and histograms whose label values are all declared beforehand.

Only the event loop's thread changes them; the thread that formats a scrape reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Generic, TypeVar

from gateway.adapters.metrics.exposition import opening, pairs

T = TypeVar("T")
Labels = tuple[str, ...]
Folds = Mapping[str, str | None]
"""Label → the value that stands for every value that was not declared. None: its type is a
closed list already, and a stranger there raises KeyError."""


class Closed(dict[Labels, T], Generic[T]):
    """The series of one metric by their label values. Looking one up never makes one."""

    def __init__(self, folds: Folds, make: Callable[[Labels], T]) -> None:
        super().__init__()
        self._folds = tuple(folds.values())
        self._make = make
        self._beginnings: set[Labels] = set()

    def declare(self, *values: Iterable[str]) -> None:
        """Every combination of these values has a series from now on."""
        lists = [tuple(one) for one in values]
        for end in range(1, len(lists)):
            self._beginnings.update(product(*lists[:end]))
        for labels in product(*lists):
            if labels not in self:
                self[labels] = self._make(labels)

    def __missing__(self, labels: Labels) -> T:
        known: Labels = ()
        for label, fold in zip(labels, self._folds, strict=True):
            longer = (*known, label)
            declared = longer in self._beginnings or longer in self
            known = longer if declared or fold is None else (*known, fold)
        found = self.get(known)
        if found is None:
            raise KeyError(labels)
        return found


class Count:
    """How often something happened."""

    __slots__ = ("line", "value")

    def __init__(self, line: str) -> None:
        self.line = line
        self.value = 0


class Tally:
    """A counter with labels. Its name ends in `_total`."""

    def __init__(self, name: str, text: str, folds: Folds) -> None:
        names = tuple(folds)
        self._opening = opening(name, "counter", text)
        self.series = Closed(folds, lambda values: Count(f"{name}{{{pairs(names, values)}}} "))

    def add(self, *labels: str) -> None:
        self.series[labels].value += 1

    def __iter__(self) -> Iterator[str]:
        yield self._opening
        for count in list(self.series.values()):
            yield f"{count.line}{count.value}\n"


class Durations:
    """How often something took how long."""

    __slots__ = ("_bounds", "buckets", "labels", "total_seconds")

    def __init__(self, labels: str, bounds: Sequence[float]) -> None:
        self.labels = labels
        self.buckets = [0] * (len(bounds) + 1)
        self.total_seconds = 0.0
        self._bounds = bounds

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(self._bounds, seconds)] += 1
        self.total_seconds += seconds


class Timing:
    """A histogram with labels. `bounds` are the buckets' upper ends in seconds, ascending."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], folds: Folds) -> None:
        names = tuple(folds)
        self._name = name
        self._opening = opening(name, "histogram", text)
        self._ends = [*map(str, bounds), "+Inf"]
        self.series = Closed(folds, lambda values: Durations(pairs(names, values), bounds))

    def observe(self, seconds: float, *labels: str) -> None:
        self.series[labels].observe(seconds)

    def __iter__(self) -> Iterator[str]:
        yield self._opening
        for one in list(self.series.values()):
            yield self._lines(one)

    def _lines(self, one: Durations) -> str:
        name, labels, total_seconds = self._name, one.labels, one.total_seconds
        counts = list(accumulate(one.buckets))
        buckets = "".join(
            f'{name}_bucket{{{labels},le="{end}"}} {count}\n'
            for end, count in zip(self._ends, counts, strict=True)
        )
        return (
            f"{buckets}{name}_sum{{{labels}}} {total_seconds}\n"
            f"{name}_count{{{labels}}} {counts[-1]}\n"
        )
