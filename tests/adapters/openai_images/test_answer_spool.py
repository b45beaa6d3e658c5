"""The spool on the disk: whole or not, whenever its process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_upstream import RUN, a_run, client, coded, pictures, png

from gateway.adapters.openai_images.links import SpoolLinks
from gateway.adapters.openai_images.outline import Span
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.masking import Mask
from gateway.core.picture_errors import LinkDead
from gateway.core.runs.events import AnswerLost, Delivered

NAME = f"{RUN.id}-1"
NOBODY = Mask("")

PROGRAM = """
    import os, sys
    from pathlib import Path
    from openai_upstream import RUN
    from gateway.adapters.openai_images import spool

    folder, body, end = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]

    def die(*_):
        os.kill(os.getpid(), 9)

    def dying(step, real):
        def call(*arguments, **named):
            if end == f"before {step}":
                die()
            result = real(*arguments, **named)
            if end == f"after {step}":
                die()
            return result
        return call

    arriving = spool.AnswerSpool(folder).arriving(RUN)
    os.open = dying("open", os.open)
    os.posix_fallocate = dying("reserve", os.posix_fallocate)
    os.write = dying("write", os.write)
    os.ftruncate = dying("cut", os.ftruncate)
    os.fsync = dying("sync", os.fsync)
    Path.replace = dying("rename", Path.replace)
    arriving.begin(100_000)
    arriving.head(200, {"x-request-id": "req_1"})
    arriving.write(body)
    arriving.finish()
    if end == "at the end":
        die()
