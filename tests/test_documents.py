"""The pages keep their word: examples run, what is named exists, links lead somewhere.

Each fact has one page: an endpoint, a command, an error, a setting or a metric stands in the
table of its page and in no other.
"""

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

from gateway.cli import COMMANDS
from gateway.config.part import Part, yaml_name
from gateway.config.schema import Settings
from gateway.sandbox.magic import WORDS, read_magic
from gateway.sandbox.openai.words import WORDS as OPENAI_WORDS
from gateway.web.remedies import REMEDIES

ROOT = Path(__file__).resolve().parent.parent
DOOR = "README.md"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (ROOT / DOOR, *sorted((ROOT / "docs").glob("*.md")))
}
LINKED = [  # whose links are followed besides
    *("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "deploy").glob("*.md"))),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/decisions").glob("*.md"))),
]
TESTED = [
    (page, language, code)
    for page, text in PAGES.items()
    for language, code in re.findall(r"<!-- tested -->\n```(\w+)\n(.*?)```", text, re.DOTALL)
]
TASK = r'\{"created":\d+,.*"id":"task-unified-\d+-[a-z0-9]{8}"'
PRINTED = [
    # What each tested example prints, in the order of the pages.
    ("README.md", TASK),
    ("docs/clients.md", r"completed \['http://ADDRESS/pictures/[0-9a-f]{64}\.png'\]"),
    ("docs/openai.md", r"\d+x\d+\n"),
]
WRITTEN_PORT = "127.0.0.1:8080"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of what `make run` starts, here on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--sandbox", "--port", "0"],
        cwd=tmp_path_factory.mktemp("pages"),
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


def test_every_tested_example_is_expected_to_print_something() -> None:
    assert [page for page, _, _ in TESTED] == [page for page, _ in PRINTED]


