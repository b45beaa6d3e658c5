"""Teams as JSON: held to the file's rules, kept canonically, changed by merge patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings, convert, managed, parse, sandbox_settings
from gateway.core.catalog import Mode
from gateway.core.money.accounts import Cap, Measure, Window
from gateway.core.orders.defaults import defaults
from gateway.core.teams.records import ManagedTeam
from gateway.errors import InvalidRequest
from gateway.wiring.kinds import KINDS

SETTINGS = sandbox_settings("http://127.0.0.1:1", Path("data"))
MODELS = convert.catalog(SETTINGS, KINDS).models
DEFAULTS = {
    "allow": {},
    "budgets": [],
    "cache": {},
    "defaults": {},
    "limits": {"images": []},
    "mode": "enforce",
    "references": "trust",
}
FULL = {
    "description": "Posters, mostly",
    "budgets": [{"usd": 50, "per": "day"}, {"usd": 0.00001, "per": "hour"}],
    "limits": {
        "images": [{"count": 200, "per": "day"}],
        "runs_per_minute": 60,
        "concurrent_runs": 20,
    },
    "allow": {
        "models": ["gpt-image-1.5-lite"],
        "sizes": ["1:1"],
        "qualities": ["low"],
        "max_n": 4,
    },
    "defaults": {"quality": "low", "size": "1:1", "n": 2, "watermark": False},
    "cache": {"scope": "organization"},
    "mode": "shadow",
    "references": "fetch",
}


def made(body: dict[str, Any]) -> Any:
    return json.loads(managed.new_document(body, SETTINGS, MODELS))


def changed(document: dict[str, Any], patch: dict[str, Any]) -> Any:
    return json.loads(managed.changed_document(json.dumps(document), patch, SETTINGS, MODELS))


def refusal(body: dict[str, Any]) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        made(body)
    return caught.value.param, caught.value.message


def without(*models: str) -> Settings:
    left = {name: entry for name, entry in SETTINGS.models.items() if name not in models}
    return SETTINGS.model_copy(update={"models": left})


def test_an_empty_body_is_a_team_without_limits() -> None:
    assert made({}) == DEFAULTS


def test_everything_a_team_can_have_comes_back_as_it_was() -> None:
    assert made(FULL) == FULL
    assert made(made(FULL)) == FULL


def test_one_team_has_one_document() -> None:
    backwards = {name: FULL[name] for name in reversed(FULL)}
    assert managed.new_document(FULL, SETTINGS, MODELS) == managed.new_document(
        backwards, SETTINGS, MODELS
    )


def test_every_problem_is_told_with_its_path() -> None:
    param, message = refusal(
        {
            "budgets": [{"usd": -1, "per": "day"}],
            "limits": {"runs_per_minut": 1},
            "mode": "loose",
        }
    )
    assert param == "budgets[0].usd"
    assert message.splitlines() == [
        "budgets[0].usd: must not be negative: -1",
        "limits.runs_per_minut: unknown key; did you mean 'runs_per_minute'?",
        "mode: must be enforce or shadow, not 'loose'",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"allow": {"models": ["gpt-imag-2"]}},
            "allow.models[0]: no model is called 'gpt-imag-2'; did you mean 'gpt-image-2'?",
        ),
        (
            {"allow": {"models": ["gpt-image-1.5"], "sizes": ["9:16"]}},
            "allow.sizes[0]: no model offers '9:16'",
        ),
        (
            {"budgets": [{"usd": 1, "per": "day"}, {"usd": 2, "per": "day"}]},
            "budgets[1]: a second limit per day; keep the one that is meant",
        ),
        (
            {"defaults": {"qualty": "low"}},
            "defaults.qualty: no field that may have a default here; did you mean 'quality'?",
        ),
        (
            {"allow": {"qualities": ["low"]}, "defaults": {"quality": "high"}},
            "defaults.quality: 'high' is not in the team's allow.qualities",
        ),
        (
            {"defaults": {"output_format": "\0"}},
            "defaults.output_format: must be one line of at most 1000 characters",
        ),
        (
            {"defaults": {"n": True}},
            "defaults.n: must be a whole number from 1 to 10, which the team may order",
        ),
        ({"defaults": "low"}, "defaults: must be a mapping"),
        ({"budgets": 5}, "budgets: must be a list"),
        ({"cache": "team"}, "cache: must be a mapping"),
        (
            {"keys": []},
            "keys: a team's keys are made one by one: POST /admin/v1/teams/{team}/keys",
        ),
    ],
)
def test_the_rules_are_those_of_the_file(body: dict[str, Any], message: str) -> None:
    assert refusal(body)[1] == message


def test_names_are_those_of_the_file_and_stand_in_addresses() -> None:
    assert managed.read_name("art.dept-2") == "art.dept-2"
    for wrong in (None, "", "-x", "a b", "a/b", 5, "x" * 129):
        with pytest.raises(InvalidRequest) as caught:
            managed.read_name(wrong)
        assert caught.value.param == "name"


def test_a_patch_changes_what_it_names_and_null_takes_away() -> None:
    patch = {
        "description": None,
        "limits": {"runs_per_minute": None, "concurrent_runs": 3},
        "budgets": [{"usd": 7, "per": "week"}],
        "cache": {"scope": None},
    }
    assert changed(FULL, patch) == {
        **{name: part for name, part in FULL.items() if name != "description"},
        "limits": {"images": [{"count": 200, "per": "day"}], "concurrent_runs": 3},
        "budgets": [{"usd": 7, "per": "week"}],
        "cache": {},
    }
    assert changed(FULL, {"mode": None})["mode"] == "enforce"


def test_a_patch_is_checked_as_a_whole() -> None:
    with pytest.raises(InvalidRequest, match=r"budgets\[0\].per: missing"):
        changed(FULL, {"budgets": [{"usd": 7}]})
    with pytest.raises(InvalidRequest, match="unknown key"):
        changed(FULL, {"name": "other"})


def test_a_patch_as_deep_as_a_body_can_be_is_refused() -> None:
    patch: dict[str, Any] = {}
    for _ in range(950):
        patch = {"allow": patch}
    with pytest.raises(InvalidRequest, match=r"allow\.allow: unknown key"):
        changed(FULL, patch)


def test_what_was_wrong_before_does_not_stand_in_the_way() -> None:
    document = managed.new_document({"allow": {"models": ["gpt-image-2"]}}, SETTINGS, MODELS)
    later = without("gpt-image-2")
    raised = managed.changed_document(
        document, {"budgets": [{"usd": 9, "per": "day"}]}, later, MODELS
    )
    assert json.loads(raised)["budgets"] == [{"usd": 9, "per": "day"}]
    with pytest.raises(InvalidRequest, match="no model is called 'gpt-image-3'"):
        managed.changed_document(document, {"allow": {"models": ["gpt-image-3"]}}, later, MODELS)


# --- as the core sees them -----------------------------------------------------------------------


def stored(body: dict[str, Any]) -> ManagedTeam:
    return ManagedTeam("art", managed.new_document(body, SETTINGS, MODELS), 0.0, 0.0)


def test_it_becomes_the_team_that_the_file_would_give() -> None:
    team, notices = managed.reader(SETTINGS, KINDS)(stored(FULL))
    assert notices == []
    assert team.name == "art"
    assert team.mode is Mode.SHADOW
    assert team.allow.models == frozenset({"gpt-image-1.5"})
    assert team.caps[:2] == (
        Cap(Measure.USD, Window.DAY, 50_000_000),
        Cap(Measure.USD, Window.HOUR, 10),
    )


def test_a_model_that_left_the_settings_is_not_allowed_and_is_noticed() -> None:
    one = stored({"allow": {"models": ["gpt-image-2", "gpt-image-1.5"]}})
    team, notices = managed.reader(without("gpt-image-2"), KINDS)(one)
    assert team.allow.models == frozenset({"gpt-image-1.5"})
    assert [notice.partition(":")[0] for notice in notices] == ["teams.art.allow.models"]
    team, _ = managed.reader(without("gpt-image-2", "gpt-image-1.5"), KINDS)(one)
    assert team.allow.models == frozenset(), "nothing, which is not the same as anything"


def test_one_that_cannot_be_read_may_order_nothing() -> None:
    team, notices = managed.reader(SETTINGS, KINDS)(
        ManagedTeam("art", '{"mode":"strict"}', 0.0, 0.0)
    )
    assert team.allow.models == frozenset()
    assert len(notices) == 1
    assert "must be enforce or shadow" in notices[0]


OPENAI_ALONE = parse(
    """
