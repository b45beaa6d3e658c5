"""Teams and keys made at run time: every decision an operator can cause, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from core_samples import CATALOG, NOW, a_policy

from gateway.core.catalog import Mode, Team
from gateway.core.policy import Current, Grant
from gateway.core.teams.changes import (
    Act,
    Rotation,
    change,
    create,
    delete,
    issue,
    merged,
    revoke,
    rotate,
)
from gateway.core.teams.records import KeyState, ManagedTeam, TeamKey
from gateway.core.transaction import View, Writes
from gateway.errors import (
    KeyNotActive,
    KeyNotFound,
    RotationUnderWay,
    TeamExists,
    TeamNotFound,
)

ACT = Act("chg_1", NOW, "0123456789ab")
BLUE = ManagedTeam("blue", '{"budgets":[]}', NOW - 100, NOW - 50)
GONE = replace(BLUE, deleted_at=NOW - 10)


def key(name: str, **more: Any) -> TeamKey:
    return TeamKey(name, "blue", f"{name}-digest", "the shop", NOW - 90, **more)


def change_of(writes: Writes) -> tuple[str, str, Any, Any]:
    """The one record of the act, its JSON read."""
    (one,) = writes.changes
    assert (one.id, one.at, one.actor) == (ACT.id, ACT.at, ACT.actor)
    before, after = (json.loads(text) if text else None for text in (one.before, one.after))
    return one.action, one.subject, before, after


# --- teams ---------------------------------------------------------------------------------------


def test_a_new_team() -> None:
    team, writes = create(View(), "blue", '{"mode":"shadow"}', ACT)
    assert team == ManagedTeam("blue", '{"mode":"shadow"}', NOW, NOW)
    assert writes.teams == (team,)
    assert change_of(writes) == ("team.create", "blue", None, {"mode": "shadow"})


def test_a_name_is_given_once() -> None:
    with pytest.raises(TeamExists):
        create(View(managed=BLUE), "blue", "{}", ACT)


def test_a_deleted_name_is_given_again() -> None:
    team, writes = create(View(managed=GONE, team_keys=(key("a"),)), "blue", "{}", ACT)
    assert team == ManagedTeam("blue", "{}", NOW, NOW)
    assert writes.team_keys == (), "the former keys stay as they are"


def test_a_change_keeps_when_it_was_made() -> None:
    after, writes = change(View(managed=BLUE), "blue", lambda old: old.replace("[]", "[1]"), ACT)
    assert after == replace(BLUE, document='{"budgets":[1]}', changed_at=NOW)
    assert writes.teams == (after,)
    assert change_of(writes) == ("team.change", "blue", {"budgets": []}, {"budgets": [1]})


def test_a_change_of_nothing_writes_nothing() -> None:
    assert change(View(managed=BLUE), "blue", lambda old: old, ACT) == (BLUE, Writes())


def test_nothing_is_done_to_a_team_that_is_not_there() -> None:
    for view in (View(), View(managed=GONE, team_keys=(key("a"),))):
        acts: tuple[Callable[[View], object], ...] = (
            lambda view: change(view, "blue", lambda old: old, ACT),
            lambda view: delete(view, "blue", ACT),
            lambda view: issue(view, key("b"), ACT),
            lambda view: rotate(view, key("b", replaces="a"), label="", grace_seconds=0, act=ACT),
            lambda view: revoke(view, "blue", "a", ACT),
        )
        for act in acts:
            with pytest.raises(TeamNotFound):
                act(view)


def test_a_deleted_team_loses_the_keys_that_still_work() -> None:
    live, ending = key("a"), key("b", expires_at=NOW + 5)
    expired, revoked = key("c", expires_at=NOW - 5), key("d", revoked_at=NOW - 7)
    view = View(managed=BLUE, team_keys=(live, ending, expired, revoked))
    after, writes = delete(view, "blue", ACT)
    assert after == replace(BLUE, changed_at=NOW, deleted_at=NOW)
    assert writes.team_keys == (replace(live, revoked_at=NOW), replace(ending, revoked_at=NOW))
    told = {"budgets": [], "keys": ["a", "b"]}
    assert change_of(writes) == ("team.delete", "blue", told, None)


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_is_issued() -> None:
    made, writes = issue(View(managed=BLUE), key("a"), ACT)
    assert made == key("a")
    assert writes.team_keys == (made,)
    told = {"id": "a", "label": "the shop"}
    assert change_of(writes) == ("key.issue", "blue/a", None, told)


def rotated(
    *keys: TeamKey, old: str = "a", grace_seconds: float = 60, label: str | None = None
) -> tuple[Rotation, Writes]:
    view, new = View(managed=BLUE, team_keys=keys), replace(key("n"), replaces=old)
    return rotate(view, new, label=label, grace_seconds=grace_seconds, act=ACT)


def test_a_rotation_ends_the_old_key_after_its_grace() -> None:
    outcome, writes = rotated(key("a"))
    assert outcome == Rotation(key("a", expires_at=NOW + 60), key("n", replaces="a"))
    assert writes.team_keys == (outcome.old, outcome.new)
    assert outcome.old.state(NOW) is KeyState.EXPIRING
    assert outcome.old.state(NOW + 60) is KeyState.EXPIRED
    action, subject, before, after = change_of(writes)
    assert (action, subject) == ("key.rotate", "blue/a")
    assert before == {"id": "a", "label": "the shop"}
    assert after["old"]["expires_at"] == "2026-01-02T00:01:37Z"
    assert after["new"] == {"id": "n", "label": "the shop", "replaces": "a"}


def test_a_rotation_without_grace_ends_it_at_once() -> None:
    outcome, _ = rotated(key("a"), grace_seconds=0)
    assert outcome.old.state(NOW) is KeyState.EXPIRED


def test_only_an_active_key_is_rotated() -> None:
    for one, state in (
        (key("a", expires_at=NOW + 5), KeyState.EXPIRING),
        (key("a", expires_at=NOW), KeyState.EXPIRED),
        (key("a", revoked_at=NOW - 5), KeyState.REVOKED),
        (key("a", expires_at=NOW + 5, revoked_at=NOW - 5), KeyState.REVOKED),
    ):
        with pytest.raises(KeyNotActive, match=f"This key is {state}: only an active one"):
            rotated(one)
    with pytest.raises(KeyNotFound):
        rotated(key("b"))


def test_a_rotated_key_has_the_label_of_the_old_one_or_another() -> None:
    old = replace(key("a"), label="the till")
    assert rotated(old)[0].new.label == "the till"
    assert rotated(old, label="")[0].new.label == ""


def test_a_rotation_never_leaves_three_live_keys() -> None:
    former, present = key("a", expires_at=NOW + 1), key("b", replaces="a")
    with pytest.raises(RotationUnderWay, match="The key a, which this one replaced, still works"):
        rotated(former, present, old="b")
    for ended in (replace(former, expires_at=NOW), replace(former, revoked_at=NOW)):
        outcome, _ = rotated(ended, present, old="b")
        assert outcome.new.replaces == "b"


def test_a_key_is_revoked_once() -> None:
    view = View(managed=BLUE, team_keys=(key("a"),))
    after, writes = revoke(view, "blue", "a", ACT)
    assert after == key("a", revoked_at=NOW)
    assert writes.team_keys == (after,)
    assert change_of(writes)[:2] == ("key.revoke", "blue/a")
    assert isinstance(after, TeamKey)
    again = revoke(View(managed=BLUE, team_keys=(after,)), "blue", "a", replace(ACT, at=NOW + 9))
    assert again == (after, Writes())
    with pytest.raises(KeyNotFound):
        revoke(view, "blue", "b", ACT)


def test_no_record_of_a_change_has_a_digest() -> None:
    view = View(managed=BLUE, team_keys=(key("a"),))
    for _, writes in (delete(view, "blue", ACT), rotated(key("a")), revoke(view, "blue", "a", ACT)):
        assert "digest" not in repr(writes.changes)


# --- the policy that follows ---------------------------------------------------------------------

GREEN = Team("green")
SETTINGS = a_policy(
    catalog=CATALOG,
    teams={"green": GREEN},
    keys={"green-digest": Grant("green")},
    provisioned=frozenset({"green"}),
)


def test_the_policy_has_both() -> None:
    policy = merged(SETTINGS, [Team("blue")], [key("a")], NOW)
    assert list(policy.teams) == ["green", "blue"]
    assert policy.keys == {"green-digest": Grant("green"), "a-digest": Grant("blue")}
    assert policy.provisioned == SETTINGS.provisioned


def test_the_settings_hide_a_team_of_the_same_name_and_its_keys() -> None:
    mine = replace(key("a"), team="green")
    policy = merged(SETTINGS, [Team("green", caps=())], [mine], NOW)
    assert policy.teams["green"] is GREEN
    assert policy.keys == SETTINGS.keys


def test_only_keys_that_open_something_are_in_it() -> None:
    keys = [
        key("live"),
        key("ending", expires_at=NOW + 5),
        key("expired", expires_at=NOW),
        key("revoked", revoked_at=NOW + 5),
        replace(key("of nobody"), team="purple"),
    ]
    policy = merged(SETTINGS, [Team("blue")], keys, NOW)
    assert set(policy.keys) == {"green-digest", "live-digest", "ending-digest"}
    assert policy.keys["ending-digest"] == Grant("blue", NOW + 5)


def test_a_key_ends_by_the_clock_alone() -> None:
    now = NOW
    policy = merged(SETTINGS, [Team("blue")], [key("a", expires_at=NOW + 5)], NOW)
    current = Current(policy, lambda: now)
    assert current.granted("a-digest") == Team("blue")
    now = NOW + 5
    assert current.granted("a-digest") is None


def test_who_is_let_in_again_is_the_same_until_something_changes() -> None:
    current = Current(merged(SETTINGS, [Team("blue")], [key("a")], NOW), lambda: NOW)
    first = current.granted("a-digest")
    assert first is not None and current.granted("a-digest") is first
    mean = Team("blue", mode=Mode.SHADOW)
    current.policy = merged(SETTINGS, [mean], [key("a")], NOW)
    found = current.granted("a-digest")
    assert found == mean and found.key == first.key
    current.policy = merged(SETTINGS, [mean], [replace(key("a"), label="renamed")], NOW)
    renamed = current.granted("a-digest")
    assert renamed is not None and renamed.key is not None and renamed.key.label == "renamed"
    current.policy = SETTINGS
    assert current.granted("a-digest") is None
