"""What `make fuzz` gives to begin with goes through each target, whole and cut."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import pytest

TARGETS: Final = sorted(path.stem for path in (Path(__file__).parent / "fuzz").glob("reads_*.py"))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_its_seeds_go_through(name: str) -> None:
    target = importlib.import_module(name)
    for seed in target.seeds():
        for part in (seed, seed[: len(seed) // 2]):
            target.give(part)
