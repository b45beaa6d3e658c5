"""Bringing back what a refused transaction has overwritten, for the ledger in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Undo:
    """Remembers what was overwritten, to bring it back when a later write is refused."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def put(self, store: dict[Any, Any], key: object, value: object) -> None:
        self._remember(store, key)
        store[key] = value

    def drop(self, store: dict[Any, Any], key: object) -> None:
        self._remember(store, key)
        store.pop(key, None)

    def _remember(self, store: dict[Any, Any], key: object) -> None:
        if key in store:
            old = store[key]
            self._steps.append(lambda: store.__setitem__(key, old))
        else:
            self._steps.append(lambda: store.pop(key, None))

    def all(self) -> None:
        for step in reversed(self._steps):
            step()
