"""Killed before any system call, with the power failing after it, a store shows no half picture."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from picture_samples import picture

HERE = Path(__file__).parent


@pytest.mark.parametrize("lost", ["data", "names"])
def test_a_crash_at_any_step_leaves_nothing_or_a_whole_picture(tmp_path: Path, lost: str) -> None:
    data = picture("png", 400, 250)  # more than one batch of the store
    (tmp_path / "picture").write_bytes(data)
    done = subprocess.run(
        [sys.executable, HERE / "crash_driver.py", tmp_path, tmp_path / "picture", lost],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(HERE), *sys.path])},
        stdout=subprocess.PIPE,
        check=True,
    )
    seen = json.loads(done.stdout)
    name = hashlib.sha256(data).hexdigest()
    both = {f"{name}.png": "whole", f"{name}.json": "whole"}

    steps = [step for crash in seen for step in crash["killed_before"]]
    # The picture in two batches, what is beside it, and both durable before they have names.
    assert steps[:8] == ["open", "write", "write", "open", "write", "fsync", "link", "fsync"]
    assert steps.count("link") == 2  # the picture and its sidecar
    assert len(steps) == len(seen) - 1 >= 15
    for crash in seen:
        assert crash["visible"].items() <= both.items()
        assert set(crash["promised"]) <= set(crash["visible"])
        assert crash["mended"]
        assert crash["finally"] == both
    assert [len(crash["promised"]) for crash in seen] == sorted(
        len(crash["promised"]) for crash in seen
    )
    assert seen[-1]["promised"] == [f"{name}.png", f"{name}.json"]
