"""What docs/operate.md tells people to type, for tests that do so."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli import main

PAGE = (Path(__file__).resolve().parent.parent / "docs/operate.md").read_text("utf-8")
_COMMAND = re.compile(r"^image-gateway (.*?)(?: +#.*)?$", re.MULTILINE)


def blocks(title: str, language: str = "sh") -> list[str]:
    """The examples of this language under the heading."""
    section = PAGE.split(f"\n### {title}\n", 1)[1].split("\n### ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(title: str) -> list[list[str]]:
    """The commands of its first example, word by word."""
    return [line.split() for line in _COMMAND.findall(blocks(title)[0])]


def typed(words: list[str], data: Path) -> Result:
    """Runs one for the data folder `data`; other folders that it names lie beside that."""
    line = [f"{data.parent}{word}" if word.startswith("/") else word for word in words]
    (data.parent / "mnt/backup").mkdir(parents=True, exist_ok=True)
    if "--data-dir" not in line:
        line += ["--data-dir", str(data)]
    return CliRunner().invoke(main, line)
