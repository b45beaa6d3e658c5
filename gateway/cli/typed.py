"""How this program's commands are typed here, so that what is shown can be copied."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def typed(*words: str) -> str:
    """A command line of this program, quoted for a shell."""
    return f"{_program()} {shlex.join(words)}"


def _program() -> str:
    """By its name when PATH finds this very one, else by its path."""
    program = Path(sys.argv[0])
    if program.name != "image-gateway":
        return "python -m gateway"
    try:
        found = shutil.which(program.name)
        if found is not None and Path(found).samefile(program):
            return program.name
        absolute, here = program.absolute(), Path.cwd()
    except OSError:  # the folder that this runs in is gone
        return program.name
    shown = absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
    return shlex.quote(str(shown))
