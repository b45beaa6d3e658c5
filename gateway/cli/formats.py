"""How amounts, times and texts from the gateway look to people.

Everything from outside is shown as text: control characters and what would turn the direction
of a line never reach a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from gateway.core.money.accounts import USD_MICROS
from gateway.core.money.usd import decimals_of, show_usd

NOTHING: Final = "-"
JOINER: Final = "\u200d"
"""Holds emoji together; without it their parts stand side by side, which is readable."""

GOOD: Final = frozenset({"done", "active", "delivered", "hit", "joined", "started"})
BAD: Final = frozenset({"failed", "revoked", "expired", "denied", "invalid", "dead", "abandoned"})


def money(usd: float, decimals: int = 2) -> str:
    """`$1.23`; with more decimals where two would not be exact, or where `decimals` says so."""
    return show_usd(_micros(usd), thousands=",", decimals=decimals)


def decimals(amounts: Iterable[float | None]) -> int:
    """How many a column of these amounts has, so that their points stand under each other."""
    return decimals_of(_micros(usd) for usd in amounts if usd is not None)


def _micros(usd: float) -> int:
    return round(usd * USD_MICROS)


def number(value: float) -> str:
    """A count, with its thousands apart."""
    return f"{value:,.0f}"


def minute(at: str | None) -> str:
    """An RFC 3339 time, cut to the minute."""
    return NOTHING if at is None else plain(at)[:16].replace("T", " ")


def instant(at: str | None) -> str:
    """An RFC 3339 time in full."""
    return NOTHING if at is None else f"{plain(at).removesuffix('Z').replace('T', ' ')} UTC"


def clock(at: str) -> str:
    """The time of day, to the millisecond, of an RFC 3339 time."""
    whole, _, fraction = plain(at).removesuffix("Z").partition("T")[2].partition(".")
    return f"{whole}.{fraction.ljust(3, '0')[:3]}"


def lasting(seconds: float | None) -> str:
    """`40ms`, `3.7s`, `3m05s`, `2h05m`, `30d`."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "ms")
    if whole < 86_400:
        return _two(whole // 60, 60, "hm")
    return _two(whole // 3600, 24, "dh")


def _two(count: int, base: int, units: str) -> str:
    """A count of the smaller unit as one of both; a rest of nothing is left out."""
    large, rest = divmod(count, base)
    return f"{large}{units[0]}" + (f"{rest:02}{units[1]}" if rest else "")


def size(size_bytes: int) -> str:
    """Bytes in the largest unit of powers of 1000 that leaves at least one."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(values: Iterable[object] | None, otherwise: str) -> str:
    """Values with commas between them; `otherwise` for none."""
    return ", ".join(plain(str(value)) for value in values or ()) or otherwise


def plain(text: str) -> str:
    """The text on one line, every run of spaces as one; what cannot be printed is shown as such."""
    words = " ".join(text.replace(JOINER, "").split())
    if words.isprintable():
        return words
    return "".join(one if one.isprintable() else "\ufffd" for one in words)


def plain_lines(text: str) -> str:
    """The same, keeping its lines."""
    return "\n".join(plain(line) for line in text.splitlines())


def state_colour(word: str) -> str | None:
    return "green" if word in GOOD else "red" if word in BAD else None


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(unicodedata.normalize("NFC", text))


def cut(text: str, width: int) -> str:
    """The text in at most that many columns; one that goes on ends in an ellipsis."""
    from rich.cells import set_cell_size

    if cells(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "\u2026"


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most that many columns, broken between words; an overlong word is broken."""
    from rich.cells import chop_cells

    lines = [""]
    for word in plain(text).split(" "):
        for piece in [word] if cells(word) <= width else chop_cells(word, width):
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cells(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines
