"""Rules: promtool has nothing to say, and each has its cases and its page."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import CASES, DEPLOY, RULES, alerts, read, recorded, tool
from prometheus_server import configuration

NAME = re.compile(r"[a-z]+(_[a-z]+)?:gateway_[a-z_]+:[a-z0-9_]+")


def promtool(*arguments: str) -> str:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cases() -> list[dict[str, Any]]:
    return [case for file in sorted(CASES.iterdir()) for case in read(file)["tests"]]


def test_rules_are_well_formed() -> None:
    told = promtool("check", "rules", *map(str, sorted(RULES.iterdir())))
    assert told.count("SUCCESS") == 2


def test_the_configuration_is_well_formed(tmp_path: Path) -> None:
    """Promtool wants the key's file to be there, so that is another one here."""
    key = tmp_path / "key"
    key.write_text("a key")
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(dict(configuration("127.0.0.1:1", 2, key))))
    assert "SUCCESS" in promtool("check", "config", str(config))
    promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.parametrize("file", sorted(CASES.iterdir()), ids=lambda file: file.stem)
def test_rules_do_what_their_cases_say(file: Path) -> None:
    promtool("test", "rules", str(file))


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    found = defaultdict(set)
    for case in cases():
        for one in case.get("alert_rule_test", ()):
            found[one["alertname"]].add(bool(one["exp_alerts"]))
    assert dict(found) == {name: {True, False} for name in alerts()}


def test_every_recorded_number_has_a_case_with_a_value() -> None:
    asked = [
        one["expr"]
        for case in cases()
        for one in case.get("promql_expr_test", ())
        if one["exp_samples"]
    ]
    assert [name for name in recorded() if not any(name in expr for expr in asked)] == []
    assert [name for name in recorded() if not NAME.fullmatch(name)] == []
    assert len(set(recorded())) == len(recorded())


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_it_means_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("critical", "warning")
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook"}
    assert all(text.endswith((".", name.lower())) for text in told.values())
    page, _, anchor = told["runbook"].partition("#")
    assert (page, anchor) == ("deploy/README.md", name.lower())
    section = (DEPLOY / "README.md").read_text("utf-8").partition(f"\n### {name}\n")[2]
    assert len(section.partition("\n#")[0].split()) > 10


def test_no_page_without_an_alert() -> None:
    pages = re.findall(r"^### (\w+)$", (DEPLOY / "README.md").read_text("utf-8"), re.MULTILINE)
    assert pages == list(alerts())
