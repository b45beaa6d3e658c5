"""Measurements that people start by hand: `make bench`. None of them is a test."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(_ROOT / "deploy"), str(_ROOT / "tests")]  # servers of `cluster`, samples of orders
