"""The text format of Prometheus: the lines of one metric.

The library's formatter builds several objects for each line, some 15 µs, and its garbage makes
the interpreter stop the whole process to collect it. There are thousands of lines with many
teams, so here a line is one string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_LABEL_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def opening(name: str, kind: str, text: str) -> str:
    """The two lines above a metric's values; `kind` is counter, gauge or histogram."""
    return f"# HELP {name} {text.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n"


def pairs(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels without their braces: `team="marketing",window="day"`."""
    return ",".join(map(_pair, names, values))


@lru_cache(maxsize=4096)
def _pair(name: str, value: str) -> str:
    return f'{name}="{value.translate(_LABEL_ESCAPES)}"'


def family(
    name: str,
    kind: str,
    text: str,
    *,
    labels: Sequence[str],
    values: Iterable[tuple[float, Sequence[str]]],
) -> Iterator[str]:
    """The lines of a metric; `values` come with their label values and may be lazy."""
    yield opening(name, kind, text)
    for value, where in values:
        yield f"{name}{{{pairs(labels, where)}}} {value}\n"


def gauge(name: str, text: str, value: float) -> Iterator[str]:
    """The lines of a metric with one value and no labels."""
    yield opening(name, "gauge", text)
    yield f"{name} {value}\n"
