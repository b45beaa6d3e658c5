"""Hostile tests, against whole gateways and sandboxes: those of `tests/e2e/house.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if not os.environ.get("IMAGE_GATEWAY_TEST_HOSTILE_REQUESTS"):
    # `make hostile` runs them, every night: a minute of two processors is too much for each change.
    collect_ignore_glob = ["test_*.py"]

for folder in ("e2e", "adapters/pictures"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
