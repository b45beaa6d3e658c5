"""A name that nobody has: the commands say which one was meant, and ask no more than they must."""

from __future__ import annotations

import operator_samples as samples
import pytest
from operator_fake import FakeAdmin

TEAMS = {"data": [samples.TEAM, samples.PROVISIONED], "next": None}
NOTHING = {"data": [], "next": None}


@pytest.fixture(autouse=True)
def teams(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams", TEAMS)


@pytest.mark.parametrize(
    ("words", "method", "path"),
    [
        (["teams", "show", "marketnig"], "GET", "teams/marketnig"),
        (["teams", "change", "marketnig", "--mode", "shadow"], "PATCH", "teams/marketnig"),
        (["teams", "delete", "marketnig", "--yes"], "DELETE", "teams/marketnig"),
        (["keys", "list", "marketnig"], "GET", "teams/marketnig/keys"),
        (["keys", "issue", "marketnig"], "POST", "teams/marketnig/keys"),
        (["keys", "revoke", "marketnig", "k"], "DELETE", "teams/marketnig/keys/k"),
    ],
)
def test_a_team_in_a_path(fake: FakeAdmin, words: list[str], method: str, path: str) -> None:
    fake.refuse(method, path, 404, "There is no team 'marketnig'.", code="team_not_found")
    result = fake.run(*words)
    assert result.exit_code == 1
    assert result.stderr == ("Error: There is no team 'marketnig'.\nDid you mean 'marketing'?\n")


def test_where_none_is_near_the_names_are_told(fake: FakeAdmin) -> None:
    fake.refuse("GET", "teams/x", 404, "There is no team 'x'.", code="team_not_found")
    assert fake.run("teams", "show", "x").stderr.endswith("\nThere are green, marketing.\n")
    fake.answer("GET", "teams", NOTHING)
    assert fake.run("teams", "show", "x").stderr.endswith("\nThere is no team at all.\n")
    fake.refuse("GET", "teams", 503, "The ledger is away.")
    assert fake.run("teams", "show", "x").stderr == "Error: There is no team 'x'.\n"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("website", "Keys are named by their id: did you mean 3f9a0c1b?"),
        ("3f9a0c1d", "Did you mean '3f9a0c1b'?"),
    ],
)
def test_a_key_by_its_label(fake: FakeAdmin, given: str, hint: str) -> None:
    fake.answer("GET", "teams/marketing/keys", {"data": [samples.KEY]})
    path = f"teams/marketing/keys/{given}"
    fake.refuse("DELETE", path, 404, "The team has no such key.", code="key_not_found")
    assert fake.run("keys", "revoke", "marketing", given).stderr.endswith(f"\n{hint}\n")


@pytest.mark.parametrize(
    ("words", "path", "answer"),
    [
        (["runs", "list", "--team", "marketnig"], "runs", NOTHING),
        (["runs", "refusals", "--team", "marketnig"], "refusals", NOTHING),
        (["pictures", "list", "--team", "marketnig"], "pictures", NOTHING),
        (["pictures", "list", "--unproven", "--team", "marketnig"], "pictures/unproven", NOTHING),
        (["callbacks", "list", "--team", "marketnig"], "callbacks", NOTHING),
        (["teams", "changes", "marketnig"], "audit", NOTHING),
        (["usage", "--team", "marketnig"], "usage", {**samples.USAGE, "data": []}),
    ],
)
def test_a_team_in_a_question(fake: FakeAdmin, words: list[str], path: str, answer: object) -> None:
    fake.answer("GET", path, answer)
    result = fake.run(*words)
    assert result.exit_code == 0
    hint = "there is no team 'marketnig'. Did you mean 'marketing'?\n"
    assert result.stderr == hint
    # A team that is there, and has nothing, is no mistake.
    right = ["marketing" if word == "marketnig" else word for word in words]
    assert "there is no team" not in fake.run(*right).stderr


def test_a_team_in_a_purge(fake: FakeAdmin) -> None:
    fake.answer("POST", "cache/purge", {"purged": 0})
    result = fake.run("cache", "purge", "--team", "marketnig", "--yes")
    assert (result.exit_code, result.stdout) == (0, "0 answers forgotten.\n")
    assert "Did you mean 'marketing'?" in result.stderr


def test_a_model_in_a_question(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs", NOTHING)
    fake.answer("GET", "settings", {"settings": {"models": {"gpt-image-1.5": {}}}, "notices": []})
    result = fake.run("runs", "list", "--model", "gpt-image-15")
    assert result.stderr == "there is no model 'gpt-image-15'. Did you mean 'gpt-image-1.5'?\n"


def test_an_answer_asks_nothing_more(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs", {"data": [samples.RUN], "next": None})
    fake.run("runs", "list", "--team", "gone-since")
    assert [one.path for one in fake.came] == ["runs"]
