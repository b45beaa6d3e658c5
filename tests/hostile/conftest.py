"""Hostile tests, against whole gateways and sandboxes: those of `tests/e2e/house.py`."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("e2e", "adapters/pictures"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
