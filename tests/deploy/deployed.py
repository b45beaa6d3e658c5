"""What lies in `deploy/`, read as people who run it read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
CASES = DEPLOY / "prometheus" / "tests"
BOARDS = DEPLOY / "grafana" / "dashboards"
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
"""Where programs are: servers lie in a folder that is not on everybody's path."""


@dataclass(frozen=True)
class Asked:
    """An expression and where it stands; `heading` is that of a table's column."""

    where: str
    expr: str
    heading: str = ""


def tool(name: str) -> str:
    """Where a program is, beside Python or on the path. Without it a test is skipped, not in CI."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name, path=PLACES)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    """Every rule, recorded ones first."""
    files = (RULES / "recording.yml", RULES / "alerts.yml")
    return [rule for file in files for group in read(file)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> list[str]:
    return [rule["record"] for rule in rules() if "record" in rule]


def boards() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(BOARDS.iterdir())}


def panels(waiters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in waiters["panels"] if panel["type"] != "row"]


def asked_by_panels() -> Iterator[Asked]:
    for name, waiters in boards().items():
        for panel in panels(waiters):
            for target in panel["targets"]:
                where = f"{name} / {panel['title']} / {target['refId']}"
                yield Asked(where, target["expr"], target["legendFormat"])


_OUTSIDE = re.compile(r'("[^"]*"|\{[^}]*\})|(==|!=|>=|<=|>|<)(?!\s*bool)')


def without_threshold(expr: str) -> str:
    """The expression with its comparisons answered by 0 or 1: empty only where an operand is."""
    return _OUTSIDE.sub(lambda found: found[1] or f"{found[2]} bool", expr)
