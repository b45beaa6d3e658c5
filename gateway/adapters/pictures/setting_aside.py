"""What is set aside of bytes that are no picture, and what has to go for it: the rules, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from gateway.core.picture_errors import LinkBroken, NotAPicture, Origin, SetAside
from gateway.core.picture_signatures import kind_of

MOST_FILES: Final = 1_000
MOST_BYTES: Final = 2_000_000_000
"""About what thirty orders take whose pictures are as large as a picture may be."""

_NAME: Final = re.compile(r"(?P<run>[A-Za-z0-9_]{1,100})-(?P<index>\d{1,4})")


@dataclass(frozen=True, slots=True)
class Bytes:
    """Of a draft: how it begins, what it sums up to, how long it is."""

    head: bytes
    digest: str
    size_bytes: int


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_run(run_id: str) -> bool:
    return is_name(f"{run_id}-0")


def described(
    content: Bytes, origin: Origin, why: NotAPicture, broken: LinkBroken | None
) -> SetAside:
    reason = str(why) if broken is None else f"it came only in part: {broken}"
    name, kind = f"{origin.run_id}-{origin.index}", kind_of(content.head) or ""
    return SetAside(name, origin, reason, kind, content.digest, content.size_bytes)


def stays(known: SetAside | None, one: SetAside, *, in_part: bool) -> bool:
    """Whether what is known of that picture stays, and `one` is not set aside.

    Of what came only in part the longest stays. What begins like a picture is not replaced by what
    does not.
    """
    if known is None:
        return False
    if in_part and known.size_bytes >= one.size_bytes:
        return True
    return known.digest == one.digest or bool(known.kind and not one.kind)


def too_many(
    every: Sequence[SetAside], newest: str, *, most_files: int, most_bytes: int
) -> Iterator[str]:
    """The oldest of the team that has most, until all keep to the bounds."""
    held = sorted(every, key=lambda one: (one.origin.at, one.name))
    while len(held) > most_files or sum(one.size_bytes for one in held) > most_bytes:
        of_team: dict[str, int] = {}
        for one in held:
            of_team[one.origin.team] = of_team.get(one.origin.team, 0) + one.size_bytes + 1
        most = max(of_team, key=lambda team: of_team[team])
        mine = [one for one in held if one.origin.team == most]
        oldest = next((one for one in mine if one.name != newest), mine[0])
        yield oldest.name
        held.remove(oldest)


def newest_first(found: Sequence[SetAside]) -> Sequence[SetAside]:
    return sorted(found, key=lambda one: (one.origin.at, one.name), reverse=True)


def written_down(one: SetAside) -> str:
    return json.dumps(asdict(one), indent=2) + "\n"


def read_back(
    name: str, written: bytes | None, *, size_bytes: int, changed_at: float
) -> SetAside | None:
    """Also of bytes whose description was lost: a crash may come between the two."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        plain = json.loads(written or b"")
        one = SetAside(**{**plain, "origin": Origin(**plain["origin"])})
    except (ValueError, KeyError, TypeError):
        origin = Origin(match["run"], int(match["index"]), "", "", "", "", changed_at)
        return SetAside(name, origin, "its description is lost", "", "", size_bytes)
    return replace(one, name=name, size_bytes=size_bytes)
