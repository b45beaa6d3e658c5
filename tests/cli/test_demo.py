"""The demo as a newcomer meets it: in a pipe, on a terminal, interrupted, and when it fails."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from gateway.cli.demo.preview import preview
from gateway.cli.demo.text import json_lines, short_link

DEMO = (sys.executable, "-m", "gateway", "demo", "--seconds", "0.3")
PROMPT_LINE = "a lighthouse at dusk, oil on canvas"


class Place:
    """A folder to run the demo in, with a temporary folder of its own to look into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
        self.environ = {**plain, "TMPDIR": str(self.scratch), "TERM": "xterm-256color"}

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*(arguments or DEMO)],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    def on_a_terminal(self, *, interrupt_at: str = "", **environ: str) -> tuple[int, str]:
        """The exit status and all that was shown; Ctrl-C is sent when `interrupt_at` appears."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            DEMO,
            cwd=self.folder,
            env={**self.environ, "COLUMNS": "80", "LINES": "40", **environ},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
            if interrupt_at and interrupt_at.encode() in shown:
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
        os.close(leader)
        return process.wait(20), shown.decode()


def _read(leader: int) -> bytes:
    """What came within a time in which something has to come; nothing at the end."""
    ready, _, _ = select.select([leader], [], [], 40)
    assert ready, "the demo said nothing for 40 s"
    try:
        return os.read(leader, 65_536)
    except OSError:
        return b""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    place = Place(tmp_path_factory.mktemp("demo"))
    result = place.run()
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    return place, result.stdout


def test_in_a_pipe_it_is_plain_lines(piped: tuple[Place, str]) -> None:
    _, shown = piped
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "words",
    [
        "POST http://127.0.0.1:",
        "Cache-Status: image-gateway; fwd=miss; stored",
        "studio  completed 100%",
        "ok made in",
        "for $0.06",
        "Cache-Status: image-gateway; hit; ttl=",
        "for $0.00: saved $0.06",
        "fwd=miss; collapsed",
        "ok two tasks, one paid run: cost $0.08, saved $0.08",
        "400 Bad Request",
        """"param": "size\"""",
        "402 Payment Required",
        "ok refused by usd_per_day; the budget is fresh again at 20",
        "ok made in 0.",
        "by OpenAI, which was asked once",
        "ok audit: 3 runs, 3 pictures, $0.192",
        "spent: the ledger adds up.",
        "serve --sandbox",
        "console    http://127.0.0.1:8080/console",
        "team key   team-demo-key",
        "admin key  admin-demo-key",
        "API docs   http://127.0.0.1:8080/docs",
        "image-gateway-demo/",
    ],
)
def test_it_shows(piped: tuple[Place, str], words: str) -> None:
    assert words in piped[1]


def test_whose_order_came_first_of_two_at_the_same_moment_pays(piped: tuple[Place, str]) -> None:
    place, shown = piped
    told = json.loads((place.folder / "image-gateway-demo" / "fox.json").read_bytes())
    left = {"studio": "$0.26", "marketing": "$0.34"}[told["team"]]
    assert f"needs $0.36 and {left} is left" in shown


def test_the_other_vendors_bill_is_what_the_ledger_has(piped: tuple[Place, str]) -> None:
    place, shown = piped
    told = re.search(r"OpenAI's bill \$(\d\.\d{6}), in the ledger \$(\d\.\d{6})\n", shown)
    assert told is not None and told[1] == told[2]
    kept = json.loads((place.folder / "image-gateway-demo" / "heron.json").read_bytes())
    assert kept["upstream"] == "sandbox-openai"
    assert round(float(told[1]) * 1e6) == round(float(kept["cost_usd"]) * 1e6)