@pytest.mark.parametrize("number", range(len(TESTED)))
def test_example_runs(address: str, tmp_path: Path, number: int) -> None:
    (_, language, code), (_, printed) = TESTED[number], PRINTED[number]
    code = code.replace(WRITTEN_PORT, address)
    missing = [one for one in ("curl", "openssl") if one in code and shutil.which(one) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if language == "sh":
        told = _run(["bash", "-euo", "pipefail", "-c", code], tmp_path)
    else:
        if "import httpx" in code:  # the example is written for it, and httpx2 has its API
            (tmp_path / "httpx.py").write_text("from httpx2 import get, post\n")
        told = _run([sys.executable, "-c", code], tmp_path)
    assert re.match(printed.replace("ADDRESS", re.escape(address)), told), told


def _run(command: list[str], folder: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(pattern: str) -> list[tuple[str, tuple[str, ...]]]:
    """The rows of tables that look like this, each with its page."""
    found = re.compile(rf"^\| {pattern} \|(.*)", re.MULTILINE)
    return [(page, one.groups()) for page, text in PAGES.items() for one in found.finditer(text)]


def test_the_door_is_small() -> None:
    assert len(PAGES[DOOR].encode()) <= 10_000


def test_the_door_puts_it_up_in_five_lines_of_the_start() -> None:
    """They are tried there, by `tests/deploy/test_start.py`."""
    [told] = re.findall(r"## Put it up\n\n```sh\n(.*?)```", PAGES[DOOR], re.DOTALL)
    assert len(told.splitlines()) == 5
    for command in re.split(r"\n| && (?=image-gateway)", told.strip()):
        assert command in PAGES["docs/start.md"], command


def test_every_page_is_reached_from_the_door_and_from_the_index() -> None:
    for index, others in ((DOOR, "docs/"), ("docs/README.md", "")):
        linked = {link.partition("#")[0] for link in links(PAGES[index])}
        missing = {page for page in PAGES if page.startswith("docs/")} - {"docs/README.md"}
        missing -= {page for page in missing if others + page.removeprefix("docs/") in linked}
        assert missing == set(), index


def test_every_series_is_on_its_page_and_no_other(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        text = answer.read().decode()
    exposed = re.findall(r"^# TYPE (gateway_\w+) ", text, re.MULTILINE)
    named = rows(r"`(gateway_\w+)` \|([^|]*)")
    assert sorted((page, name) for page, (name, _, _) in named) == sorted(
        ("docs/metrics.md", name) for name in exposed
    )
    for _, (name, labels, _) in named:
        sample = re.search(rf"^{name}(?:_count)?\{{(.*?)\}} ", text, re.MULTILINE)
        shown = set(re.findall(r'(\w+)="', sample[1])) if sample else set()
        assert set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", labels))) == shown, name


def page_of(path: str) -> str:
    """Where an endpoint belongs: with whom it serves."""
    if path.startswith("/openai/"):
        return "docs/openai.md"
    if path.startswith("/admin/"):
        return "docs/admin.md"
    machines = ("/healthz", "/readyz", "/metrics", "/callbacks", "/console")
    return "docs/operate.md" if path.startswith(machines) else "docs/clients.md"


def test_every_endpoint_is_on_its_page_and_no_other() -> None:
    listed = [
        (page_of(one.path), one.method, re.sub(r"\{[\w:]+\}", "{}", one.path)) for one in SERVED
    ]
    named = [
        (page, method, re.sub(r"\{[\w:]+\}", "{}", path))
        for page, (method, path, _) in rows(r"`([A-Z]+) (/\S*)`")
    ]
    assert sorted(named) == sorted(set(listed))


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the third level, on one line."""
    parts = re.split(r"^##+ (.+)$", PAGES[page], flags=re.MULTILINE)
    return {
        title: " ".join(text.split()) for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("code", REMEDIES)
def test_an_error_code_is_explained_on_its_page_as_in_the_answer(code: str) -> None:
    remedy = REMEDIES[code]
    pages = [page for page in PAGES if code in sections(page)]
    assert pages == [f"docs/{remedy.page}.md"]
    also = f", for OpenAI's SDKs {remedy.openai_status}" if remedy.openai_status else ""
    told = f"**{remedy.status}**{also}. {remedy.cause} **What to do:** {remedy.cure}"
    assert sections(pages[0])[code].startswith(told)


def test_no_other_error_code_is_explained() -> None:
    explained = {
        title
        for page in PAGES
        for title, text in sections(page).items()
        if re.match(r"\*\*\d{3}\*\*", text)
    }
    assert explained == REMEDIES.keys()


def test_every_command_is_on_its_page_and_no_other() -> None:
    named = [(page, name) for page, (name, _) in rows(r"`image-gateway (\w+)`")]
    assert named == [("docs/operate.md", name) for name in COMMANDS]


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


SECTIONS = "|".join(yaml_name(name) for name in Settings.model_fields)
SETTING = rf"`((?:{SECTIONS})(?:\.[\w*]+)+)`"


def test_every_setting_named_exists() -> None:
    named = set(re.findall(SETTING, "\n".join(PAGES.values())))
    named -= {path.name for path in ROOT.iterdir()}  # such as config.yaml
    assert len(named) > 15
    assert [name for name in sorted(named) if not exists(Settings, name.split("."))] == []


def test_every_setting_is_explained_on_one_page_at_most() -> None:
    explained = [
        (page, name)
        for page, text in PAGES.items()
        for row in re.findall(rf"^\| ((?:{SETTING}(?:, )?)+) \|", text, re.MULTILINE)
        for name in re.findall(SETTING, row[0])
    ]
    assert {page for page, _ in explained} <= {"docs/operate.md", "docs/scale.md"}
    names = [name for _, name in explained]
    assert len(names) == len(set(names))


def test_every_magic_word_named_exists() -> None:
    words = re.findall(r"`(\[sandbox:[^`]+\])`", "\n".join(PAGES.values()))
    assert words
    known = {**OPENAI_WORDS, **WORDS}
    for word in words:
        read_magic(
            word, rates={}, salt="", words=known
        )  # raises for an unknown word or a wrong value


def links(text: str) -> list[str]:
    """What a page links to and shows; nothing of its examples."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"(?:\]\(|(?:src|href)=\")([^)\"\s]+)[)\"]", re.sub(r"`[^`\n]*`", "", prose))


def anchors(text: str) -> set[str]:
    """What a link may lead to: headings, as they are made into anchors, and anchors written out."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", [*PAGES, *LINKED])
def test_every_link_leads_somewhere_and_nothing_is_left_of_a_merge(page: str) -> None:
    home = ROOT / page
    text = home.read_text("utf-8")
    assert re.findall(r"^(?:<{7} .*|={7}|>{7} .*)$", text, re.MULTILINE) == []
    for link in links(text):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (home.parent / path).resolve() if path else home
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


def test_every_target_of_make_exists() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page, text in PAGES.items():
        for target in re.findall(r"^make (\w+)$", text, re.MULTILINE):
            assert target in targets, page


def test_every_picture_shown_of_the_console_is_one_that_the_script_takes() -> None:
    script = (ROOT / "docs/screenshots.py").read_text("utf-8")
    taken = {f"docs/{name}.png" for name in re.findall(r'Shot\("([\w-]+)"', script)}
    shown = {
        str((ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT))
        for page, text in PAGES.items()
        for link in links(text)
        if link.endswith(".png")
    }
    assert shown == taken == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.png")}
