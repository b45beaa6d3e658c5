"""Takes the pictures that README.md and the pages show: `make screenshots`.

It starts a gateway with the simulated upstreams inside, lets three teams order, opens each page in
Chromium and writes a file for each of `SHOTS`; and it plays the demo and draws what a terminal
shows of it. It takes less than a minute and costs nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2 as httpx
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from gateway.cli.demo.command import DEFAULT_FOLDER, play
from gateway.cli.demo.stage import THEME, WIDTH, Stage
from gateway.config.sandbox import ADMIN_KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT: Final = Path(__file__).resolve().parent.parent
SIZE: Final = (1280, 960)
READY: Final = "image-gateway is ready on "
ROLE_KEYS: Final = {"team": "gateway.team-key", "admin": "gateway.admin-key"}
"""Under which names the console keeps its keys."""

LIGHTHOUSE: Final = "a lighthouse at dusk, gouache"
ORDERED: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    # Team: prompt, size, quality.
    "marketing": [
        (LIGHTHOUSE, "3:2", "medium"),
        ("a red bicycle against a blue wall", "1:1", "low"),
        ("autumn leaves in watercolour", "1:1", "low"),
        ("a paper boat on a puddle, seen from above", "2:3", "medium"),
        ("an orange cat asleep on a bookshelf", "1:1", "low"),
        ("mountains in the morning, flat colours", "3:2", "low"),
    ],
    "editorial": [
        ("a newspaper stand in the rain", "3:2", "medium"),
        ("a typewriter, line drawing", "1:1", "low"),
    ],
    "product": [
        ("a blue mug on a white table", "1:1", "high"),
        ("a blue mug on a wooden table", "1:1", "high"),
    ],
}
TEAMS: Final[Sequence[Mapping[str, Any]]] = (
    {
        "name": "marketing",
        "description": "Campaigns and social media",
        "budgets": [{"usd": 1, "per": "day"}, {"usd": 20, "per": "month"}],
    },
    {
        "name": "editorial",
        "description": "Magazine and newsletter",
        "budgets": [{"usd": 2, "per": "day"}, {"usd": 40, "per": "month"}],
    },
    {
        "name": "product",
        "description": "Shop pictures",
        "budgets": [{"usd": 5, "per": "day"}],
        "mode": "shadow",
    },
)


# --- what is taken -------------------------------------------------------------------------------


def _order_again(page: Page) -> None:
    """Orders what is in the cache, and waits for its picture."""
    page.get_by_label("Prompt").fill(LIGHTHOUSE)
    page.get_by_label("Size").select_option("3:2")
    page.get_by_role("radio", name=re.compile("medium", re.IGNORECASE)).check()
    page.get_by_text("from the cache").first.wait_for()
    page.get_by_role("button", name="Generate").click()
    page.locator(".result .picture img").first.wait_for()
    page.wait_for_timeout(700)  # the price is asked anew a moment after an order has ended
    page.get_by_text("Asking for the price").wait_for(state="hidden")


def _nothing(_: Page) -> None:
    """The page as it opens."""


@dataclass(frozen=True)
class Shot:
    """A page of the console: whose keys are there, its place behind `#/`, what is done there."""

    name: str
    keys: Sequence[str]
    place: str = ""
    act: Callable[[Page], None] = _nothing


SHOTS: Final[Sequence[Shot]] = (
    Shot("console-sign-in", ()),
    Shot("console-playground", ("team",), act=_order_again),
    Shot("console-gallery", ("team",), "gallery"),
    Shot("console-usage", ("team",), "mine"),
    Shot("console-teams", ("admin",), "teams"),
    Shot("console-spend", ("admin",), "usage"),
)


# --- the gateway ---------------------------------------------------------------------------------


@contextlib.contextmanager
def running_gateway(folder: Path) -> Iterator[str]:
    """The address of a gateway of its own; what it keeps goes into the folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--sandbox", "--port", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process.stdout as lines:
        ready = next((line for line in lines if line.startswith(READY)), None)
        if ready is None:
            raise SystemExit("The gateway did not start: `make run` says why.")
        try:
            yield ready.removeprefix(READY).strip()
        finally:
            process.send_signal(signal.SIGTERM)
            lines.read()
            process.wait(30)


