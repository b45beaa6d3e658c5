"""What is wrong with a model's further names of sizes: an alias means one size, and is none itself.

A chain cannot come up then, and lists and prices name each shape once.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.document import Path
from gateway.config.schema import ModelEntry
from gateway.config.words import suggestion
from gateway.core.orders.spellings import AUTO, size


def size_aliases(path: Path, model: ModelEntry) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for alias, target in model.size_aliases.items():
        name = size(alias).casefold()
        problem = _as_name(name, target, model) or _not_there(target, model.limits.sizes)
        if name in seen:
            problem = "is an alias already, in another spelling"
        seen.add(name)
        if problem:
            yield (*path, alias), f"{alias!r} {problem}"


def _as_name(name: str, target: str, model: ModelEntry) -> str:
    """What is wrong with an alias of this name."""
    if AUTO in (name, target.casefold()):
        return f"cannot mean {target!r}: auto leaves the size to upstream; see defaults"
    if name == target.casefold():
        return "means itself"
    if name in {one.casefold() for one in model.size_aliases.values()}:
        return "is what another alias means: name the size itself there"
    if name in {one.casefold() for one in model.limits.sizes or ()}:
        return f"is in limits.sizes too: leave it out there, it is ordered as {target!r}"
    return ""


def _not_there(target: str, sizes: tuple[str, ...] | None) -> str:
    if sizes is None or target in sizes:
        return ""
    return f"means {target!r}, which is not in limits.sizes{suggestion(target, sizes)}"
