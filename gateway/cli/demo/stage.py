"""The demo's stage: how its story looks on a terminal, and in a file or pipe.

On a terminal: colours, moving bars, a preview of the picture. Elsewhere: plain lines without
control codes. It shows what it is given and decides nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2 as httpx
from rich import box
from rich.console import Console, RenderableType
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from gateway.cli.demo.client import DemoReply, Spend, total
from gateway.cli.demo.text import json_lines, next_commands, short_link, short_time

WIDTH: Final = 80
"""What everyone's terminal has; wider lines are harder to read."""

BAR_WIDTH: Final = 30
INDENT: Final = 3
SHOWN_FIELDS: Final = ("id", "status", "progress", "results", "error")
"""The fields of a task worth a line; the answer has about ten."""

THEME: Final = Theme(
    {
        "quiet": "bright_black",
        "good": "green",
        "bad": "red",
        "money": "bold yellow",
        "head": "bold",
        "step": "bold cyan",
    }
)

Told = Callable[[str, str, int], None]
"""Takes what a poll says of a task: whose it is, its status, its percentage."""


class Stage:
    """Prints to standard output; never wider than a terminal of 80 columns."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._fancy = self._console.is_terminal and not self._console.is_dumb_terminal
        self._step = 0
        self._after_wire = False

    @property
    def moves(self) -> bool:
        """Whether someone watches, so that a pause helps."""
        return self._fancy

    # --- the frame -----------------------------------------------------------------------------

    def open(self) -> None:
        self._console.print(Rule("[head]image-gateway demo[/]", align="left", style="step"))
        self.say(
            "A gateway, a simulated EvoLink and a simulated OpenAI start on this machine. Every "
            "request below is real HTTP through the gateway; nothing is paid and nothing leaves "
            "this machine."
        )

    def facts(self, rows: Mapping[str, str]) -> None:
        self._console.print()
        table = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            table.add_row(Text(name, style="quiet"), value)
        self._indented(table)

    def step(self, title: str, text: str) -> None:
        """Opens the next scene."""
        self._step += 1
        self._console.print()
        title = f"[step]{self._step}[/]  [head]{title}[/]"
        self._console.print(Rule(title, align="left", style="quiet"))
        self.say(text)

    def close(self, folder: Path) -> None:
        self._console.print()
        self._console.print(Rule("[head]Now try your own[/]", align="left", style="step"))
        self.say("The pictures, each with a file that says where it came from, and the log are in")
        self.plain_line(f"{folder}/")
        for what, command in next_commands():
            self.say(f"\n{what}")
            for line in command:
                self._console.print(Text(" " * INDENT + line, style="head"), soft_wrap=True)
        self._console.print()

    def failed(self, why: str, log: Path | None) -> None:
        self._console.print()
        self._console.print(Text("The demo failed: ", style="bad").append(why, style="head"))
        if log is not None:
            self._console.print(Text(f"The gateway's log: {log}"), soft_wrap=True)

    def interrupted(self) -> None:
        self._console.print("\nInterrupted; gateway and simulated upstreams are stopped.")

    # --- words ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A sentence; may carry markup."""
        self._console.print(text, highlight=False)

    def good(self, text: str) -> None:
        """Something that happened as it should; may carry markup."""
        if self._after_wire:
            self._console.print()
            self._after_wire = False
        self._item("[good]ok[/]", Text.from_markup(text))

    def _item(self, sign: str, text: Text) -> None:
        """A line behind a sign; what does not fit goes on beneath its beginning."""
        table = Table.grid(padding=(0, 1))
        table.add_row(sign, text)
        self._indented(table)

    def _indented(self, what: RenderableType) -> None:
        self._console.print(Padding(what, (0, 0, 0, INDENT), expand=False))

    # --- HTTP ----------------------------------------------------------------------------------

    def request(self, request: httpx.Request, *, key: bool = False) -> None:
        """The request; with its key when `key` is set."""
        self._after_wire = True
        self._console.print()
        self._wire(">", f"[head]{request.method}[/] {request.url}")
        if key:
            self._wire(">", f"Authorization: {request.headers['authorization']}")
        self._json(">", json.loads(request.content))

    def answer(self, answer: DemoReply) -> None:
        self._wire("<", f"{_status(answer)} [quiet]in {short_time(answer.seconds)}[/]")
        if answer.cache_status:
            self._wire("<", f"Cache-Status: [head]{answer.cache_status}[/]")
        if retry_after := answer.headers.get("retry-after"):
            self._wire("<", f"Retry-After: {retry_after}")
        shown = {name: answer.json[name] for name in SHOWN_FIELDS if name in answer.json}
        if "results" in shown:
            shown["results"] = [short_link(link) for link in shown["results"]]
        self._json("<", shown, partly=len(shown) < len(answer.json))

    def answers(self, answers: Mapping[str, DemoReply]) -> None:
        """Several answers at once, a line for each; keys say whose they are."""
        table = Table.grid(padding=(0, 1))
        for name, answer in answers.items():
            told = answer.cache_status.partition("; ")[2]
            task = f"[quiet]{answer.task_id}[/]"
            table.add_row("[quiet]<[/]", name, _status(answer), task, f"[head]{told}[/]")
        self._indented(table)

    def _wire(self, sign: str, text: str) -> None:
        self._item(f"[quiet]{sign}[/]", Text.from_markup(text))

    def _json(self, sign: str, value: Mapping[str, object], *, partly: bool = False) -> None:
        lines = json_lines(value, self._console.width - INDENT - 2, partly=partly)
        self._item(f"[quiet]{sign}[/]", JSONHighlighter()(Text("\n".join(lines))))

    # --- progress ------------------------------------------------------------------------------

    @contextmanager
    def progress(self, names: Sequence[str]) -> Iterator[Told]:
        """Bars, one for each name; without a terminal, a line at each change of status."""
        self._console.print()
        width = max(map(len, names))
        if not self._fancy:
            yield self._in_lines(width)
            return
        columns = (
            TextColumn(" " * INDENT + "{task.description}"),
            BarColumn(BAR_WIDTH),
            TaskProgressColumn(),
            TextColumn("[quiet]{task.fields[status]:10}[/]"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, refresh_per_second=12) as progress:
            rows = {name: progress.add_task(name.ljust(width), status="") for name in names}
            yield lambda name, status, percent: progress.update(
                rows[name], completed=percent, status=status
            )

    def _in_lines(self, width: int) -> Told:
        last: dict[str, str] = {}

        def told(name: str, status: str, percent: int) -> None:
            if last.get(name) != status:
                self.plain_line(f"{name:{width}}  {status} {percent}%")
            last[name] = status

        return told

    def preview(self, path: Path) -> None:
        """The picture in half-block characters, where there are colours for it."""
        if self._fancy and self._console.color_system in ("256", "truecolor"):
            from gateway.cli.demo.preview import preview

            self._console.print()
            self._indented(preview(path))

    # --- tables --------------------------------------------------------------------------------

    def spend(self, rows: Sequence[Spend]) -> None:
        table = Table(box=box.SIMPLE_HEAD, show_footer=True, header_style="head", pad_edge=False)
        table.add_column("team", "[head]all[/]")
        table.add_column("model")
        for head, footer in _numbers(total(rows)).items():
            table.add_column(head, f"[head]{footer}[/]", justify="right")
        for row in rows:
            table.add_row(row.team, row.model, *_numbers(row).values())
        self._indented(table)

    def plain_line(self, text: str) -> None:
        self._console.print(Text(" " * INDENT + text), soft_wrap=True)


def _status(answer: DemoReply) -> str:
    style = "good" if answer.status == 200 else "bad"
    return f"[{style}]{answer.status} {answer.phrase}[/]"


def _numbers(row: Spend) -> Mapping[str, str]:
    return {
        "spent": f"${row.spent_usd:.2f}",
        "saved": f"[good]${row.saved_usd:.2f}[/]",
        "generated": f"{row.generated:.0f}",
        "from cache": f"{row.from_cache:.0f}",
    }


def _console() -> Console:
    """No wider than 80 columns; a stream that cannot show a character gets a stand-in."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    console = Console(theme=THEME, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console
