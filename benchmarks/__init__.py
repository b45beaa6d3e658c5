"""Measurements that people start by hand: `make bench`. None of them is a test."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "deploy"))  # servers of `cluster`
