"""The counter of a prompt's tokens."""

from __future__ import annotations

from typing import Protocol


class TokenCounter(Protocol):
    async def count(self, text: str, *, team: str = "") -> int:
        """How many tokens the text has for the model family."""
