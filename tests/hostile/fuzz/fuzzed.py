"""Fuzzes one target in this process; the last two folders are for what it learns and has found."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

import atheris

FOLLOWED: Final = ["gateway", "PIL", "python_multipart", "starlette"]
"""Packages in which new ways are looked for; what is native is not followed."""


def main(name: str, *wish: str) -> None:
    with atheris.instrument_imports(include=FOLLOWED):
        target = importlib.import_module(name)
    for number, seed in enumerate(target.seeds()):
        Path(wish[-2], f"seed-{number}").write_bytes(seed)
    atheris.Setup([name, *wish], target.give)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