def test_it_leaves_pictures_their_provenance_and_the_log(piped: tuple[Place, str]) -> None:
    place, _ = piped
    left = place.folder / "image-gateway-demo"
    assert sorted(path.name for path in left.iterdir()) == [
        "fox.json",
        "fox.png",
        "gateway.log",
        "heron.json",
        "heron.png",
        "lighthouse.json",
        "lighthouse.png",
    ]
    for name, size, teams in (
        ("lighthouse", (1536, 1024), {"studio"}),
        ("fox", (1024, 1024), {"studio", "marketing"}),
        ("heron", (1024, 1024), {"marketing"}),
    ):
        with Image.open(left / f"{name}.png") as image:
            image.load()
            assert image.size == size
        told = json.loads((left / f"{name}.json").read_bytes())
        assert told["team"] in teams
        assert told["bytes"] == (left / f"{name}.png").stat().st_size
    lines = [json.loads(line) for line in (left / "gateway.log").read_text().splitlines()]
    assert {"order", "run"} <= {line["event"] for line in lines}
    assert list(place.scratch.iterdir()) == []


def test_on_a_terminal_it_moves_and_shows_the_picture(place: Place) -> None:
    code, shown = place.on_a_terminal(COLORTERM="truecolor")
    assert code == 0, shown
    assert "\N{UPPER HALF BLOCK}" in shown
    assert "100%" in shown
    assert re.search(r"\x1b\[38;2;\d+;\d+;\d+", shown)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_no_color_and_ctrl_c(place: Place) -> None:
    code, shown = place.on_a_terminal(interrupt_at="pending", NO_COLOR="1")
    assert code == 130
    assert "Interrupted" in shown
    assert "Traceback" not in shown
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|38|9[0-7])(;[\d;]*)?m", shown)
    assert list(place.scratch.iterdir()) == []


def test_what_goes_wrong_is_said_and_is_the_exit_status(place: Place) -> None:
    poor = (
        "from gateway.cli import main\n"
        "from gateway.cli.demo import installation\n"
        "installation.BUDGETS_USD['studio'] = '0.01'\n"
        "main(['demo', '--keep', 'left'])"
    )
    result = place.run(sys.executable, "-c", poor)
    assert result.returncode == 1
    assert "The demo failed: answered 402 and not 200" in result.stdout
    assert "The gateway's log: left/gateway.log" in result.stdout
    assert "Traceback" not in result.stderr
    assert list(place.scratch.iterdir()) == []


def test_a_folder_that_cannot_be_made(place: Place) -> None:
    result = place.run(*DEMO, "--keep", "/proc/image-gateway-demo")
    assert result.returncode == 1
    assert "/proc/image-gateway-demo" in result.stdout
    assert "Traceback" not in result.stderr


def test_help_teaches_and_loads_nothing_heavy(place: Place) -> None:
    code = (
        "import sys\nfrom gateway.cli import main\n"
        "try: main(['demo', '--help'])\n"
        "finally: print(sorted({n.partition('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    started = time.perf_counter()
    result = place.run(sys.executable, "-c", code)
    assert time.perf_counter() - started < 5
    assert "--keep" in result.stdout and "nothing paid" in result.stdout
    for heavy in ("rich", "uvicorn", "starlette", "structlog", "PIL"):
        assert f"'{heavy}'" not in result.stderr


def test_json_breaks_between_members() -> None:
    value = {"one": "a" * 20, "two": {"three": 3, "four": ["x, y", 4]}, "five": None}
    lines = json_lines(value, 42)
    assert json.loads("".join(lines)) == value
    assert lines == [
        '{"one": "aaaaaaaaaaaaaaaaaaaa",',
        ' "two": {"three": 3, "four": ["x, y", 4]},',
        ' "five": null}',
    ]
    assert json_lines({"a": 1}, 40, partly=True) == ['{"a": 1, ...}']


def test_a_long_link_is_shortened() -> None:
    link = f"http://h/pictures/{'0123456789abcdef' * 4}.png"
    assert short_link(link) == "http://h/pictures/0123456789ab...png"


def test_a_preview_is_two_pixels_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    image = Image.new("RGB", (100, 100), "red")
    image.paste("blue", (0, 50, 100, 100))
    image.save(path)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system="truecolor", width=80)
    console.print(preview(path))
    lines = shown.getvalue().rstrip("\n").splitlines()
    assert len(lines) == 16
    assert {line.count("\N{UPPER HALF BLOCK}") for line in lines} == {32}
    assert "38;2;255;0;0;48;2;255;0;0" in lines[0]
    assert "38;2;0;0;255;48;2;0;0;255" in lines[-1]