"""

LEFT = {
    # Where the process is killed: what is left, and whether that is the whole answer.
    "before open": ([], False),
    "after open": ([f"{NAME}.part"], False),
    "after reserve": ([f"{NAME}.part"], False),
    "after write": ([f"{NAME}.part"], False),  # its head
    "before cut": ([f"{NAME}.part"], False),
    "before sync": ([f"{NAME}.part"], False),
    "after sync": ([f"{NAME}.part"], False),
    "before rename": ([f"{NAME}.part"], False),
    "after rename": ([f"{NAME}.answer"], True),
    "at the end": ([f"{NAME}.answer"], True),
}


@pytest.mark.parametrize("end", LEFT)
async def test_a_process_may_be_killed_anywhere(tmp_path: Path, end: str) -> None:
    folder = Path(__file__).resolve().parent
    here = os.pathsep.join(map(str, (folder, folder.parents[1], folder.parents[2])))
    program = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), tmp_path, json.dumps(pictures()), end],
        env={**os.environ, "PYTHONPATH": here},
        check=False,
        capture_output=True,
        text=True,
    )
    assert program.returncode == -9, program.stderr
    files, is_whole = LEFT[end]
    assert [path.name for path in tmp_path.iterdir()] == files
    async with client("http://127.0.0.1:9", tmp_path) as one:
        event = await one.recovered(RUN)
        assert isinstance(event, Delivered if is_whole else AnswerLost)
        if isinstance(event, Delivered):
            assert event.cost_usd_micros == 5_970
            links = SpoolLinks(AnswerSpool(tmp_path), Fetcher())
            async with links.stream(event.links[0], max_bytes=999, timeout_seconds=5) as body:
                assert b"".join([piece async for piece in body]) == png()
        await one.forget(RUN)
    assert not list(tmp_path.iterdir())


def spooled(folder: Path, body: bytes, name: str = NAME) -> AnswerSpool:
    head = {"status": 200, "headers": {"x-request-id": "req_1"}, "at": 1.0}
    (folder / f"{name}.answer").write_bytes(json.dumps(head).encode() + b"\n" + body)
    return AnswerSpool(folder)


async def test_an_answer_is_read_with_its_head(tmp_path: Path) -> None:
    spool = spooled(tmp_path, json.dumps(pictures(2)).encode())
    found = await spool.read(NAME, NOBODY)
    assert found is not None and found.answer is not None
    assert (found.status, found.headers) == (200, {"x-request-id": "req_1"})
    assert len(found.answer.pictures) == 2
    assert await spool.read("run_x-1", NOBODY) is None
    span = await spool.span(NAME, 1)
    assert isinstance(span, Span)
    assert spool.path(NAME).read_bytes()[span.start : span.stop] == coded(png(1)).encode()
    assert await spool.span(NAME, 2) is None


@pytest.mark.parametrize("head", [b"", b"\n", b"[]\n", b'{"status":"x"}\n', b"x" * 70_000])
async def test_a_file_that_is_none_of_ours_is_no_answer(tmp_path: Path, head: bytes) -> None:
    (tmp_path / f"{NAME}.answer").write_bytes(head)
    found = await AnswerSpool(tmp_path).read(NAME, NOBODY)
    assert found is not None and found.answer is None and found.trouble


@pytest.mark.parametrize(
    "link",
    [f"spool:{NAME}/1", "spool:run_b-1/0", f"spool:{NAME}", f"spool:{NAME}/x", "spool:../../x-1/0",
     f"spool:{NAME}/0/../1", f"spool:{NAME}/99999", "spool:", f"spool:{NAME}/-1"],
)  # fmt: skip
async def test_links_that_lead_nowhere_are_dead(tmp_path: Path, link: str) -> None:
    links = SpoolLinks(spooled(tmp_path, json.dumps(pictures(1)).encode()), Fetcher())
    with pytest.raises(LinkDead):
        async with links.stream(link, max_bytes=999, timeout_seconds=1) as body:
            async for _ in body:
                pass


OURS = "run_ours"


async def test_what_lies_there_is_told_and_removed_by_run(tmp_path: Path) -> None:
    spool = AnswerSpool(tmp_path / "a" / "spool")
    await spool.open()
    await spool.open()
    for name in (f"{OURS}-1.answer", f"{OURS}-12.0.ref", f"{OURS}2-1.part", "other"):
        (spool.folder / name).write_bytes(b"")
    assert set(await spool.run_ids()) == {OURS, f"{OURS}2"}
    await spool.remove(OURS)
    await spool.remove(OURS)
    assert {path.name for path in spool.folder.iterdir()} == {f"{OURS}2-1.part", "other"}
    assert await spool.free_bytes() > 0


async def test_room_that_a_kill_left_set_aside_is_free_when_it_is_opened_again(
    tmp_path: Path,
) -> None:
    spool = AnswerSpool(tmp_path)
    spool.arriving(RUN).begin(100_000)  # and nobody ends it
    for name in (f"{OURS}-1.answer", f"{OURS}-2.part", f"{OURS}-2.0.ref", "other.part"):
        (tmp_path / name).write_bytes(b"x")
    await spool.open()
    assert {path.name for path in tmp_path.iterdir()} == {f"{OURS}-1.answer", "other.part"}


async def test_where_nothing_can_be_written_there_is_no_room() -> None:
    with pytest.raises(OSError, match="/proc/self"):
        await AnswerSpool(Path("/proc/self")).free_bytes()


async def test_what_can_be_removed_goes_although_something_cannot(tmp_path: Path) -> None:
    spool = AnswerSpool(tmp_path)
    for index in (2, 4):
        (tmp_path / f"{OURS}-{index}.answer").mkdir()
    for index in (1, 3, 5):
        (tmp_path / f"{OURS}-{index}.answer").write_bytes(b"")
    with pytest.raises(OSError, match=r"-[24]\.answer"):
        await spool.remove(OURS)
    assert {path.name for path in tmp_path.iterdir()} == {f"{OURS}-{n}.answer" for n in (2, 4)}


async def test_an_answer_that_was_begun_before_is_begun_anew(tmp_path: Path) -> None:
    spool = AnswerSpool(tmp_path)
    first, second = spool.arriving(a_run()), spool.arriving(a_run())
    first.begin(10)
    first.write(b"x" * 100)
    second.begin(10)
    second.head(200, {})
    second.write(json.dumps(pictures()).encode())
    second.finish()
    second.discard()
    found = await spool.read(NAME, NOBODY)
    assert found is not None and found.answer is not None and len(found.answer.pictures) == 1
    with pytest.raises(OSError, match="given up"):
        second.write(b"x")


async def test_a_folder_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    """Else no order would be taken any more, for a lack of room that is none."""
    spool = AnswerSpool(tmp_path / "spool")
    await spool.open()
    for use in (spool.free_bytes, spool.run_ids):
        spool.folder.rmdir()
        await use()
        assert spool.folder.stat().st_mode & 0o777 == 0o700
    spool.folder.rmdir()
    arriving = spool.arriving(RUN)
    arriving.begin(0)
    arriving.discard()


DAMAGE = {
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "another head": lambda whole: b"nonsense" + whole,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_answer_is_given_as_it_is_for_what_cannot_be_read(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """So that the picture store sets all of it aside, in pieces that it takes."""
    spool, links = await lying(tmp_path, json.dumps(pictures(2)).encode())
    path = spool.path(NAME)
    path.write_bytes(damage(path.read_bytes().partition(b"\n")[2]))
    pieces = [await fetched(links, index, max_bytes=100) for index in range(3)]
    assert b"".join(pieces) == path.read_bytes()[:300]
    with pytest.raises(LinkDead):
        await fetched(links, 90, max_bytes=100)


async def test_an_answer_that_has_lost_its_head_is_read_all_the_same(tmp_path: Path) -> None:
    spool, links = await lying(tmp_path, json.dumps(pictures(2)).encode())
    path = spool.path(NAME)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    assert [await fetched(links, index) for index in range(2)] == [png(0), png(1)]


async def lying(folder: Path, body: bytes) -> tuple[AnswerSpool, SpoolLinks]:
    spool = AnswerSpool(folder)
    arriving = spool.arriving(RUN)
    arriving.begin(0)
    arriving.head(200, {})
    arriving.write(body)
    arriving.finish()
    return spool, SpoolLinks(spool, Fetcher(allow_private=True))


async def fetched(links: SpoolLinks, index: int, *, max_bytes: int = 10**6) -> bytes:
    link = f"spool:{NAME}/{index}"
    async with links.stream(link, max_bytes=max_bytes, timeout_seconds=5) as body:
        return b"".join([piece async for piece in body])
