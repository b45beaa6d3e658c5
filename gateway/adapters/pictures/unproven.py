"""Paid bytes that are no picture: a folder of its own, where the operator finds them as they came.

    <run>-<index>.bin    the bytes that came last for that picture of the run
    <run>-<index>.json   where they come from, and why they are no picture

One file for each picture that was ordered, and bounds for all: the team that takes most loses its
oldest. Nothing depends on it: what cannot be written here is only told. Plain blocking functions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from gateway.adapters.pictures.disk import sync
from gateway.adapters.pictures.drafts import Draft
from gateway.adapters.pictures.setting_aside import (
    MOST_BYTES,
    MOST_FILES,
    Bytes,
    described,
    is_name,
    is_run,
    newest_first,
    read_back,
    stays,
    too_many,
    written_down,
)
from gateway.core.picture_errors import LinkBroken, NotAPicture, Origin, SetAside
from gateway.core.picture_signatures import HEAD_BYTES

log = structlog.get_logger("gateway.pictures")

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class Unproven:
    """`most_files` and `most_bytes` are for all of it together."""

    def __init__(
        self, root: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES
    ) -> None:
        self._root = root
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._runs: set[str] | None = None

    def keep(
        self, draft: Draft, origin: Origin, why: NotAPicture, broken: LinkBroken | None
    ) -> bool:
        """Sets a draft aside; False when that was not possible, which harms nobody."""
        with draft.path.open("rb") as file:
            content = Bytes(file.read(HEAD_BYTES), draft.digest, draft.size_bytes)
        one = described(content, origin, why, broken)
        return self.put(draft.path, one, in_part=broken is not None)

    def put(self, source: Path, one: SetAside, *, in_part: bool = False) -> bool:
        """Sets the file's bytes aside, as `keep` does."""
        try:
            if one.size_bytes > self._most_bytes:
                return False
            if self._runs is not None:
                self._runs.add(one.origin.run_id)
            self._root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            if stays(self._read(one.name), one, in_part=in_part):
                return True
            self._write(source, one)
            self._make_room(one.name)
        except (OSError, ValueError) as error:
            log.warning("bytes not set aside", run=one.origin.run_id, reason=str(error))
            return False
        tell(one)
        return True

    def clean(self) -> None:
        """Removes what a process that died has left unfinished. What is there is known from now on:
        nobody else sets anything aside."""
        with suppress(OSError):
            for path in self._root.glob("*.part"):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self._runs = {path.name.rpartition("-")[0] for path in self._root.glob("*.bin")}

    def may_have(self, run_id: str) -> bool:
        """Whether something of the run may lie here. It does not block: nearly no run has anything,
        and to look for it in a thread takes 0.1 ms."""
        return self._runs is None or run_id in self._runs

    def find(self, run_id: str | None = None) -> Sequence[SetAside]:
        pattern = "*" if run_id is None or not is_run(run_id) else f"{run_id}-*"
        return newest_first(
            [one for one in self._all(pattern) if run_id in (None, one.origin.run_id)]
        )

    def path(self, name: str) -> Path | None:
        """Where the bytes of this name are or would be; None for what is no name."""
        return self._root / f"{name}.bin" if is_name(name) else None

    def forget(self, run_id: str) -> None:
        if is_run(run_id):
            for path in self._root.glob(f"{run_id}-*.bin"):
                self._drop(path.stem)

    def _write(self, source: Path, one: SetAside) -> None:
        """The bytes are durable before anything tells of them."""
        draft = self._root / f"{uuid4().hex}.part"
        try:
            shutil.copyfile(source, draft)
            self._publish(draft, self._root / f"{one.name}.bin")
            draft.write_text(written_down(one), "utf-8")
            self._publish(draft, self._root / f"{one.name}.json")
        finally:
            draft.unlink(missing_ok=True)

    def _publish(self, draft: Path, place: Path) -> None:
        draft.chmod(_FILE_MODE)
        sync(draft)
        draft.replace(place)
        sync(self._root)

    def _make_room(self, newest: str) -> None:
        bounds = {"most_files": self._most_files, "most_bytes": self._most_bytes}
        for name in too_many(list(self._all()), newest, **bounds):
            self._drop(name)

    def _all(self, pattern: str = "*") -> Iterator[SetAside]:
        with suppress(FileNotFoundError):
            for path in self._root.glob(f"{pattern}.bin"):
                if (one := self._read(path.stem)) is not None:
                    yield one

    def _read(self, name: str) -> SetAside | None:
        try:
            stat = (self._root / f"{name}.bin").stat()
        except FileNotFoundError:
            return None
        written = None
        with suppress(OSError):
            written = (self._root / f"{name}.json").read_bytes()
        return read_back(name, written, size_bytes=stat.st_size, changed_at=stat.st_mtime)

    def _drop(self, name: str) -> None:
        for ending in ("bin", "json"):
            (self._root / f"{name}.{ending}").unlink(missing_ok=True)


def tell(one: SetAside) -> None:
    """That bytes were set aside, in the log."""
    log.warning(
        "bytes set aside",
        run=one.origin.run_id,
        team=one.origin.team,
        name=one.name,
        bytes=one.size_bytes,
        reason=one.reason,
    )
