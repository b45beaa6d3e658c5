"""Prints what the changelog says of a release: `python .github/release_notes.py v0.1.0`.

Refuses a tag that is not the version of this source, and a version that the changelog says
nothing of: such a release would be published without its notes, or under a wrong name.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def notes(tag: str, version: str, changelog: str) -> str:
    """The section of this version without its heading. Raises ValueError."""
    if tag != f"v{version}":
        raise ValueError(
            f"the tag is {tag!r}, and gateway/__init__.py says {version}: tag v{version}, or "
            "change the version first"
        )
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |^\[[^]]+\]: |\Z)"
    found = re.search(heading, changelog, re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no '## [{version}] - YYYY-MM-DD' with words below it")
    return found[1].strip() + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .github/release_notes.py TAG")
    source = (ROOT / "gateway" / "__init__.py").read_text("utf-8")
    (version,) = re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE)
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8").replace("\r\n", "\n")
    try:
        sys.stdout.write(notes(sys.argv[1], version, changelog))
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
