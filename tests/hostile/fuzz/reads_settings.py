"""The settings file, whole, and its parts that are written in a way of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

from gateway.config import SettingsError, convert, parse, units
from gateway.config.notices import notices
from gateway.wiring.kinds import KINDS

ROOT: Final = Path(__file__).parents[3]
UNITS: Final[tuple[Callable[[object], float], ...]] = (
    units.seconds,
    units.size_bytes,
    units.usd_micros,
    units.percent,
    units.whole,
)
TODAY: Final = date(2026, 11, 29)


def seeds() -> Iterator[bytes]:
    yield (ROOT / "config.yaml").read_bytes()
    for path in sorted((ROOT / "tests" / "config" / "bad").glob("*.yaml")):
        yield path.read_bytes()
    yield from (b"250ms", b"1.5h", b"1GiB", b"0.013", b"80%", b"12")


def give(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in UNITS:
        with suppress(ValueError):
            assert read(text) >= 0
    try:
        settings = parse(text, {"SET": "value"})
    except SettingsError as error:
        assert error.problems and str(error)
        return
    convert.policy(settings, port=8080, kinds=KINDS)
    notices(settings, TODAY)
