"""Answers with pictures in them: right to the byte, and never whole in memory."""

from __future__ import annotations

import base64
import random
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.model import Picture
from gateway.web.openai.answers import PIECE_BYTES, PicturesAnswer
from gateway.web.openai.wire import pictures_head

HEAD = pictures_head({"created": 1, "size": "1x1"})


def kept(folder: Path, *sizes: int) -> list[tuple[Picture, Path]]:
    files = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.png"
        path.write_bytes(random.Random(number).randbytes(size))
        files.append((Picture(str(number) * 64, "png", size, 1, 1), path))
    return files


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [1],
        [2, 3, 4],
        [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 0],
        [3 * PIECE_BYTES + 2],
    ],
)
async def test_the_whole_is_json_of_the_length_that_was_told(
    tmp_path: Path, sizes: list[int]
) -> None:
    files = kept(tmp_path, *sizes)
    answer = PicturesAnswer(HEAD, files)
    body = b"".join([bytes(piece) async for piece in answer.body_iterator])  # type: ignore[arg-type]
    assert int(answer.headers["content-length"]) == len(body)
    told: dict[str, Any] = orjson.loads(body)
    assert (told["created"], told["size"]) == (1, "1x1")
    pictures = [base64.b64decode(one["b64_json"], validate=True) for one in told["data"]]
    assert pictures == [path.read_bytes() for _, path in files]


async def peak_bytes(answer: PicturesAnswer) -> int:
    """What it takes at most to send it."""
    tracemalloc.start()
    try:
        length = 0
        async for piece in answer.body_iterator:
            length += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length > 32_000_000
    return peak


async def test_one_piece_is_in_memory_at_a_time(tmp_path: Path) -> None:
    files = kept(tmp_path, *[8_000_000] * 3)
    # The thread that read a piece may be slow to let go of it, which tells nothing of the answer.
    peaks = [await peak_bytes(PicturesAnswer(HEAD, files)) for _ in range(4)]
    assert min(peaks) < 6 * PIECE_BYTES, peaks
