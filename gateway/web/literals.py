"""What a body of JSON says that its parsed values would not: numbers beyond 64 bits, halves of a
surrogate pair.

The parser of requests makes a rounded number of the first and a syntax error of the second. Both
are told by the name of their field instead. The standard library's slower parser is asked only
where either can be there at all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final

from gateway.core.orders.texts import check_texts, path_of
from gateway.errors import InvalidRequest

_LONG: Final = re.compile(rb"[0-9]{19}")
"""Fewer digits always fit into 64 bits."""

_SMALLEST, _BEYOND = -(2**63), 2**64
_MOST_DIGITS: Final = 20


class _TooLarge:
    """Stands for a number that cannot be carried as it was written."""


def check_numbers(body: bytes) -> None:
    """Raises `InvalidRequest` naming the first field with a number that would be rounded."""
    if _LONG.search(body):
        _check_numbers(_parsed(body))


def check_literals(body: bytes) -> None:
    """Raises `InvalidRequest` naming the field at fault, where one literal alone is none of JSON's
    that can be carried; nothing where the body is no JSON at all."""
    parsed = _parsed(body)
    _check_numbers(parsed)
    if isinstance(parsed, Mapping):
        check_texts(parsed)


def _check_numbers(parsed: object) -> None:
    field = path_of(parsed, lambda value: isinstance(value, _TooLarge))
    if field is not None:
        message = f"'{field or 'body'}' has a number beyond 64 bits, which cannot be carried. "
        raise InvalidRequest(message + "Send a smaller one, or text.", param=field or None)


def _parsed(body: bytes) -> object:
    """The body as the standard library reads it; None for what is no JSON to it either."""
    try:
        return json.loads(body, parse_int=_whole, parse_float=_floating)
    except (ValueError, RecursionError):
        return None


def _whole(literal: str) -> object:
    """A place holder: only whether the number can be carried matters."""
    if len(literal) > _MOST_DIGITS:
        return _TooLarge()
    return 0 if _SMALLEST <= int(literal) < _BEYOND else _TooLarge()


def _floating(literal: str) -> object:
    return 0.0 if math.isfinite(float(literal)) else _TooLarge()
