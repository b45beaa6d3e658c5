"""The project around the code: versions, locks, Makefile, Dockerfile, wheel, and quiet imports."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gateway

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def with_their_extras(asked_for: list[str]) -> list[str]:
    """The requirements; for the project's own name what its extras ask for."""
    found = []
    for line in asked_for:
        wanted = Requirement(line)
        if wanted.name == PROJECT["project"]["name"]:
            for extra in sorted(wanted.extras):
                found += with_their_extras(PROJECT["project"]["optional-dependencies"][extra])
        else:
            found.append(line)
    return found


PARTS = {"pydantic_core": "pydantic"}  # what pydantic hands out under the name of its own core
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"]
ASKED_FOR = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-dev.lock": [
        *PROJECT["project"]["dependencies"],
        *with_their_extras(PROJECT["project"]["optional-dependencies"]["dev"]),
        *PROJECT["dependency-groups"]["build"],
    ],
    "requirements-build.lock": PROJECT["dependency-groups"]["build"],
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def locked_versions(lock: str) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text_of(lock), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def test_newest_changelog_entry_is_this_version() -> None:
    newest = re.search(r"^## \[(\d[^\]]*)\] - \S+", text_of("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == gateway.__version__


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_covers_what_pyproject_asks_for(lock: str) -> None:
    locked = locked_versions(lock)
    for requirement in map(Requirement, ASKED_FOR[lock]):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}: run `make lock`"
        assert version in requirement.specifier, f"{lock} is older than {requirement}: `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address_and_no_path(lock: str) -> None:
    # Without a slash there can be neither.
    assert not [line for line in text_of(lock).splitlines() if "/" in line or "\\\\" in line]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_and_hashes_every_package(lock: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", text_of(lock), flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_locks_agree_with_each_other() -> None:
    everything = locked_versions("requirements-dev.lock")
    for lock in LOCKS:
        assert locked_versions(lock).items() <= everything.items()


def test_build_group_is_what_the_build_system_requires() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_every_foreign_import_is_a_declared_dependency() -> None:
    homes = packages_distributions()
    extras = PROJECT["project"]["optional-dependencies"]
    asked_for = [*PROJECT["project"]["dependencies"], *extras["postgres"], *extras["s3"]]
    declared = {canonicalize_name(Requirement(line).name) for line in asked_for}
    undeclared = {
        f"{path.relative_to(ROOT)}: {top}"
        for path in (ROOT / "gateway").rglob("*.py")
        for top in foreign_imports(path)
        if not declared & {canonicalize_name(name) for name in homes.get(PARTS.get(top, top), ())}
    }
    assert undeclared == set()


def foreign_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"gateway"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_all_its_targets() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", text_of("Makefile"), re.MULTILINE)
    assert phony is not None
    told = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in phony[1].split():
        assert re.search(rf"^make {target} +\w", told, re.MULTILINE), f"{target} is not in:\n{told}"


def test_image_runs_unprivileged_and_says_when_it_is_healthy() -> None:
    last_stage = text_of("Dockerfile").rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)
    assert users, "a number, so that an orchestrator can see that it is not root"
    assert all(int(number) > 0 for number in users[-1])
    for instruction in ("HEALTHCHECK", "VOLUME /data", "STOPSIGNAL SIGTERM", "EXPOSE 8080"):
        assert re.search(rf"^{instruction}\b", last_stage, re.MULTILINE), instruction


def test_image_builder_is_sent_everything_that_is_copied() -> None:
    sent = set(re.findall(r"^!(\S+)$", text_of(".dockerignore"), re.MULTILINE))
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", text_of("Dockerfile"), re.MULTILINE)
    assert {source for line in copies for source in line.split()} == sent


def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(tmp_path)], cwd=ROOT, check=True)
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gateway").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= held
    assert {name for name in held if ".dist-info/" not in name} == expected


def import_in_a_fresh_interpreter(*modules: str, root: Path = ROOT) -> dict[str, Any]:
    watch = Path(__file__).with_name("import_watch.py")
    command = [sys.executable, "-B", str(watch), str(root), *modules]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def gateway_modules() -> list[str]:
    paths = sorted((ROOT / "gateway").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def test_importing_does_nothing_else() -> None:
    answer = import_in_a_fresh_interpreter(*gateway_modules())
    assert answer["found"] == []
    # Everything at once, on a machine that is busy; 1 s is usual.
    assert answer["cpu_seconds"] < 5


def test_importing_the_package_alone_loads_no_library() -> None:
    loaded = import_in_a_fresh_interpreter("gateway")["loaded"]
    assert "gateway" in loaded
    assert not set(loaded) & {"starlette", "uvicorn", "httpx2", "pydantic", "structlog", "rich"}


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("open(__file__ + '.txt', 'w').close()", "writes"),
        ("import pathlib; pathlib.Path('note.txt').read_text()", "reads note.txt"),
        ("import sqlite3; sqlite3.connect(':memory:')", "sqlite3.connect"),
        ("import socket; socket.getaddrinfo('127.0.0.1', 80)", "socket.getaddrinfo"),
        ("import os; os.mkdir('data')", "os.mkdir"),
    ],
)
def test_import_watch_sees(tmp_path: Path, statement: str, complaint: str) -> None:
    (tmp_path / "note.txt").write_text("note", "utf-8")
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text(statement, "utf-8")
    [found] = import_in_a_fresh_interpreter("gateway", root=tmp_path)["found"]
    assert complaint in found
