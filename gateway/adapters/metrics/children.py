"""The series of one metric: each is kept where the next event finds it, and no input makes one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

M = TypeVar("M", Counter, Histogram)
Labels = tuple[str, ...]


class Children(dict[Labels, M], Generic[M]):
    """The children of `metric` by their label values; the library's own look-up takes a lock.

    A label value that nobody allowed behind those before it is counted under its stand-in, one
    for each label. So whatever is looked up, the labels come from what was allowed.
    """

    def __init__(self, metric: M, *stand_ins: str) -> None:
        super().__init__()
        self._metric: M = metric
        self._stand_ins = stand_ins
        self._allowed: set[Labels] = set()

    def allow(self, *values: Iterable[str]) -> None:
        """Every combination of these values, and every beginning, may become a series."""
        lists = [tuple(one) for one in values]
        for end in range(1, len(lists) + 1):
            self._allowed.update(product(*lists[:end]))

    def declare(self, *values: Iterable[str]) -> None:
        """Every combination of these values has a series from now on, at 0."""
        lists = [tuple(one) for one in values]
        self.allow(*lists[:-1])
        for labels in product(*lists):
            if labels not in self:
                self[labels] = self._metric.labels(*labels)

    def allows(self, labels: Labels) -> bool:
        """Whether these may become a series; those that are one are not asked for."""
        return labels in self._allowed

    def __missing__(self, told: Labels) -> M:
        labels: Labels = ()
        for value, stand_in in zip(told, self._stand_ins, strict=True):
            longer = (*labels, value)
            known = longer in self._allowed or longer in self
            labels = longer if known else (*labels, stand_in)
        if labels not in self:
            self[labels] = self._metric.labels(*labels)
        return self[labels]
