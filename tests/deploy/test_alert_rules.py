"""Rules: promtool has nothing to say, and each has its cases and its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import CASES, DEPLOY, RULES, alerts, read, recorded, tool
from prometheus_server import configuration

RUNBOOKS = "{{ or $externalLabels.runbooks `deploy/runbooks.md` }}"
PAGES = (DEPLOY / "runbooks.md").read_text("utf-8")
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
    config.write_text(yaml.safe_dump(dict(configuration(["127.0.0.1:1"], 2, key))))
    assert "SUCCESS" in promtool("check", "config", str(config))
    promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml"))


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
    assert set(told) == {"summary", "description", "runbook_url"}
    assert all(text.endswith((".", f"#{name.lower()}")) for text in told.values())
    base, _, anchor = told["runbook_url"].partition("#")
    assert (base, anchor) == (RUNBOOKS, name.lower())
    section = PAGES.partition(f"\n## {name}\n")[2]
    assert len(section.partition("\n#")[0].split()) > 10


def test_no_page_without_an_alert() -> None:
    assert re.findall(r"^## (\w+)$", PAGES, re.MULTILINE) == list(alerts())


def test_the_base_of_the_pages_is_said_once_and_leads_to_them() -> None:
    """As a label that every alert would carry, and so is taken off before it goes out."""
    config = read(DEPLOY / "prometheus" / "prometheus.yml")
    ((label, base),) = config["global"]["external_labels"].items()
    assert f"$externalLabels.{label} " in RUNBOOKS
    assert base.startswith("https://") and base.endswith("/deploy/runbooks.md")
    drop = {"action": "labeldrop", "regex": label}
    assert drop in config["alerting"]["alert_relabel_configs"]


@pytest.mark.timeout(600)
@pytest.mark.long
def test_what_the_page_says_proves_a_fresh_clone(tmp_path: Path) -> None:
    """With no file of a key anywhere, and no more than the folder itself: so rules do what their
    cases say, in every file of them."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns(".env"))
    page = (DEPLOY / "README.md").read_text("utf-8")
    commands = page.partition("## Prove")[2].partition("```sh\n")[2].partition("```")[0]
    assert "promtool check config" in commands
    assert "promtool test rules prometheus/tests/*.yml" in commands
    for command in commands.splitlines():
        program = tool(command.partition(" ")[0])
        done = subprocess.run(
            ["bash", "-c", f"{program} {command.partition(' ')[2]}"],
            cwd=tmp_path / "deploy",
            env={"HOME": str(tmp_path), "PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
