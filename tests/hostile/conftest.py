"""Hostile tests, against whole gateways and sandboxes: those of `tests/e2e/house.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# `make hostile` runs them all, every night: a minute of two processors is too much for each change.
EACH_TIME = ("test_stateful_surface.py", "test_fuzz_targets.py")

if not os.environ.get("IMAGE_GATEWAY_TEST_HOSTILE_REQUESTS"):
    every = [path.name for path in Path(__file__).parent.glob("test_*.py")]
    collect_ignore = [name for name in every if name not in EACH_TIME]

for folder in ("e2e", "adapters/pictures", "adapters/openai_images", "hostile/fuzz"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
