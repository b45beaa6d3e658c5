"""Writes the boards as the JSON that Grafana reads: `python deploy/grafana/build.py [FOLDER]`.

The files in `dashboards/` are what this makes, never edited by hand; a test compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import operations_board
import platform_board
import team_board
from panels import board_json

FOLDER = Path(__file__).resolve().parent / "dashboards"
BOARDS = {
    "platform": platform_board.BOARD,
    "team": team_board.BOARD,
    "operations": operations_board.BOARD,
}


def texts() -> Mapping[str, str]:
    """File name → what it has to contain."""
    return {
        f"{name}.json": json.dumps(board_json(board), indent=2, ensure_ascii=False) + "\n"
        for name, board in BOARDS.items()
    }


def main(folder: Path) -> None:
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
