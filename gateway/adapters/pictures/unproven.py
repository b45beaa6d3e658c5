"""Paid bytes that are no picture: a folder of its own, where the operator finds them as they came.

    <run>-<index>.bin    the bytes that came last for that picture of the run
    <run>-<index>.json   where they come from, and why they are no picture

One file for each picture that was ordered, and bounds for all: the team that takes most loses its
oldest. Nothing depends on it: what cannot be written here is only told. Plain blocking functions.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from gateway.adapters.pictures.disk import sync
from gateway.adapters.pictures.drafts import Draft
from gateway.adapters.pictures.signatures import HEAD_BYTES, kind_of
from gateway.core.picture_errors import LinkBroken, NotAPicture, Origin, SetAside

log = structlog.get_logger("gateway.pictures")

MOST_FILES: Final = 1_000
MOST_BYTES: Final = 2_000_000_000
"""About what thirty orders take whose pictures are as large as a picture may be."""

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_NAME: Final = re.compile(r"(?P<run>[A-Za-z0-9_]{1,100})-(?P<index>\d{1,4})")


class Unproven:
    """`most_files` and `most_bytes` are for all of it together."""

    def __init__(
        self, root: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES
    ) -> None:
        self._root = root
        self._most_files = most_files
        self._most_bytes = most_bytes

    def keep(
        self, draft: Draft, origin: Origin, why: NotAPicture, broken: LinkBroken | None
    ) -> bool:
        """Sets a draft aside as `put` does. Of what came only in part, the longest stays."""
        with draft.path.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES)) or ""
        name = f"{origin.run_id}-{origin.index}"
        known = [one for one in self.find(origin.run_id) if one.name == name]
        if broken is not None and known and known[0].size_bytes >= draft.size_bytes:
            return True
        reason = str(why) if broken is None else f"it came only in part: {broken}"
        one = SetAside(name, origin, reason, kind, draft.digest, draft.size_bytes)
        return self.put(draft.path, one)

    def put(self, source: Path, one: SetAside) -> bool:
        """Sets the file's bytes aside; False when that was not possible, which harms nobody.

        What begins like a picture is not replaced by what does not.
        """
        try:
            if one.size_bytes > self._most_bytes:
                return False
            self._root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            known = self._read(one.name)
            if known is not None and (known.digest == one.digest or (known.kind and not one.kind)):
                return True
            self._write(source, one)
            self._make_room(one.name)
        except (OSError, ValueError) as error:
            log.warning("bytes not set aside", run=one.origin.run_id, reason=str(error))
            return False
        log.warning(
            "bytes set aside",
            run=one.origin.run_id,
            team=one.origin.team,
            name=one.name,
            bytes=one.size_bytes,
            reason=one.reason,
        )
        return True

    def clean(self) -> None:
        """Removes what a process that died has left unfinished."""
        with suppress(OSError):
            for path in self._root.glob("*.part"):
                path.unlink(missing_ok=True)

    def find(self, run_id: str | None = None) -> Sequence[SetAside]:
        pattern = "*" if run_id is None or not _NAME.fullmatch(f"{run_id}-0") else f"{run_id}-*"
        found = [one for one in self._all(pattern) if run_id in (None, one.origin.run_id)]
        return sorted(found, key=lambda one: (one.origin.at, one.name), reverse=True)

    def path(self, name: str) -> Path | None:
        """Where the bytes of this name are or would be; None for what is no name."""
        return self._root / f"{name}.bin" if _NAME.fullmatch(name) else None

    def forget(self, run_id: str) -> None:
        if _NAME.fullmatch(f"{run_id}-0"):
            for path in self._root.glob(f"{run_id}-*.bin"):
                self._drop(path.stem)

    def _write(self, source: Path, one: SetAside) -> None:
        """The bytes are durable before anything tells of them."""
        draft = self._root / f"{uuid4().hex}.part"
        try:
            shutil.copyfile(source, draft)
            self._publish(draft, self._root / f"{one.name}.bin")
            draft.write_text(json.dumps(asdict(one), indent=2) + "\n", "utf-8")
            self._publish(draft, self._root / f"{one.name}.json")
        finally:
            draft.unlink(missing_ok=True)

    def _publish(self, draft: Path, place: Path) -> None:
        draft.chmod(_FILE_MODE)
        sync(draft)
        draft.replace(place)
        sync(self._root)

    def _make_room(self, newest: str) -> None:
        """Takes the oldest of the team that has most, until all keep to the bounds."""
        held = sorted(self._all(), key=lambda one: (one.origin.at, one.name))
        while len(held) > self._most_files or sum(o.size_bytes for o in held) > self._most_bytes:
            of_team: dict[str, int] = {}
            for one in held:
                of_team[one.origin.team] = of_team.get(one.origin.team, 0) + one.size_bytes + 1
            most = max(of_team, key=lambda team: of_team[team])
            mine = [one for one in held if one.origin.team == most]
            oldest = next((one for one in mine if one.name != newest), mine[0])
            self._drop(oldest.name)
            held.remove(oldest)

    def _all(self, pattern: str = "*") -> Iterator[SetAside]:
        with suppress(FileNotFoundError):
            for path in self._root.glob(f"{pattern}.bin"):
                if (one := self._read(path.stem)) is not None:
                    yield one

    def _read(self, name: str) -> SetAside | None:
        """Also of bytes whose description was lost: a crash may come between the two."""
        match = _NAME.fullmatch(name)
        try:
            stat = (self._root / f"{name}.bin").stat()
        except FileNotFoundError:
            return None
        if match is None:
            return None
        try:
            plain = json.loads((self._root / f"{name}.json").read_bytes())
            one = SetAside(**{**plain, "origin": Origin(**plain["origin"])})
        except (OSError, ValueError, KeyError, TypeError):
            origin = Origin(match["run"], int(match["index"]), "", "", "", "", stat.st_mtime)
            return SetAside(name, origin, "its description is lost", "", "", stat.st_size)
        return replace(one, name=name, size_bytes=stat.st_size)

    def _drop(self, name: str) -> None:
        for ending in ("bin", "json"):
            (self._root / f"{name}.{ending}").unlink(missing_ok=True)
