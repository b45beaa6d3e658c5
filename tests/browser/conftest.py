"""Tests in a real browser, against a whole gateway and sandbox: those of `tests/e2e/house.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