upstreams: {openai: {kind: openai, base_url: "https://api.openai.com/v1", api_key: k}}
models:
  gpt-image-2:
    limits: {sizes: [1:1, 4:3]}
    routes: [{upstream: openai, model: gpt-image-2, price: 1}]
""",
    {},
)


def test_a_default_that_no_route_makes_is_refused() -> None:
    models = convert.catalog(OPENAI_ALONE, KINDS).models
    body = {"defaults": {"output_format": "gif", "background": "opaque"}}
    with pytest.raises(InvalidRequest) as caught:
        managed.new_document(body, OPENAI_ALONE, models)
    assert caught.value.param == "defaults.output_format"
    assert caught.value.message == (
        "defaults.output_format: 'gif' is made by no route: openai/gpt-image-2 does not take "
        "output_format: none of jpeg, png, webp"
    )
    one = ManagedTeam("art", managed.new_document(body, OPENAI_ALONE, {}), 0.0, 0.0)
    team, _ = managed.reader(OPENAI_ALONE, KINDS)(one)
    assert defaults(models["gpt-image-2"], team) == {"background": "opaque"}, "it is none"


def test_orders_that_nobody_makes_are_told_of_its_team() -> None:
    models = convert.catalog(OPENAI_ALONE, KINDS).models
    body = {"defaults": {"output_format": "jpeg", "background": "transparent"}}
    one = ManagedTeam("art", managed.new_document(body, OPENAI_ALONE, models), 0.0, 0.0)
    _, notices = managed.reader(OPENAI_ALONE, KINDS)(one)
    said = "teams.art: its orders for gpt-image-2 that say nothing else are made by no route: "
    why = "openai/gpt-image-2 does not take background: a jpeg is never transparent"
    assert said + why in notices
