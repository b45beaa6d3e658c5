"""Several gateways that begin in an empty bucket at the same moment have one store."""

from __future__ import annotations

from pathlib import Path

import shared_servers
from homes import BucketHome


async def test_of_several_that_find_no_marker_the_first_ones_id_stays(tmp_path: Path) -> None:
    home = BucketHome(shared_servers.s3(), tmp_path)
    first, second, third = (home.store() for _ in range(3))
    assert [await one.found() for one in (first, second, third)] == [None, None, None]
    assert await first.open("first") == "first"
    assert await second.open("second") == "first"
    assert await third.open("third") == "first"
    for one in (first, second, third):
        assert await one.problem() is None
        await one.close()


async def test_whoever_read_the_marker_may_write_over_it(tmp_path: Path) -> None:
    """As at the start after an operator has written `adopt`; a second one takes what it finds."""
    home = BucketHome(shared_servers.s3(), tmp_path)
    home.mark("adopt")
    first, second = home.store(), home.store()
    assert [await first.found(), await second.found()] == ["adopt", "adopt"]
    assert await first.open("known") == "known"
    assert await second.open("another") == "known"
    for one in (first, second):
        assert await one.problem() is None
        await one.close()
