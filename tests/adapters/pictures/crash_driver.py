"""Kills a store before every system call that changes the disk, and looks at what is left.

    python crash_driver.py FOLDER PICTURE data|names

For each step a fork keeps and describes the picture and is killed right before that step. Then
the power fails, a fresh store opens and keeps the picture again. Prints what was seen as JSON.
When the power fails, `data` loses what was written and not synced while every name survives;
`names` also loses the names whose folder was not synced since they were made.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from picture_samples import stream

from gateway.adapters.pictures.decoders import Decoders, Inspection
from gateway.adapters.pictures.folder import FolderPictures
from gateway.adapters.pictures.inspection import inspect

CALLS = ("open", "write", "fsync", "link", "replace", "unlink", "close")
SIDECAR = {"prompt": "a lighthouse", "n": 1}

Notes = list[list[Any]]


class Disk:
    """Stands between the store and the system calls: notes what happens and kills in time."""

    def __init__(self, root: Path, log: Path, kill_before: int) -> None:
        self._root = os.fspath(root)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill_before = kill_before
        self._steps = 0
        self._real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._watched(name))

    def note(self, *words: object) -> None:
        self._real["write"](self._log, (json.dumps(words) + "\n").encode())

    def _watched(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            path = f"/proc/self/fd/{target}" if isinstance(target, int) else os.fspath(target)
            path = os.path.realpath(path)
            if not path.startswith(self._root):
                return real(target, *args, **kwargs)
            if self._steps == self._kill_before:
                self.note("killed before", name)
                os.kill(os.getpid(), signal.SIGKILL)
            self._steps += 1
            result = real(target, *args, **kwargs)
            if name in {"link", "replace"}:
                self.note("named", os.fspath(args[0]))
            elif name in {"write", "fsync"}:
                self.note(name, path, os.fstat(target).st_ino)
            return result

        return call


def story(root: Path, data: bytes, disk: Disk) -> Callable[[], None]:
    async def tell() -> None:
        store = FolderPictures(root)
        await store.open()
        disk.install()
        picture = await store.keep(stream(data), max_bytes=10**8, beside=lambda _: SIDECAR)
        disk.note("promised", picture.name)
        disk.note("promised", f"{picture.digest}.json")
        os._exit(0)

    return lambda: asyncio.run(tell())


def in_fork(work: Callable[[], None]) -> bool:
    """Runs `work` in a fork; False when it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(3)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status != 0:
        raise SystemExit(f"the story ended with {status}")
    return True


def fail_power(root: Path, notes: Notes, *, names_too: bool) -> None:
    sound: set[int] = set()
    new_names: set[str] = set()
    for word, *rest in notes:
        if word == "write":
            sound.discard(rest[1])
        elif word == "named":
            new_names.add(rest[0])
        elif word == "fsync":
            sound.add(rest[1])
            new_names = {name for name in new_names if os.fspath(Path(name).parent) != rest[0]}
    for path in [path for path in root.rglob("*") if path.is_file()]:
        if path.stat().st_ino not in sound:
            os.truncate(path, 0)
        if names_too and os.fspath(path) in new_names:
            path.unlink()


def visible(root: Path) -> dict[str, str]:
    """Every file outside the scratch folder, and whether it is whole."""

    def is_whole(path: Path) -> bool:
        content = path.read_bytes()
        if path.suffix == ".json":
            return content != b"" and bool(json.loads(content) == SIDECAR)
        return hashlib.sha256(content).hexdigest() == path.stem

    files = root.glob("[0-9a-f][0-9a-f]/*")
    return {path.name: "whole" if is_whole(path) else "broken" for path in files}


async def keep_again(root: Path, data: bytes) -> bool:
    store = FolderPictures(root)
    await store.open()
    unfinished = list((root / "tmp").iterdir())
    picture = await store.keep(stream(data), max_bytes=10**8, beside=lambda _: SIDECAR)
    readable = await store.readable([picture])
    await store.close()
    return readable and not unfinished


def crash(root: Path, data: bytes, kill_before: int, *, names_too: bool) -> dict[str, object]:
    log = root.with_suffix(".log")
    survived = in_fork(story(root, data, Disk(root, log, kill_before)))
    notes: Notes = [json.loads(line) for line in log.read_text().splitlines()]
    fail_power(root, notes, names_too=names_too)
    return {
        "survived": survived,
        "killed_before": [rest[0] for word, *rest in notes if word == "killed before"],
        "promised": [rest[0] for word, *rest in notes if word == "promised"],
        "visible": visible(root),
        "mended": asyncio.run(keep_again(root, data)),
        "finally": visible(root),
    }


def inspect_here(_: Decoders, path: Path, *, max_pixels: int) -> Inspection:
    return inspect(path, max_pixels=max_pixels)


def main() -> None:
    folder, data = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    # A decoding process for each of the many forks would only make this slow.
    Decoders.inspect = inspect_here  # type: ignore[method-assign]
    seen: list[dict[str, object]] = []
    while not seen or not seen[-1]["survived"]:
        root = folder / f"{len(seen)}"
        seen.append(crash(root, data, len(seen), names_too=sys.argv[3] == "names"))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
