"""What a reference picture may be, and how whoever orders is told of one that cannot be used."""

from __future__ import annotations

from typing import Final

from gateway.core.picture_errors import (
    LinkDead,
    LinkForbidden,
    NotAPicture,
    PictureProblem,
    PictureTooLarge,
    TooCostly,
)

MAX_BYTES: Final = 50_000_000
"""Upstream's own limit for a reference picture."""

MAX_REFERENCES: Final = 16
"""That many go with one order."""

_SAID: Final[tuple[tuple[type[PictureProblem], str], ...]] = (
    # The first class that fits the problem gives the words.
    (LinkForbidden, "it leads to an address that the gateway may not call"),
    (LinkDead, "nothing can be fetched there"),
    (PictureTooLarge, f"it has more than {MAX_BYTES // 1_000_000} MB"),
    (TooCostly, "it takes too long to decode; save it in an ordinary way"),
    (NotAPicture, "it is not a whole JPEG, PNG or WebP picture"),
    (PictureProblem, "it could not be fetched whole; see whether the link works, and try again"),
)


def unusable(place: str, problem: PictureProblem) -> str:
    """Why the reference at this place of an order cannot be used, as a sentence."""
    said = next(words for kind, words in _SAID if isinstance(problem, kind))
    return f"'{place}': {said}."


def too_slow(place: str, seconds: float) -> str:
    """The sentence for one that did not come in this time."""
    return f"'{place}': it did not arrive within {seconds:.0f} seconds."
