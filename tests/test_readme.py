"""README.md keeps its word: its examples run, and what it names exists."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from served import SERVED

from gateway import errors
from gateway.cli import COMMANDS
from gateway.config.schema import Part, Settings, yaml_name
from gateway.sandbox.magic import read_magic

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "README.md").read_text("utf-8")
TESTED = re.findall(r"<!-- tested -->\n```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PRINTED = {
    # What each tested example prints, in the order of the page.
    "curl": r'\{"created":\d+,.*"id":"task-unified-\d+-[a-z0-9]{8}"',
    "python": r"completed \['http://ADDRESS/pictures/[0-9a-f]{64}\.png'\]",
    "key": r"for the team: [0-9a-f]{48}\nfor config.yaml: sha256:[0-9a-f]{64}\n",
}
WRITTEN_PORT = "127.0.0.1:8080"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of what `make run` starts, here on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--sandbox", "--port", "0"],
        cwd=tmp_path_factory.mktemp("readme"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process.stdout as lines:
        ready = next(line for line in lines if line.startswith("image-gateway is ready on "))
        yield ready.rstrip().rpartition("//")[2]
        process.send_signal(signal.SIGTERM)
        lines.read()
    assert process.wait(20) == 0


@pytest.mark.parametrize("name", PRINTED)
def test_example_runs(address: str, tmp_path: Path, name: str) -> None:
    language, code = dict(zip(PRINTED, TESTED, strict=True))[name]
    code = code.replace(WRITTEN_PORT, address)
    missing = [one for one in ("curl", "openssl") if one in code and shutil.which(one) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if language == "sh":
        told = _run(["bash", "-euo", "pipefail", "-c", code], tmp_path)
    else:
        # The example is written for httpx, whose API httpx2 has.
        (tmp_path / "httpx.py").write_text("from httpx2 import get, post\n")
        told = _run([sys.executable, "-c", code], tmp_path)
    assert re.match(PRINTED[name].replace("ADDRESS", re.escape(address)), told), told


def _run(command: list[str], folder: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def section(title: str) -> str:
    """The text under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def test_every_series_is_named_and_no_other(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        text = answer.read().decode()
    exposed = set(re.findall(r"^# TYPE (gateway_\w+) ", text, re.MULTILINE))
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", section("Metrics"), re.MULTILINE)
    assert {name for name, _ in rows} == exposed
    for name, labels in rows:
        sample = re.search(rf"^{name}(?:_count)?\{{(.*?)\}} ", text, re.MULTILINE)
        shown = set(re.findall(r'(\w+)="', sample[1])) if sample else set()
        assert set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", labels))) == shown, name


def test_every_endpoint_is_named_and_no_other() -> None:
    listed = {(one.method, re.sub(r"\{[\w:]+\}", "{}", one.path)) for one in SERVED}
    named = re.findall(r"^\| `([A-Z]+) (/\S*)` \|", PAGE, re.MULTILINE)
    assert {(method, re.sub(r"\{[\w:]+\}", "{}", path)) for method, path in named} == listed


def test_every_error_code_is_named_and_no_other() -> None:
    """Those of clients in their table, those of operators in a sentence of their own."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {
        (kind.status, kind.code)
        for kind in kinds
        if issubclass(kind, errors.GatewayError)
        and kind not in (errors.UpstreamRefusal, errors.Conflict)  # one has any code, one none
    }
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    named = {(int(status), code) for status, code in rows}
    assert named <= codes
    told = PAGE.split("Faults besides those above:", 1)[1].split("\n\n", 1)[0]
    for status, listed in re.findall(r"(\d{3})((?:\s+`\w+`,?)+)", told):
        named |= {(int(status), code) for code in re.findall(r"`(\w+)`", listed)}
    assert codes <= named


def test_every_command_is_named_and_no_other() -> None:
    assert re.findall(r"^\| `image-gateway (\w+)` \|", PAGE, re.MULTILINE) == list(COMMANDS)


def exists(kind: object, path: list[str]) -> bool:
    """Whether the settings have this path; `*` stands for the name of an entry."""
    if not path:
        return True
    if get_origin(kind) is dict:
        return exists(get_args(kind)[1], path[1:])
    if isinstance(kind, type) and issubclass(kind, Part):
        fields = {yaml_name(name): field for name, field in kind.model_fields.items()}
        return path[0] in fields and exists(fields[path[0]].annotation, path[1:])
    return any(exists(part, path) for part in get_args(kind))


def test_every_setting_named_exists() -> None:
    sections = "|".join(yaml_name(name) for name in Settings.model_fields)
    named = set(re.findall(rf"`((?:{sections})(?:\.[\w*]+)+)`", PAGE))
    named -= {path.name for path in ROOT.iterdir()}  # such as config.yaml
    assert len(named) > 15
    assert [name for name in sorted(named) if not exists(Settings, name.split("."))] == []


def test_every_magic_word_named_exists() -> None:
    words = re.findall(r"`(\[sandbox:[^`]+\])`", PAGE)
    assert words
    for word in words:
        read_magic(word, rates={}, salt="")  # raises for an unknown word or a wrong value


def test_every_link_and_target_leads_somewhere() -> None:
    for link in re.findall(r"(?:\]\(|src=\")([\w./]+)[)\"]", PAGE):
        assert (ROOT / link).is_file(), link
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"^make (\w+)$", PAGE, re.MULTILINE):
        assert target in targets
