"""The workflows: what they run is there, each job may do no more than it needs, notes are found."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from deployed import ROOT, read

from gateway import __version__

WORKFLOWS = {path.stem: read(path) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
SCRIPT = ROOT / ".github" / "release_notes.py"
RELEASE = WORKFLOWS["release"]["jobs"]
CHANGES = """# Changelog

## [Unreleased]

- Not yet.

## [1.2.0] - 2030-01-02

### Added

- **One.** More.
[A link](docs/start.md) begins a line.

## [1.1.0] - 2029-01-02

- Old.

[1.2.0]: https://example.org/1.2.0
"""


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job.get("steps", ())]


def runs_of(job: str) -> list[str]:
    return [step["run"] for step in RELEASE[job]["steps"] if "run" in step]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_permissions_are_few(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for step in steps(name):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        # What a stranger chooses, such as a branch's name, is no part of a command.
        assert "${{" not in step.get("run", "")


def test_the_gate_is_the_developers() -> None:
    assert [step["run"] for step in steps("ci") if ".ci/run" in step.get("run", "")] == [
        "bash .ci/run"
    ]
    assert (ROOT / ".ci" / "run").is_file()


def test_nothing_is_published_before_the_gate_and_the_notes() -> None:
    assert RELEASE["gate"]["uses"] == "./.github/workflows/ci.yml"
    assert RELEASE["packages"]["needs"] == "gate"
    assert RELEASE["image"]["needs"] == "packages"
    assert RELEASE["release"]["needs"] == ["packages", "image"]
    assert any(f".github/{SCRIPT.name} " in run for run in runs_of("packages"))
    writes = {
        name: {what for what, how in job.get("permissions", {}).items() if how == "write"}
        for name, job in RELEASE.items()
    }
    assert writes["gate"] == set()
    assert writes["release"] == {"contents"}
    assert {name for name, what in writes.items() if "packages" in what} == {"image"}


def test_the_image_says_where_it_came_from() -> None:
    (build,) = [one for one in RELEASE["image"]["steps"] if "build-push" in one.get("uses", "")]
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (build["with"]["provenance"], build["with"]["sbom"]) == ("mode=max", True)


def test_the_packages_are_built_by_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (builder,) = {re.split(r"\W", one)[0] for one in project["build-system"]["requires"]}
    (build,) = [run for run in runs_of("packages") if "/pip " in run]
    assert "--require-hashes" in build and "requirements-build.lock" in build
    assert f"bin/{builder} build" in build


# --- notes ---------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source of version 1.2.0."""
    for name, text in {
        "gateway/__init__.py": '__version__ = "1.2.0"\n',
        "CHANGELOG.md": CHANGES,
        f".github/{SCRIPT.name}": SCRIPT.read_text("utf-8"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def told(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = folder / ".github" / SCRIPT.name
    return subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=30
    )


def test_a_tag_has_its_section(source: Path) -> None:
    done = told(source, "v1.2.0")
    assert done.returncode == 0, done.stderr
    expected = CHANGES.partition("2030-01-02\n\n")[2].partition("\n## ")[0]
    assert done.stdout == expected


@pytest.mark.parametrize(
    ("tag", "text", "why"),
    [
        ("v1.1.0", CHANGES, "gateway/__init__.py says 1.2.0: tag v1.2.0"),
        ("1.2.0", CHANGES, "tag v1.2.0"),
        ("v1.2.0", CHANGES.replace("2030-01-02", "Unreleased"), "CHANGELOG.md has no"),
        ("v1.2.0", "## [1.2.0] - 2030-01-02\n\n## [1.1.0] - 2029-01-02\n\n- Old\n", "words below"),
    ],
)
def test_another_tag_or_no_notes_make_no_release(
    source: Path, tag: str, text: str, why: str
) -> None:
    (source / "CHANGELOG.md").write_text(text)
    done = told(source, tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr


def test_this_version_can_be_released_once_it_is_dated() -> None:
    done = told(ROOT, f"v{__version__}")
    assert done.returncode == 0 or f"## [{__version__}] - YYYY-MM-DD" in done.stderr


def _at(words: str) -> int:
    """Which step of the packages has these words, the first of them."""
    steps = RELEASE["packages"]["steps"]
    return next(at for at, step in enumerate(steps) if words in str(step.get("run", "")))


def test_the_source_package_is_the_tagged_tree_alone() -> None:
    """hatchling packs whatever lies in the checkout, so notes are written there afterwards."""
    assert _at("> /dev/null") < _at("hatchling build") < _at("> notes.md")


def test_a_version_that_is_released_is_not_built_again() -> None:
    """A tag that is moved would replace the image, and only then find its release taken."""
    assert _at("gh release view") < _at("hatchling build")
    assert "packages" in RELEASE["image"]["needs"]
