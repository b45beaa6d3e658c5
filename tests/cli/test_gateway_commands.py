"""`health`, `settings` and `alerts test`: what they ask, what they say, how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from operator_fake import FakeAdmin, run
from starlette.responses import Response

from gateway.cli import main

READY = {"status": "ready", "reasons": []}
UNREADY = {"status": "unready", "reasons": ["the gateway is stopping", "the ledger is \x1b away"]}


# --- health --------------------------------------------------------------------------------------


def test_a_gateway_that_is_ready(fake: FakeAdmin) -> None:
    fake.answer("GET", "/readyz", READY)
    result = fake.run("health", key=None)
    assert (result.exit_code, result.stdout) == (0, f"ready: {fake.url} takes orders.\n")


def test_one_that_is_not_says_why(fake: FakeAdmin) -> None:
    fake.answer("GET", "/readyz", UNREADY, status=503)
    result = fake.run("health")
    assert result.exit_code == 1
    assert result.stdout == (
        f"not ready: {fake.url} runs and takes no orders.\n"
        "  the gateway is stopping\n"
        "  the ledger is \ufffd away\n"
    )
    told = fake.run("health", "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (1, UNREADY)


@pytest.mark.parametrize(
    "answer",
    [
        Response("<h1>Service Unavailable</h1>", 503, media_type="text/html"),
        Response('{"status": "ok"}', 200, media_type="application/json"),
        Response('{"up": true}', 200, media_type="application/json"),
        Response("", 404),
    ],
    ids=["proxy", "another", "other-json", "nothing"],
)
def test_what_is_no_gateway_is_not_unready(fake: FakeAdmin, answer: Response) -> None:
    fake.answer("GET", "/readyz", answer)
    result = fake.run("health", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


def test_nobody_there_is_2() -> None:
    result = run("http://127.0.0.1:1", "health", key=None)
    assert result.exit_code == 2 and "cannot reach http://127.0.0.1:1" in result.stderr


def test_without_an_address_it_asks_the_port_of_the_settings(
    fake: FakeAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer("GET", "/readyz", READY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_URL", raising=False)
    port = fake.url.rpartition(":")[2]
    for name, host in (("config.yaml", "127.0.0.1"), ("other.yaml", "0.0.0.0")):
        (tmp_path / name).write_text(f"server: {{host: {host}, port: {port}}}\nmodels: 7\n")
    assert CliRunner().invoke(main, ["health"]).exit_code == 0
    away = {"GATEWAY_URL": "http://127.0.0.1:1"}
    assert CliRunner().invoke(main, ["health"], env=away).exit_code == 2
    named = ["health", "--config", "other.yaml"]
    assert CliRunner().invoke(main, named, env=away).exit_code == 0
    both = CliRunner().invoke(main, [*named, "--url", fake.url])
    assert both.exit_code == 2 and "not both" in both.stderr
    (tmp_path / "config.yaml").write_text("server: {port: many}\n")
    wrong = CliRunner().invoke(main, ["health"])
    assert wrong.exit_code == 2 and "server.port" in wrong.stderr


# --- settings ------------------------------------------------------------------------------------


def test_the_settings_in_force_are_shown_as_a_file_has_them(fake: FakeAdmin) -> None:
    shown = '{"settings": {"cache": {"ttl": "30d"}, "usd": 0.1234567}, "notices": ["a thought"]}'
    fake.answer("GET", "settings", Response(shown, media_type="application/json"))
    result = fake.run("settings")
    assert result.stdout == "cache: {ttl: 30d}\nusd: 0.1234567\n"
    assert result.stderr == "notice: a thought\n"
    assert fake.run("settings", "--json").stdout == f"{shown}\n"


def test_a_reload_says_what_it_changed(fake: FakeAdmin) -> None:
    answer = {
        "reloaded": True,
        "taken_over": ["teams.blue.budgets"],
        "restart_needed": ["server.port"],
        "notices": [],
    }
    fake.answer("POST", "settings/reload", answer)
    assert fake.run("settings", "--reload").stdout == (
        "The settings file was read again.\n"
        "in force now:\n  teams.blue.budgets\n"
        "only after a restart:\n  server.port\n"
    )
    fake.answer("POST", "settings/reload", {**answer, "taken_over": [], "restart_needed": []})
    assert "nothing in it has changed" in fake.run("settings", "--reload").stdout


def test_a_reload_that_is_refused_tells_every_problem(fake: FakeAdmin) -> None:
    problems = "config.yaml:1:1 a: unknown key\nconfig.yaml:2:1 b: unknown key"
    fake.refuse("POST", "settings/reload", 400, problems)
    result = fake.run("settings", "--reload")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {problems}\n"


# --- alerts --------------------------------------------------------------------------------------

ARRIVED = {"delivered": True, "id": "alert_1", "host": "hooks.example.org", "status": 200}
LOST = {**ARRIVED, "delivered": False, "status": 403, "error": "answered 403: no such hook."}


def test_an_alert_that_arrives(fake: FakeAdmin) -> None:
    fake.answer("POST", "alerts/test", {**ARRIVED, "error": None})
    result = fake.run("alerts", "test")
    assert result.exit_code == 0
    assert result.stdout == "The test alert has arrived: hooks.example.org answered 200.\n"


def test_one_that_does_not_is_1(fake: FakeAdmin) -> None:
    fake.answer("POST", "alerts/test", LOST)
    result = fake.run("alerts", "test")
    assert (result.exit_code, result.stdout) == (
        1,
        "The test alert did not arrive. hooks.example.org: answered 403: no such hook.\n",
    )
    assert (told := fake.run("alerts", "test", "--json")).exit_code == 1
    assert json.loads(told.stdout) == LOST
    fake.refuse("POST", "alerts/test", 409, "Alerts have no receiver.", code="no_alert_webhook")
    nobody = fake.run("alerts", "test")
    assert (nobody.exit_code, nobody.stderr) == (1, "Error: Alerts have no receiver.\n")


# --- health --replicas ---------------------------------------------------------------------------


def replica(name: str, **changes: object) -> dict[str, object]:
    base = {"id": f"replica-{name}", "name": name, "this": False, "alive": True}
    times = {"started_at": "2026-11-01T10:00:00Z", "seen_at": "2026-11-01T10:00:05Z"}
    facts = {"seen_seconds_ago": 0.2, "policy_epoch": 3, "cache_epoch": 1, "settings": "ab"}
    return {**base, **times, **facts, **changes}


def replicas_answer(*found: dict[str, object], off: float = 0.0) -> dict[str, object]:
    return {
        "data": list(found),
        "chores_here": True,
        "clock_offset_seconds": off,
        "now": "2026-11-01T10:00:06Z",
    }


def test_the_gateways_of_a_ledger_are_listed(fake: FakeAdmin) -> None:
    one, two = replica("host-1:7", this=True), replica("host-\x1b2:9", alive=False)
    fake.answer("GET", "replicas", replicas_answer(one, two))
    result = fake.run("health", "--replicas")
    assert result.exit_code == 0
    assert result.stdout == (
        "1 of 2 gateways live.\n"
        "  host-1:7 (asked): lives, started 2026-11-01 10:00:00 UTC\n"
        "  host-\ufffd2:9: silent since 2026-11-01 10:00:05 UTC, started 2026-11-01 10:00:00 UTC\n"
    )
    told = fake.run("health", "--replicas", "--json")
    assert json.loads(told.stdout)["data"][0]["name"] == "host-1:7"


def test_what_differs_between_them_is_said(fake: FakeAdmin) -> None:
    one, two = replica("a"), replica("b", settings="cd")
    fake.answer("GET", "replicas", replicas_answer(one, two, off=-4.2))
    said = fake.run("health", "--replicas").stdout
    assert "do not run by the same settings" in said and "off by -4.2 s" in said
    gone = replica("b", settings="cd", alive=False)
    fake.answer("GET", "replicas", replicas_answer(one, gone))
    assert "same settings" not in fake.run("health", "--replicas").stdout


def test_without_a_key_they_are_not_told(fake: FakeAdmin) -> None:
    result = fake.run("health", "--replicas", key=None)
    assert result.exit_code == 2 and "admin key" in result.stderr
