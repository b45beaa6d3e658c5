"""Two tables side by side, in the order of their keys: what the one lacks of the other.

Both come in pages, so that neither is ever held whole. Where pages are equal nothing is looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from gateway.adapters.ledger.database import Row

PAGE: Final = 1000
"""Rows held of each side: some megabytes, where prompts are long."""

Page = Sequence[Row]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """Between two stretches of a table. `seen` rows of the source were looked at for them."""

    seen: int
    missing: Page = ()
    changed: Page = ()
    surplus: Sequence[Key] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.surplus)


def key_of(places: Sequence[int]) -> Callable[[Row], Key]:
    """Takes a row's key, always as a tuple."""
    if len(places) == 1:
        [place] = places
        return lambda row: (row[place],)
    return itemgetter(*places)


def walk(
    key: Callable[[Row], Key], source: Iterator[Page], target: Iterator[Page]
) -> Iterator[Differences]:
    """From the first key to the last; each row is in one stretch."""
    here, there = _next(source), _next(target)
    while here or there:
        if here == there:
            yield Differences(len(here))
            here, there = _next(source), _next(target)
            continue
        bound = min(key(page[-1]) for page in (here, there) if page)
        mine, here = _split(key, here, bound)
        yours, there = _split(key, there, bound)
        yield _compared(key, mine, yours)
        here, there = here or _next(source), there or _next(target)


def _next(pages: Iterator[Page]) -> Page:
    return next(pages, ())


def _split(key: Callable[[Row], Key], page: Page, bound: Key) -> tuple[Page, Page]:
    """What is up to the bound, and what is behind it."""
    at = bisect_right(page, bound, key=key)
    return page[:at], page[at:]


def _compared(key: Callable[[Row], Key], mine: Page, yours: Page) -> Differences:
    known = {key(row): row for row in yours}
    missing, changed = [], []
    for row in mine:
        other = known.pop(key(row), None)
        if other is None:
            missing.append(row)
        elif other != row:
            changed.append(row)
    return Differences(len(mine), missing, changed, list(known))
