"""What a body of JSON says that its parsed values would not: whole numbers beyond 64 bits, and
halves of a surrogate pair.

The parser of requests makes a rounded number of the first and a syntax error of the second. Both
are told by the name of their field instead. The standard library's slower parser is asked only
where either can be there at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from gateway.core.texts import check_texts, path_of
from gateway.errors import InvalidRequest

_LONG: Final = re.compile(rb"[0-9]{19}")
"""Fewer digits always fit into 64 bits."""

_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SMALLEST, _BEYOND = -(2**63), 2**64
_MOST_DIGITS: Final = 20


class _TooLarge:
    """Stands for a whole number that 64 bits cannot hold."""


def check_numbers(body: bytes) -> None:
    """Raises `InvalidRequest` naming the first field with a number that cannot be carried."""
    if not _LONG.search(body):
        return
    field = path_of(_parsed(body), lambda value: isinstance(value, _TooLarge))
    if field is not None:
        message = f"'{field or 'body'}' has a number beyond 64 bits, which would be rounded. "
        raise InvalidRequest(message + "Send a smaller one, or text.", param=field or None)


def check_halves(body: bytes) -> None:
    """Raises `InvalidRequest` naming the first field whose text holds half a surrogate pair."""
    parsed = _parsed(body) if _HALF.search(body) else None
    if isinstance(parsed, Mapping):
        check_texts(parsed)


def _parsed(body: bytes) -> object:
    """The body as the standard library reads it; None for what is no JSON to it either."""
    try:
        return json.loads(body, parse_int=_whole, parse_float=_whole)
    except (ValueError, RecursionError):
        return None


def _whole(literal: str) -> object:
    """A number's place holder: only its size matters. Floating numbers are never too large here."""
    if not literal.removeprefix("-").isdigit():
        return 0.0
    if len(literal) > _MOST_DIGITS:
        return _TooLarge()
    return 0 if _SMALLEST <= int(literal) < _BEYOND else _TooLarge()
