"""The pages about the code say what it says: the diagram, the rooms, the paths, the decisions."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from core_samples import some_rules

from gateway.core.kinds import ANY, Kind
from gateway.core.model import (
    FINAL_STATES,
    Failure,
    FailureKind,
    Kept,
    Picture,
    Run,
    RunState,
    Trouble,
)
from gateway.core.money.accounts import Amounts, Windows
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    DeadlinePassed,
    Delivered,
    Event,
    Finished,
    FoundPaid,
    Freed,
    Hinted,
    KeepFailed,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    TaskFailed,
    TriedAgain,
    Unreachable,
)
from gateway.core.runs.lifecycle import TABLE, IllegalTransition, advance
from gateway.core.runs.routing import Alternative, Outlook

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
ARROW = re.compile(r"^ +(\w+) --> (\w+) : (\w+)", re.MULTILINE)
MODULE_LINE = re.compile(r"^( +)([\w./]+)  +\S", re.MULTILINE)

NOW = 1_800_000_000.0
LINKS = ("https://files.example.org/1.png", "https://files.example.org/2.png")
BOTH = tuple(Kept(link, Picture(link[-5] * 64, "png", 10, 1, 1)) for link in LINKS)
HOLD = Amounts(usd_micros=100, images=2, runs=1)
OTHER_ROUTE = Alternative("v", "m", 70)
KINDS = (ANY, Kind("whole", is_whole=True))
OUTLOOKS = (Outlook(), Outlook(OTHER_ROUTE), Outlook(None, ((OTHER_ROUTE, NOW + 9),)))

EVENTS: tuple[Event, ...] = (
    Accepted("task-unified-1-abcdefgh", "{}"),
    Refused(400, "{}", "invalid_request", "no"),
    Refused(400, "{}", "invalid_request", "no", replayed=True),
    NotNow("down"),
    NotNow("down", its_own=True),
    CredentialsRefused(401, "no"),
    AnswerLost("cut"),
    Begun(),
    Delivered("{}", LINKS, 120),
    Retry(),
    Progressed("{}", 50),
    Finished("{}", LINKS),
    TaskFailed("{}", "service_error", "no", is_providers=True),
    TaskFailed("{}", "content_policy_violation", "no"),
    Unreachable("down"),
    Unreachable("unknown task", gone=True),
    PicturesKept(BOTH[:1]),
    PicturesKept(BOTH),
    KeepFailed("busy", dead=False),
    KeepFailed("gone", dead=True),
    Hinted(),
    TriedAgain(),
    Freed("no task of its time"),
    FoundPaid("a task of its time", "task"),
    DeadlinePassed(),
)


def runs(state: RunState) -> list[Run]:
    """A run in this state: fresh, after its deadline, and after many tries."""
    keeping = state is RunState.KEEPING
    fresh = Run(
        id="run_" + "a" * 32,
        fingerprint="f" * 64,
        team="blue",
        model="m",
        quality="",
        n=2,
        request="{}",
        upstream="u",
        upstream_model="m",
        price_usd_micros=50,
        windows=Windows(0, 0, 0, 0, 0),
        hold=HOLD,
        created_at=NOW - 60,
        deadline_at=NOW + 60,
        due_at=NOW,
        state=state,
        links=LINKS if keeping else (),
        accepted_at=NOW - 50 if keeping or state is RunState.RUNNING else None,
        upstream_finished_at=NOW - 10 if keeping else None,
    )
    if state is RunState.FAILED:
        lost = Failure(FailureKind.RESULT_LOST, "result_lost", "lost")
        fresh = replace(fresh, failure=lost, upstream_task_id="task", finished_at=NOW)
    unknown = Failure(FailureKind.OUTCOME_UNKNOWN, "outcome_unknown", "lost")
    long_dead = Trouble(NOW - 86_400, "", 50)
    return [
        fresh,
        replace(fresh, deadline_at=NOW - 1),
        replace(fresh, tries=50, trouble=long_dead),
        *([replace(fresh, failure=unknown)] if state is RunState.FAILED else []),
    ]


def transitions() -> set[tuple[str, str, str]]:
    """Every (from, to, event) that some run and some event give, by trying them all."""
    found = set()
    for state, event, outlook, kind in product(RunState, EVENTS, OUTLOOKS, KINDS):
        for run in runs(state):
            try:
                after = advance(run, event, NOW, some_rules(outlook=outlook, kind=kind))
            except IllegalTransition:
                continue
            found.add((str(state), str(after.state), type(event).__name__))
    return found


def test_the_diagram_is_the_table() -> None:
    drawn = {arrow for arrow in ARROW.findall(PAGE) if arrow[0] != "*"}
    assert drawn == transitions()


def test_the_trials_reach_the_whole_table() -> None:
    tried = {(state, event) for state, _, event in transitions()}
    assert tried == {(str(state), event.__name__) for state, event in TABLE}


def test_the_diagram_begins_and_ends() -> None:
    assert "[*] --> submitting" in PAGE
    for state in FINAL_STATES:
        assert f"{state} --> [*]" in PAGE
    ends = {arrow for arrow in ARROW.findall(PAGE) if arrow[0] in FINAL_STATES}
    left = {arrow for arrow in ends if arrow[1] not in FINAL_STATES}
    # An operator leads out of an end, or an answer that was lost and found.
    assert left == {("failed", "keeping", event) for event in ("TriedAgain", "Delivered")}


def listed_modules() -> set[str]:
    """The paths under gateway/ that the module list names."""
    block = PAGE.split("```\ngateway/\n", 1)[1].split("```", 1)[0]
    found, parents = set(), dict[int, str]()
    for indent, name in MODULE_LINE.findall(block):
        path = parents.get(len(indent) - 2, "") + name
        parents[len(indent)] = path
        found.add(path)
    return found


def existing_modules() -> set[str]:
    """The modules at the top, and every folder; one of the console's pages is not a room."""
    package = ROOT / "gateway"
    folders = [
        path
        for path in package.rglob("*")
        if path.is_dir() and "__pycache__" not in path.parts and list(path.glob("*.*"))
    ]
    names = {f"{path.relative_to(package)}/" for path in folders}
    names = {name for name in names if not name.startswith("web/console/") or name.count("/") == 2}
    return names | {path.name for path in package.glob("*.py")}


def test_the_module_list_is_complete_and_true() -> None:
    assert listed_modules() == existing_modules()


PAGES = [
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs/decisions").glob("*.md"),
]
NAMED = sorted(
    (name, str(page.relative_to(ROOT)))
    for page in PAGES
    for name in set(re.findall(r"`([\w/]+(?:\.(?:py|md|yaml)|/))`", page.read_text("utf-8")))
)


@pytest.mark.parametrize(("name", "page"), NAMED)
def test_every_path_on_a_page_exists(name: str, page: str) -> None:
    assert any((folder / name).exists() for folder in (ROOT, ROOT / "gateway")), f"{name} in {page}"


def test_every_decision_has_its_date_and_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    for page in folder.glob("[0-9]*.md"):
        title, dated = page.read_text("utf-8").split("\n\n")[:2]
        assert re.fullmatch(r"Decided \d{4}-\d{2}-\d{2}\.", dated), page.name
        assert f"- [{title.removeprefix('# ')}]({page.name})" in index