def prepared(address: str) -> str:
    """Makes the teams and has them order; the key of the first team."""
    with httpx.Client(base_url=address, timeout=60) as client:
        keys = {str(team["name"]): _made(client, team) for team in TEAMS}
        orders = [
            (keys[team], order) for team, listed in ORDERED.items() for order in (*listed, *listed)
        ]
        with ThreadPoolExecutor(len(orders)) as threads:
            for answer in threads.map(lambda one: _ordered(client, *one), orders):
                answer.raise_for_status()
    return keys[str(TEAMS[0]["name"])]


def _made(client: httpx.Client, team: Mapping[str, Any]) -> str:
    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    client.post("/admin/v1/teams", json=dict(team), headers=admin).raise_for_status()
    path = f"/admin/v1/teams/{team['name']}/keys"
    issued = client.post(path, json={"label": "console"}, headers=admin).raise_for_status()
    return str(issued.json()["key"])


def _ordered(client: httpx.Client, key: str, order: tuple[str, str, str]) -> httpx.Response:
    prompt, size, quality = order
    body = {"model": "gpt-image-1.5", "prompt": prompt, "size": size, "quality": quality}
    headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=50"}
    return client.post("/v1/images/generations", json=body, headers=headers)


# --- the browser ---------------------------------------------------------------------------------


def take(browser: Browser, address: str, shot: Shot, keys: Mapping[str, str], path: Path) -> None:
    held = {ROLE_KEYS[role]: keys[role] for role in shot.keys}
    context = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]},
        reduced_motion="reduce",
        color_scheme="light",
        timezone_id="UTC",
        locale="en-US",
    )
    with context:
        context.add_init_script(
            f"if (location.protocol !== 'about:') Object.entries({json.dumps(held)})"
            ".forEach(([name, key]) => sessionStorage.setItem(name, key));"
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{address}/console#/{shot.place}")
        page.locator("main h1").wait_for()
        _still(page)
        shot.act(page)
        _still(page)
        page.mouse.move(0, 0)  # or what lies beneath looks as if it were meant
        page.evaluate("scrollTo(0, 0)")
        _write(page.screenshot(), path)


def _write(picture: bytes, path: Path) -> None:
    """With 256 colours: a third of the size, and nobody sees it."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _still(page: Page) -> None:
    """Waits until nothing is being loaded any more, pictures too."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        "!document.querySelector('.loading, [aria-busy]')"
        " && [...document.images].every((one) => one.complete || one.loading === 'lazy')"
    )


# --- the demo ------------------------------------------------------------------------------------


class Filmed(Stage):
    """A stage whose first two scenes and last one are remembered by its console."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._film = console
        self._scenes = 0

    def step(self, title: str, text: str) -> None:
        self._scenes += 1
        if self._scenes == 3:
            self._film.print("\n...")
        self._film.record = self._scenes in (1, 2, 7)
        super().step(title, text)

    def close(self, folder: Path) -> None:
        self._film.record = False
        super().close(folder)


def draw_demo(path: Path) -> None:
    """What a terminal shows of `make demo`, as an SVG that loads nothing."""
    console = Console(file=io.StringIO(), theme=THEME, emoji=False, width=WIDTH, record=True)
    console.record = False
    with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
        DEFAULT_FOLDER.mkdir()
        play(Filmed(console), DEFAULT_FOLDER, seconds=3.0)
    console.record = True
    frame = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    drawn = console.export_svg(title="make demo", code_format=frame, unique_id="demo")
    drawn = drawn.replace("Fira Code,", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas,")
    path.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE), "utf-8")


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where they go")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    draw_demo(folder / "demo.svg")
    print("demo.svg")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as home, running_gateway(Path(home)) as address:
        keys = {"team": prepared(address), "admin": ADMIN_KEY}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for shot in SHOTS:
                take(browser, address, shot, keys, folder / f"{shot.name}.png")
                print(f"{shot.name}.png")
            browser.close()


if __name__ == "__main__":
    main()
