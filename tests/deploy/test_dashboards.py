"""Boards: what the script makes, in Grafana's own types, and readable by a person."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deployed import BOARDS, DEPLOY, asked_by_panels, boards, panels, tool

NPM = Path(__file__).resolve().parent / "npm"
COMPILE = (
    *("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"),
    *("--module", "esnext", "--moduleResolution", "bundler"),
)
UNITS = {
    *("short", "currencyUSD", "percentunit", "s", "bytes", "opm", "reqps", "dateTimeFromNow"),
}
VARIABLES = {"platform": [], "team": ["team"], "operations": []}


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    script = DEPLOY / "grafana" / "build.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    have = {path.name: path.read_text("utf-8") for path in BOARDS.iterdir()}
    assert have == made, "run `python deploy/grafana/build.py`"


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grafana's types and the compiler, as the lock names them."""
    npm = tool("npm")
    tool("node")
    folder = tmp_path_factory.mktemp("grafana")
    for file in NPM.iterdir():
        shutil.copy(file, folder)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
        told = done.stderr[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        told = "the npm registry does not answer"
    if told and os.environ.get("CI") == "true":
        pytest.fail(told)
    if told:
        pytest.skip(told)
    return folder


def compiled(folder: Path, texts: dict[str, str]) -> str:
    """What the compiler has to say of these boards."""
    for name, text in texts.items():
        source = f'import type {{ Board }} from "./plain";\nexport const board: Board = {text};\n'
        (folder / f"{name}.ts").write_text(source)
    tsc = folder / "node_modules" / ".bin" / "tsc"
    files = [f"{name}.ts" for name in texts]
    done = subprocess.run([tsc, *COMPILE, *files], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_grafanas_types_know_every_word(typescript: Path) -> None:
    told = compiled(typescript, {name: json.dumps(waiters) for name, waiters in boards().items()})
    assert told == ""


def test_grafanas_types_find_a_slip(typescript: Path) -> None:
    """In each of these places a misspelt word would not be seen by Grafana either."""
    text = json.dumps(boards()["platform"])
    slips = {
        '"mode": "absolute"': '"mode": "absolut"',
        '"displayMode": "lcd"': '"displayMode": "lcdd"',
        '"drawStyle": "line"': '"drawStyle": "lime"',
        '"cellHeight"': '"cellHight"',
        '"rowHeight": 0.8': '"rowHeight": "0.8"',
        '"gridPos"': '"gridPosition"',
    }
    for number, (right, slip) in enumerate(slips.items()):
        assert right in text
        told = compiled(typescript, {f"slip{number}": text.replace(right, slip)})
        assert f"slip{number}.ts" in told, slip


def test_boards_are_found_again_and_lead_to_each_other() -> None:
    assert {waiters["uid"] for waiters in boards().values()} == {
        f"image-gateway-{name}" for name in boards()
    }
    for waiters in boards().values():
        (link,) = waiters["links"]
        assert link["tags"] == waiters["tags"] == ["image-gateway"]
        assert link["includeVars"] and link["keepTime"]


@pytest.mark.parametrize("name", boards())
def test_a_board_can_be_chosen_from(name: str) -> None:
    variables = {one["name"]: one for one in boards()[name]["templating"]["list"]}
    assert list(variables) == ["datasource", "job", *VARIABLES[name]]
    assert variables["datasource"]["type"] == "datasource"
    known = {"datasource", "__rate_interval", "__range", *variables}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(boards()[name])))
    assert used <= known
    assert set(variables) <= used


@pytest.mark.parametrize("name", boards())
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    seen: set[str] = set()
    for panel in panels(boards()[name]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["title"] not in seen
        seen.add(panel["title"])
        defaults = panel["fieldConfig"]["defaults"]
        units = {defaults["unit"]} | {
            one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]
        }
        assert units <= UNITS
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert panel["datasource"]["uid"] == "${datasource}"
        headings = {target["legendFormat"] for target in panel["targets"]}
        overridden = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
        assert overridden <= headings


@pytest.mark.parametrize("name", boards())
def test_panels_lie_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    ids: set[int] = set()
    for panel in boards()[name]["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["id"] not in ids
        ids.add(panel["id"])


def test_every_expression_asks_for_the_chosen_gateway() -> None:
    """Two gateways on one Prometheus must not be mixed."""
    for asked in asked_by_panels():
        selectors = len(re.findall(r"\{[^}]*\}", asked.expr))
        assert asked.expr.count('job="$job"') == selectors > 0, asked.where
        bare = re.sub(r"\{[^}]*\}", "{}", asked.expr)
        named = re.findall(r"\b[a-z_]+:gateway_\w+:\w+(?!\{)\b|\bgateway_\w+\b(?![{:])", bare)
        assert [one for one in named if f"{one}{{}}" not in bare] == [], asked.where
