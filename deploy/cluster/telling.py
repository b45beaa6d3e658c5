"""How the cluster's story looks: plain sentences, 80 columns, colours on a terminal alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from cluster.installation import Part

WIDTH: Final = 80
INDENT: Final = 3


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Who told it cleans up, in order, and says nothing any more."""
        self.quiet = True
        raise BrokenPipeError


class Telling:
    """Prints to standard output and decides nothing."""

    def __init__(self) -> None:
        self._console = _Console(emoji=False, highlight=False)
        watched = self._console.is_terminal
        self._console.width = min(self._console.width, WIDTH) if watched else WIDTH
        self._scene = 0

    def title(self, text: str) -> None:
        self._console.print(Rule(f"[bold]{text}[/]", align="left", style="bold cyan"))

    def scene(self, title: str, text: str) -> None:
        """The next scene, and what is about to happen."""
        self._scene += 1
        self._console.print()
        head = f"[bold cyan]{self._scene}[/]  [bold]{title}[/]"
        self._console.print(Rule(head, align="left", style="bright_black"))
        self.say(text)

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def did(self, text: str) -> None:
        """Something that is done, and was proved."""
        row = Table.grid(padding=(0, 1))
        row.add_row(Text("ok", style="green"), Text(text))
        self._indented(row)

    def line(self, text: str) -> None:
        """Something to copy: never broken, however narrow the terminal is."""
        self._console.print(Text(" " * INDENT + text, style="bold"), soft_wrap=True)

    def parts(self, parts: Sequence[Part]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
        for heading in ("process", "address", "pid", ""):
            table.add_column(heading, no_wrap=True)
        for part in parts:
            table.add_row(part.name, part.address, str(part.pid or "-"), Text(part.does))
        self._console.print()
        self._indented(table)

    def facts(self, facts: Mapping[str, str]) -> None:
        self._console.print()
        for name, value in facts.items():
            self._console.print(
                Text(" " * INDENT).append(f"{name:<10}", "bright_black").append(value),
                soft_wrap=True,
            )

    def failed(self, why: str) -> None:
        self._console.print()
        self._console.print(Text("This was not as it should be: ", style="red").append(why))

    def _indented(self, what: Table) -> None:
        self._console.print(Padding(what, (0, 0, 0, INDENT), expand=False))
