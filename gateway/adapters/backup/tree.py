"""A picture folder carried shard by shard, and the folder of what is set aside.

Pictures are only added: their names are digests, so that one of the right size is the right one.
Which names have to be there says the ledger; what is there besides comes along, since a run that
is under way may have kept it already. Blocking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import stat_result
from pathlib import Path
from typing import Final

from gateway.adapters.backup.files import (
    Carrier,
    Damaged,
    files_in,
    is_itself,
    is_same,
    remove_drafts,
    sync_folder,
)
from gateway.core.model import Picture
from gateway.core.picture_errors import MEDIA_TYPES

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
FOLDER_MODE: Final = 0o750
ASIDE_MODE: Final = 0o700
MOST_TOLD: Final = 100
"""Of names in a report; how many there are is counted."""

_SIDECAR: Final = ".json"
PICTURE_FILE: Final = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(MEDIA_TYPES)}|json)")
ASIDE_FILE: Final = re.compile(r"[A-Za-z0-9_]{1,100}-\d{1,4}\.(bin|json)")
ANSWER_FILE: Final = re.compile(r"([A-Za-z0-9_]{1,64})-[0-9]{1,9}\.answer")
"""A whole answer in the spool: its run, and which of its submits."""


@dataclass(slots=True)
class Tally:
    """What was found and done. Lists are of names, or sentences about them."""

    pictures: int = 0
    picture_bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    set_aside: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    lost_at_source: int = 0
    strange: list[str] = field(default_factory=list)
    doomed: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """`verify_all` also reads what is there already, and replaces what is damaged."""

    source: Path
    target: Path
    carrier: Carrier
    verify_all: bool = False

    def carry_shard(
        self, shard: str, named: Iterable[Picture], unwanted: frozenset[str], tally: Tally
    ) -> None:
        """Carries what is missing there; of digests that are unwanted nothing."""
        source, target = self.source / shard, self.target / shard
        found, strange = files_in(source, PICTURE_FILE)
        tally.strange += [f"{shard}/{name}" for name in strange][: MOST_TOLD - len(tally.strange)]
        remove_drafts(target)
        there = dict(files_in(target, PICTURE_FILE)[0])
        wanted = {name: one for name, one in found.items() if name[:64] not in unwanted}
        carried = [
            name
            for name in sorted(wanted, key=_pictures_first)
            if not self._is_there(target / name, wanted[name], there.get(name))
            and self._carry(source / name, target, tally)
        ]
        if carried:
            sync_folder(target)
        for name in carried:
            there[name] = wanted[name]
            tally.new += is_picture(name)
            tally.new_bytes += wanted[name].st_size
        count(target, list(named), wanted, there, tally)

    def _is_there(self, path: Path, wanted: stat_result, there: stat_result | None) -> bool:
        if there is None:
            return False
        if not is_picture(path.name):
            return is_same(wanted, there)
        return wanted.st_size == there.st_size and not (self.verify_all and not is_itself(path))

    def _carry(self, source: Path, target: Path, tally: Tally) -> bool:
        self.carrier.make_folder(target, FOLDER_MODE)
        try:
            self.carrier.carry(source, target / source.name)
        except FileNotFoundError:
            return False  # erased meanwhile
        except Damaged as problem:
            tally.damaged.append(str(problem))
            return False
        return True


def count(
    target: Path,
    named: list[Picture],
    wanted: Container[str],
    there: Mapping[str, stat_result],
    tally: Tally,
) -> None:
    """What of a shard is in the target, and what of that nobody wants any more."""
    for one in named:
        if one.name not in there or there[one.name].st_size != one.size_bytes:
            tally.missing.append(one.name)
        else:
            tally.lost_at_source += one.name not in wanted
    digests = {one.digest for one in named}
    for name, found in there.items():
        if name not in wanted and name[:64] not in digests:
            tally.doomed.append(target / name)
        elif is_picture(name):
            tally.pictures += 1
            tally.picture_bytes += found.st_size


def is_picture(name: str) -> bool:
    return not name.endswith(_SIDECAR)


def _pictures_first(name: str) -> tuple[bool, str]:
    """What a crash leaves behind is then never a tale of a picture that is not there."""
    return not is_picture(name), name


def by_shard(pictures: Iterable[Picture]) -> Iterator[tuple[str, list[Picture]]]:
    """Every shard once, in order, with those of its pictures, which come by digest."""
    left = iter(pictures)
    one = next(left, None)
    for shard in SHARDS:
        of_shard = []
        while one is not None and one.digest[:2] <= shard:
            of_shard.append(one)
            one = next(left, None)
        yield shard, of_shard


def carry_answers(source: Path, target: Path, carrier: Carrier, tally: Tally) -> None:
    """The whole answers that lie in the spool now; what a run has no more use for may go at any
    moment. Nothing is taken away."""
    _carry_as_they_are(source, target, ANSWER_FILE, carrier, tally)


def answers_of_none(target: Path, is_live: Callable[[str], bool]) -> Sequence[Path]:
    """The answers whose runs are not under way."""
    there, _ = files_in(target, ANSWER_FILE)
    named = ((ANSWER_FILE.fullmatch(name), name) for name in there)
    return [target / name for match, name in named if match and not is_live(match[1])]


def carry_set_aside(source: Path, target: Path, carrier: Carrier, tally: Tally) -> None:
    """What is no picture as far as anybody can tell, as it is now."""
    found, there = _carry_as_they_are(source, target, ASIDE_FILE, carrier, tally)
    tally.set_aside = sum(name.endswith(".bin") for name in found)
    tally.doomed += [target / name for name in there if name not in found]


def _carry_as_they_are(
    source: Path, target: Path, pattern: re.Pattern[str], carrier: Carrier, tally: Tally
) -> tuple[Mapping[str, stat_result], Mapping[str, stat_result]]:
    """Those of this pattern that are not there yet; what goes meanwhile is not missed. Returns what
    was in the source, and what was in the target before."""
    found, _ = files_in(source, pattern)
    there, _ = files_in(target, pattern)
    if found:
        carrier.make_folder(target, ASIDE_MODE)
    for name, one in found.items():
        if name not in there or not is_same(one, there[name]):
            try:
                carrier.carry(source / name, target / name)
            except FileNotFoundError:
                continue
            except Damaged as problem:
                tally.damaged.append(str(problem))
    if found:
        sync_folder(target)
    return found, there
