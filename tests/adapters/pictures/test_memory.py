"""A picture passes through the store in pieces: memory does not grow with its size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from picture_samples import noise, saved

PROGRAM = """
import asyncio, os, resource, sys
from pathlib import Path
from gateway.adapters.pictures.folder import FolderPictures

async def body(path):
    with open(path, "rb") as file:
        while chunk := file.read(65536):
            yield chunk

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    folder, small, large = map(Path, sys.argv[1:])
    store = FolderPictures(folder)
    await store.open()
    for _ in range(4):
        await asyncio.gather(*(store.keep(body(small), max_bytes=10**8) for _ in range(4)))
    before = peak_kib()
    await asyncio.gather(*(store.keep(body(large), max_bytes=10**8) for _ in range(4)))
    print(peak_kib() - before)
    await store.close()

asyncio.run(main())
"""


def test_four_pictures_of_fifty_megabytes_take_few_megabytes_of_memory(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(saved(noise(100, 100), "PNG"))
    (tmp_path / "large").write_bytes(saved(noise(4000, 4167), "PNG", compress_level=0))
    assert (tmp_path / "large").stat().st_size > 50 * 10**6
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(tmp_path / name for name in ("store", "small", "large"))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(done.stdout) < 12 * 1024
