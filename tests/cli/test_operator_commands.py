"""What the operator's commands ask of the admin API, and what they make of its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import operator_samples as samples
import pytest
from click.testing import CliRunner
from operator_fake import ADMIN_KEY, FakeAdmin
from operator_samples import DIGEST, RUN_ID
from starlette.responses import Response

from gateway.cli import COMMANDS, main
from gateway.core.orders.defaults import DEFAULTABLE

GROUPS = ("teams", "keys", "usage", "runs", "pictures", "cache", "callbacks", "alerts")
GROUPS += ("health", "settings", "reconcile")


def page(*rows: object, following: str | None = None) -> dict[str, Any]:
    return {"data": list(rows), "next": following}


# --- tables and explanations ---------------------------------------------------------------------


def test_teams_are_listed_with_the_limit_that_they_are_nearest_to(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams", page(samples.TEAM, samples.PROVISIONED))
    assert fake.run("teams", "list", "--search", "e", columns=90).stdout == (
        """\
team       mode     keys  this month       ever  nearest limit        description
marketing  enforce     2      $40.06  $1,234.50  82% of $50.00 a day  Pictures for the we…
green      shadow      1       $0.00      $0.00  -                    -
"""
    )
    assert fake.came[0].query == {"q": "e"}


def test_a_team_is_shown_with_what_is_left(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams/marketing", samples.TEAM)
    assert fake.run("teams", "show", "marketing", columns=80).stdout == (
        """\
marketing
  description  Pictures for the website
  mode         enforce
  spent        $40.06 this month, $1,234.50 ever
  live keys    2
  allowed      models gpt-image-1.5; sizes any; qualities low, medium; n up to 4
  defaults     quality low, n 2
  cache        as cache.scope has it
  references   trust
  made         2026-01-01 09:30:00.250 UTC, changed 2026-01-02 10:00:00 UTC

limit                spent    held    left  renews (UTC)
$50.00 a day        $40.06  $1.012  $8.928  2026-01-03 00:00
200 pictures a day      12       1     187  2026-01-03 00:00
20 runs at a time        0       1      19  -
"""
    )


def test_a_team_of_the_settings_says_where_it_is_changed(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams/green", samples.PROVISIONED)
    shown = fake.run("teams", "show", "green").stdout
    assert "in the settings file: change it there\n\n  no budget and no limit\n" in shown


def test_usage_is_a_table_with_a_total(fake: FakeAdmin) -> None:
    fake.answer("GET", "usage", samples.USAGE)
    words = ("--from", "2026-01-01", "--to", "2026-01-02", "--team", "x", "--by", "day,team,model")
    h, c = "saved  bypassed", "$0.90     $0.06"
    m, n = "joined  failed   made  reused", "     3       1  1,004      15"
    assert fake.run("usage", *words).stdout == (
        f"""\
2026-01-01 to 2026-01-02, days in Europe/Paris

day         team       model            new  from cache  {m}    spent  {h}
2026-01-02  marketing  gpt-image-1.5  1,005          12  {n}  $60.228  {c}
2026-01-01  green      gpt-image-1.5  1,005          12  {n}   $0.012  {c}
{"-" * 112}
total                                 1,005          12  {n}  $60.240  {c}
"""
    )
    asked = {"from": "2026-01-01", "to": "2026-01-02", "team": "x", "by": "day,team,model"}
    assert fake.came[0].query == asked


def test_a_table_is_by_team_and_what_programs_read_is_whole(fake: FakeAdmin) -> None:
    fake.answer("GET", "usage", samples.USAGE)
    fake.run("usage")
    fake.run("usage", "--by", "day")
    fake.run("usage", "--json")
    assert [came.query.get("by") for came in fake.came] == ["team", "day", None]


def test_usage_of_nothing_says_so(fake: FakeAdmin) -> None:
    fake.answer("GET", "usage", {**samples.USAGE, "data": []})
    assert fake.run("usage").stdout.endswith("\n\nnothing was ordered.\n")


def test_csv_comes_byte_for_byte(fake: FakeAdmin) -> None:
    body = "day,team,spent_usd\r\n2026-01-01,caf\u00e9,0.012000\r\n" * 20_000
    fake.answer("GET", "usage", Response(body, media_type="text/csv"))
    result = fake.run("usage", "--csv", "--by", "day,team")
    assert result.stdout_bytes == body.encode()
    assert fake.came[0].query == {"by": "day,team", "format": "csv"}


def test_a_run_is_explained(fake: FakeAdmin) -> None:
    fake.answer("GET", f"runs/{RUN_ID}", samples.EXPLANATION)
    shown = fake.run("runs", "show", RUN_ID, columns=80).stdout
    assert shown == (
        f"""\
The order started a run, since no identical one was done or running. The
cheapest route refused it with 503, so it went on to evolink/gpt-image-1.5, and
was done after 3.7 s.

run {RUN_ID}
  state          done
  team           marketing
  order          gpt-image-1.5, low, 1:1, n=1
  prompt         a red bicycle
  route          evolink/gpt-image-1.5, after spare/gpt-image-1.5
  attempts       2
  upstream task  task-unified-1767225600-00000000
  cost           $0.012 spent; at most $0.02
  credits        0.8
  joined         by 1 order
  created        2026-01-02 12:00:00.500 UTC
  finished       2026-01-02 12:00:04.200 UTC

timings
  waiting   40ms
  upstream  3.6s
  keeping   100ms
  total     3.7s

steps
  at (UTC)      event         state       route                  detail
  12:00:00.500  Admitted      submitting  spare/gpt-image-1.5    $0.02 held
  12:00:00.520  NotNow        submitting  evolink/gpt-image-1.5  503
  12:00:04.200  PicturesKept  done        evolink/gpt-image-1.5  1 picture

1 of 2 tasks
  created (UTC)     task                              team       verdict
  2026-01-02 12:00  task-unified-1767225600-a1b2c3d4  marketing  started

pictures
  http://127.0.0.1:8080/pictures/{DIGEST}.png  1024x1024, 1.2 MB
"""
    )


def test_a_failed_run_says_why_and_an_unfinished_one_when_it_ends(fake: FakeAdmin) -> None:
    failure = {"kind": "refused", "code": "blocked", "message": "Content.", "status": 403}
    run = {**samples.EXPLANATION["run"], "failure": failure, "finished_at": None, "held_usd": 0.02}
    fake.answer("GET", "runs/x", {**samples.EXPLANATION, "run": run})
    shown = fake.run("runs", "show", "x").stdout
    assert "  failure        blocked: Content.\n" in shown
    assert "  cost           $0.012 spent, $0.02 held; at most $0.02\n" in shown
    assert "  deadline       2026-01-02 12:15:00.500 UTC\n" in shown
    assert "finished" not in shown


def test_a_refusal_is_explained(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs/req_1", samples.REFUSED)
    assert fake.run("runs", "show", "req_1").stdout == (
        """\
The order was denied: the team's budget of $50 per day is exhausted.

refusal ref_0123456789abcdef01234567
  verdict  denied
  team     marketing
  model    gpt-image-1.5
  ordered  size 1:1, n 3, at most $0.18
  prompt   a fox�[31m
  key      website 3f9a0c1b
  reason   budget
  rule     usd_per_day
  message  The team's budget of $50 per day is exhausted.
  request  req_0123456789abcdef01234567
  at       2026-01-02 12:01:00.125 UTC
"""
    )


def test_a_picture_that_is_erased_says_so(fake: FakeAdmin) -> None:
    erased = {**samples.PICTURE, "prompt": "", "erased_at": "2026-01-05T08:00:00Z"}
    fake.answer("GET", "pictures", page(samples.PICTURE, erased))
    first, second = fake.run("pictures", "list", "--query", "bicycle").stdout.splitlines()[1:]
    assert first.endswith("a red bicycle")
    assert DIGEST in first
    assert second.endswith("(erased 2026-01-05)")
    assert fake.came[0].query == {"q": "bicycle", "limit": "50"}


def test_the_cache_is_shown(fake: FakeAdmin) -> None:
    cache = {"entries": 1200, "bytes": 123_456, "size_limit_bytes": 10**9, "ttl_seconds": 2_592_000}
    fake.answer("GET", "cache", {**cache, "requests": {"hit": 12, "miss": 30, "stale": 1}})
    assert fake.run("cache", "stats").stdout == (
        """\
  entries          1,200
  size             123 kB of at most 1.0 GB
  an answer lasts  30d
  asked            43
  had an answer    12 (28%)
  had none         30
  had one too old  1
"""
    )


def test_changes_show_what_is_not_as_it_was(fake: FakeAdmin) -> None:
    fake.answer("GET", "audit", page(samples.CHANGE))
    words = ("teams", "changes", "marketing", "--action", "team.change")
    assert fake.run(*words).stdout.splitlines()[1] == (
        "2026-01-02 10:00  0123456789ab  team.change  marketing  mode enforce -> shadow"
    )
    asked = {"subject": "marketing", "action": "team.change", "limit": "50"}
    assert fake.came[0].query == asked


LISTS = {
    ("teams", "list"): ("teams", samples.TEAM),
    ("teams", "changes"): ("audit", samples.CHANGE),
    ("keys", "list", "marketing"): ("teams/marketing/keys", samples.KEY),
    ("usage",): ("usage", None),
    ("runs", "list"): ("runs", samples.RUN),
    ("runs", "refusals"): ("refusals", samples.REFUSAL),
    ("pictures", "list"): ("pictures", samples.PICTURE),
    ("callbacks", "list"): ("callbacks", samples.CALLBACK),
}


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
@pytest.mark.parametrize("columns", [80, 100, 120])
def test_every_table_fits_the_screen(fake: FakeAdmin, words: tuple[str, ...], columns: int) -> None:
    path, row = LISTS[words]
    fake.answer("GET", path, samples.USAGE if row is None else page(row, row))
    lines = fake.run(*words, columns=columns).stdout.splitlines()
    assert len(lines) >= 3
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_json_is_the_apis_own(fake: FakeAdmin, words: tuple[str, ...]) -> None:
    odd = '{ "data": [], "next" : null, "spent": 1e-06 }'
    fake.answer("GET", LISTS[words][0], Response(odd, media_type="application/json"))
    result = fake.run(*words, "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, odd + "\n", "")


@pytest.mark.parametrize("words", [*LISTS][3:], ids=" ".join)
def test_an_empty_list_says_so(fake: FakeAdmin, words: tuple[str, ...]) -> None:
    fake.answer("GET", LISTS[words][0], {**samples.USAGE, "data": [], "next": None})
    result = fake.run(*words)
    assert result.exit_code == 0
    assert len((result.stdout + result.stderr).strip().splitlines()[-1]) > 10


def test_a_prompt_is_text_and_nothing_else(fake: FakeAdmin) -> None:
    run = {**samples.RUN, "prompt": "[bold]\x1b]0;title\x07 \u202e\nnext"}
    fake.answer("GET", "runs", page(run))
    line = fake.run("runs", "list", columns=160).stdout.splitlines()[1]
    assert line.endswith("  [bold]\ufffd]0;title\ufffd \ufffd next")


def test_colours_are_for_terminals_that_want_them(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs", page(samples.RUN))
    environ = {"GATEWAY_URL": fake.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}
    words = ["runs", "list"]
    shown = CliRunner().invoke(main, words, env=environ, color=True).stdout
    assert "\x1b[32mdone\x1b[0m" in shown
    quiet = CliRunner().invoke(main, words, env={**environ, "NO_COLOR": "1"}, color=True).stdout
    assert "\x1b" not in quiet


# --- pages ---------------------------------------------------------------------------------------


def test_a_list_says_when_there_is_more(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs", page(samples.RUN, samples.RUN, following="c1"))
    result = fake.run("runs", "list", "--limit", "2", "--state", "done", "--from", "2026-01-01")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "more: --all\n"
    assert fake.came[0].query == {"limit": "2", "state": "done", "from": "2026-01-01"}


def test_all_follows_the_cursors_under_one_heading(fake: FakeAdmin) -> None:
    pages = [page(samples.RUN, following="c1"), page(samples.RUN, following="c2"), page()]
    fake.answer("GET", "runs", *pages)
    result = fake.run("runs", "list", "--all", "--team", "blue")
    assert result.stdout.count("created (UTC)") == 1
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == ""
    asked = {"limit": "500", "team": "blue"}
    queries = [asked, {**asked, "cursor": "c1"}, {**asked, "cursor": "c2"}]
    assert [one.query for one in fake.came] == queries


def test_all_as_json_is_one_object(fake: FakeAdmin) -> None:
    second = {**samples.RUN, "prompt": "caf\u00e9"}
    fake.answer("GET", "runs", page(samples.RUN, following="c1"), page(second))
    told = fake.run("runs", "list", "--all", "--json").stdout
    assert json.loads(told) == page(samples.RUN, second)
    fake.answer("GET", "runs", page())
    assert json.loads(fake.run("runs", "list", "--all", "--json").stdout) == page()


def test_a_limit_beyond_a_page_takes_several(fake: FakeAdmin) -> None:
    full = page(*[samples.RUN] * 500, following="c1")
    fake.answer("GET", "runs", full, page(*[samples.RUN] * 2, following="c2"))
    result = fake.run("runs", "list", "--limit", "502")
    assert len(result.stdout.splitlines()) == 503
    assert result.stderr == "more: --all\n"
    assert [one.query["limit"] for one in fake.came] == ["500", "2"]


def test_a_cursor_that_leads_nowhere_ends_the_list(fake: FakeAdmin) -> None:
    fake.answer("GET", "runs", page(samples.RUN, following="c1"))
    result = fake.run("runs", "list", "--all")
    assert result.exit_code == 2
    assert "goes round in circles" in result.stderr


# --- changes -------------------------------------------------------------------------------------


def test_a_new_team_has_what_was_given_and_nothing_else(fake: FakeAdmin) -> None:
    fake.answer("POST", "teams", samples.TEAM)
    # fmt: off
    result = fake.run(
        "teams", "create", "marketing", "--description", "For the website", "--budget", "50/day",
        "--budget", "$0.5/hour", "--images", "200/day", "--runs-per-minute", "60",
        "--concurrent-runs", "none", "--allow-model", "gpt-image-1.5", "--allow-size", "1:1",
        "--allow-size", "3:2", "--allow-quality", "low", "--max-n", "2", "--cache-scope", "team",
        "--mode", "shadow", "--references", "fetch",
    )
    # fmt: on
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("marketing\n")
    assert fake.came[0].body == {
        "name": "marketing",
        "description": "For the website",
        "budgets": [{"usd": 50, "per": "day"}, {"usd": "0.5", "per": "hour"}],
        "limits": {"images": [{"count": 200, "per": "day"}], "runs_per_minute": 60},
        "allow": {
            "models": ["gpt-image-1.5"],
            "sizes": ["1:1", "3:2"],
            "qualities": ["low"],
            "max_n": 2,
        },
        "cache": {"scope": "team"},
        "mode": "shadow",
        "references": "fetch",
    }


def test_a_new_team_says_what_it_may_spend(fake: FakeAdmin, tmp_path: Path) -> None:
    fake.answer("POST", "teams", samples.TEAM)
    silent = tmp_path / "team.yaml"
    silent.write_text("mode: shadow\n")
    for words in ([], ["--images", "5/day"], ["--file", str(silent)]):
        result = fake.run("teams", "create", "marketing", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--budget 50/day" in result.stderr
        assert "--budget none lets it spend without end" in result.stderr
    assert fake.came == []
    assert fake.run("teams", "create", "marketing", "--budget", "none").exit_code == 0
    silent.write_text("budgets: []\n")
    assert fake.run("teams", "create", "marketing", "--file", str(silent)).exit_code == 0
    assert [one.body.get("budgets") for one in fake.came] == [None, []]


@pytest.mark.parametrize(
    ("said", "budgets"),
    [
        ("500/month\n", [{"usd": 500, "per": "month"}]),
        ("much\n$5/day\n", [{"usd": 5, "per": "day"}]),
        ("none\n", None),
        ("", ...),
    ],
)
def test_a_person_is_asked_what_a_new_team_may_spend(
    fake: FakeAdmin, monkeypatch: pytest.MonkeyPatch, said: str, budgets: object
) -> None:
    from click.testing import _NamedTextIOWrapper

    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
    fake.answer("POST", "teams", samples.TEAM)
    environ = {"GATEWAY_URL": fake.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}
    result = CliRunner().invoke(main, ["teams", "create", "art", "--json"], env=environ, input=said)
    assert "Budget in dollars, such as 500/month" in result.stderr
    if budgets is ...:
        assert (result.exit_code, fake.came) == (1, [])
        return
    assert json.loads(result.stdout)["name"] == "marketing"
    wanted = {"name": "art"} if budgets is None else {"name": "art", "budgets": budgets}
    assert [one.body for one in fake.came] == [wanted]


@pytest.mark.parametrize(
    ("words", "patch"),
    [
        (["--budget", "80/day"], {"budgets": [{"usd": 80, "per": "day"}]}),
        (["--budget", "none"], {"budgets": None}),
        (["--images", "none"], {"limits": {"images": None}}),
        (["--max-n", "any", "--budget", "none"], {"budgets": None, "allow": {"max_n": None}}),
        (["--allow-model", "any"], {"allow": {"models": None}}),
        (["--description", ""], {"description": None}),
        (["--cache-scope", "default"], {"cache": {"scope": None}}),
        (["--mode", "enforce"], {"mode": "enforce"}),
        (
            ["--default", "quality=low", "--default", "n=2", "--default", "watermark=false"],
            {"defaults": {"quality": "low", "n": 2, "watermark": False}},
        ),
        (["--default", "size=none"], {"defaults": {"size": None}}),
        (["--default", "none"], {"defaults": None}),
    ],
)
def test_a_change_is_a_merge_patch_of_what_was_given(
    fake: FakeAdmin, words: list[str], patch: object
) -> None:
    fake.answer("PATCH", "teams/marketing", samples.TEAM)
    assert fake.run("teams", "change", "marketing", *words).exit_code == 0
    assert fake.came[0].body == patch


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "nothing to change: say what"),
        (["--budget", "fifty/day"], "'fifty/day' is not of the form 50/day"),
        (["--budget", "50"], "'50' is not of the form 50/day"),
        (["--budget", "nan/day"], "'nan/day' is not of the form 50/day"),
        (["--budget", "inf/day"], "'inf/day' is not of the form 50/day"),
        (["--images", "1.5/day"], "'1.5/day' is not of the form 50/day"),
        (["--max-n", "-1"], "'-1' is no whole number"),
        (["--max-n", "9" * 5000], "is no whole number"),
        (["--images", "9" * 5000 + "/day"], "is not of the form 50/day"),
        (["--file", "nowhere.yaml"], "nowhere.yaml"),
        (["--budget", "none", "--budget", "5/day"], "--budget none takes away what the other"),
        (["--images", "5/day", "--images", "none"], "--images none takes away what the other"),
        (["--allow-quality", "any", "--allow-quality", "low"], "--allow-quality any takes away"),
        (["--default", "none", "--default", "n=2"], "--default none takes away what the other"),
        (["--default", "n=1", "--default", "n=2"], "--default says 'n' twice: which is meant?"),
        (["--default", "low"], "'low' is not of the form quality=low"),
        (["--default", "quality="], "is not of the form quality=low"),
    ],
)
def test_a_change_that_makes_no_sense_asks_nobody(
    fake: FakeAdmin, words: list[str], complaint: str
) -> None:
    result = fake.run("teams", "change", "marketing", *words)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert fake.came == []


def test_a_file_replaces_the_whole_and_is_read_as_the_settings_are(
    fake: FakeAdmin, tmp_path: Path
) -> None:
    file = tmp_path / "team.yaml"
    file.write_text(
        "budgets: [{usd: 50, per: day}]\nallow: {sizes: [1:1, 3:2], max_n: 2}\n"
        "defaults: {n: 2, quality: low}\n"
    )
    fake.answer("PATCH", "teams/marketing", samples.TEAM)
    fake.answer("POST", "teams", samples.TEAM)
    words = ("marketing", "--file", str(file), "--max-n", "4", "--default", "size=1:1")
    assert fake.run("teams", "change", *words).exit_code == 0
    assert fake.run("teams", "create", *words).exit_code == 0
    allow = {"sizes": ["1:1", "3:2"], "max_n": 4}
    defaults = {"n": 2, "quality": "low", "size": "1:1"}
    assert fake.came[0].body == {
        "description": None,
        "budgets": [{"usd": "50", "per": "day"}],
        "limits": None,
        "allow": {"models": None, "qualities": None, **allow},
        "defaults": {**dict.fromkeys(DEFAULTABLE), **defaults},
        "cache": None,
        "mode": None,
        "references": None,
    }
    budgets = [{"usd": "50", "per": "day"}]
    assert fake.came[1].body == {
        "name": "marketing",
        "budgets": budgets,
        "allow": allow,
        "defaults": defaults,
    }


def test_what_show_prints_as_json_can_be_given_back(fake: FakeAdmin, tmp_path: Path) -> None:
    fake.answer("GET", "teams/marketing", samples.TEAM)
    fake.answer("PATCH", "teams/marketing", samples.TEAM)
    file = tmp_path / "marketing.json"
    file.write_text(fake.run("teams", "show", "marketing", "--json").stdout)
    assert fake.run("teams", "change", "marketing", "--file", str(file)).exit_code == 0
    assert fake.came[1].body["description"] == "Pictures for the website"
    assert fake.came[1].body["budgets"] == [{"usd": "50", "per": "day"}]
    assert "standing" not in fake.came[1].body
    result = fake.run("teams", "change", "other", "--file", str(file))
    assert result.exit_code == 2
    assert "is of team 'marketing', not 'other'" in result.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2]", "must hold a mapping"),
        ("a: [", "not valid YAML"),
        ("mode: ${NO_SUCH_VARIABLE_HERE}", "NO_SUCH_VARIABLE_HERE is not set"),
        ("mode: a\nmode: b", "already given in line 1"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_place(
    fake: FakeAdmin, tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "team.yaml"
    file.write_text(text)
    result = fake.run("teams", "change", "marketing", "--file", str(file))
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert "team.yaml" in result.stderr


def test_a_new_key_is_alone_on_standard_output(fake: FakeAdmin) -> None:
    fake.answer("POST", "teams/marketing/keys", samples.ISSUED)
    result = fake.run("keys", "issue", "marketing", "--label", "website")
    assert result.stdout == "igw_3f9a0c1b_secretsecret\n"
    assert result.stderr == (
        "Key 3f9a0c1b of team marketing, website. It is shown this once: keep it where secrets are"
        " kept.\n"
    )
    assert fake.came[0].body == {"label": "website"}
    told = fake.run("keys", "issue", "marketing", "--json")
    assert (json.loads(told.stdout), told.stderr) == (samples.ISSUED, "")


def test_a_rotated_key_says_how_long_the_old_one_works(fake: FakeAdmin) -> None:
    fake.answer("POST", "teams/marketing/keys/3f9a0c1b/rotate", samples.ROTATED)
    result = fake.run("keys", "rotate", "marketing", "3f9a0c1b", "--grace", "24h")
    assert result.stdout == "igw_77aa00bb_othersecret\n"
    assert result.stderr.endswith(
        "\nKey 3f9a0c1b, which it replaces, works until 2026-01-03 09:30:00 UTC.\n"
    )
    assert fake.came[0].body == {"grace": "24h"}
    gone = {**samples.ROTATED, "replaced": {**samples.OLD_KEY, "state": "expired"}}
    fake.answer("POST", "teams/marketing/keys/3f9a0c1b/rotate", gone)
    again = fake.run("keys", "rotate", "marketing", "3f9a0c1b", "--grace", "0s")
    assert again.stderr.endswith(" opens nothing any more.\n")


def test_a_key_is_revoked(fake: FakeAdmin) -> None:
    fake.answer("DELETE", "teams/marketing/keys/3f9a0c1b", {**samples.KEY, "state": "revoked"})
    result = fake.run("keys", "revoke", "marketing", "3f9a0c1b")
    assert result.stdout == "Key 3f9a0c1b of team marketing opens nothing any more.\n"


def test_of_a_whole_key_only_the_id_leaves_the_machine(fake: FakeAdmin) -> None:
    fake.answer("DELETE", "teams/marketing/keys/3f9a0c1b", {**samples.KEY, "state": "revoked"})
    fake.answer("POST", "teams/marketing/keys/3f9a0c1b/rotate", {})
    result = fake.run("keys", "revoke", "marketing", "igw_3f9a0c1b_se-cr_et")
    assert (result.exit_code, "se-cr_et" in result.output) == (0, False)
    result = fake.run("keys", "rotate", "marketing", "igw_3f9a0c1b_se-cr_et")
    assert "se-cr_et" not in result.output
    assert [one.path.count("se-cr_et") for one in fake.came] == [0, 0]


def test_a_new_key_that_cannot_be_shown_says_how_to_end_it(fake: FakeAdmin) -> None:
    fake.answer("POST", "teams/marketing/keys", {**samples.KEY, "key": "igw_secret"})
    fake.answer("GET", "teams", page())
    environ = {**os.environ, "GATEWAY_URL": fake.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}

    def told(words: str, **how: Any) -> tuple[int, str]:
        command = [sys.executable, "-m", "gateway", *words.split()]
        one = subprocess.run(
            command, stderr=subprocess.PIPE, env=environ, check=False, text=True, **how
        )
        assert "Traceback" not in one.stderr
        return one.returncode, one.stderr.splitlines()[-1]

    issue = "keys issue marketing"
    with Path("/dev/full").open("wb") as full:
        status, said = told(issue, stdout=full)
        assert (status, said.endswith("image-gateway keys revoke marketing 3f9a0c1b")) == (1, True)
        status, said = told("teams list", stdout=full)
        assert (status, "cannot be written: No space left" in said) == (1, True)
    before = len(fake.came)
    status, said = told(issue, preexec_fn=lambda: os.close(1))
    assert (status, "standard output is closed" in said, len(fake.came)) == (2, True, before)


DESTRUCTIVE = {
    ("teams", "delete", "marketing"): ("DELETE", "teams/marketing", "marketing is deleted."),
    ("pictures", "erase", DIGEST): (
        "DELETE",
        f"pictures/{DIGEST}",
        f"Picture {DIGEST} is erased; its link answers 404.",
    ),
    ("pictures", "erase", f"http://127.0.0.1:8080/pictures/{DIGEST}.png"): (
        "DELETE",
        f"pictures/{DIGEST}",
        f"Picture {DIGEST} is erased; its link answers 404.",
    ),
    ("runs", "erase", "run_1"): ("DELETE", "runs/run_1", "Run run_1 is erased."),
    ("cache", "purge", "--team", "blue"): ("POST", "cache/purge", "12 answers forgotten."),
}


@pytest.mark.parametrize("words", DESTRUCTIVE)
def test_what_cannot_be_undone_is_asked_first(fake: FakeAdmin, words: tuple[str, ...]) -> None:
    method, path, said = DESTRUCTIVE[words]
    answer = {"id": "run_1", "name": "marketing", "deleted": True, "purged": 12, **samples.PICTURE}
    fake.answer(method, path, answer)
    refused = fake.run(*words)
    assert refused.exit_code == 2
    assert "there is nobody to ask here: say --yes." in refused.stderr
    assert fake.came == []
    assert fake.run(*words, "--yes").stdout == f"{said}\n"
    body = {"team": "blue"} if method == "POST" else None
    assert [(one.method, one.path, one.body) for one in fake.came] == [(method, path, body)]


@pytest.mark.parametrize(("said", "came"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_a_person_is_asked(
    fake: FakeAdmin, monkeypatch: pytest.MonkeyPatch, said: str, came: int
) -> None:
    from click.testing import _NamedTextIOWrapper

    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
    fake.answer("POST", "cache/purge", {"purged": 1})
    environ = {"GATEWAY_URL": fake.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}
    result = CliRunner().invoke(main, ["cache", "purge"], env=environ, input=said)
    assert "Forget all answers of all teams? Identical orders will be paid again. [y/N]: " in (
        result.stderr
    )
    assert len(fake.came) == came
    assert result.exit_code == (0 if came else 1)


def test_a_callback_is_made_again(fake: FakeAdmin) -> None:
    pending = {**samples.CALLBACK, "state": "pending"}
    fake.answer("POST", "callbacks/msg_1/redeliver", pending)
    result = fake.run("callbacks", "redeliver", "msg_1")
    assert result.stdout.endswith(" is pending: hooks.example.com is called again.\n")


# --- help ----------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, ...]]:
    for name in GROUPS:
        yield (name,)
        command = main.get_command(None, name)  # type: ignore[arg-type]
        for inner in getattr(command, "commands", {}):
            yield (name, inner)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_help_teaches_by_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert f"    image-gateway {' '.join(words)}" in result.output
    assert all(len(line) <= 100 for line in result.output.splitlines())


def test_the_commands_are_in_the_table() -> None:
    assert set(GROUPS) <= set(COMMANDS)


# --- what was paid and lost ----------------------------------------------------------------------

ASIDE = {
    "name": f"{RUN_ID}-0",
    "run": RUN_ID,
    "index": 0,
    "team": "marketing",
    "upstream": "evolink",
    "host": "files.example.org",
    "media_type": "image/png",
    "kind": "PNG",
    "reason": "it begins like PNG and does not decode: it ends too early",
    "digest": DIGEST,
    "size_bytes": 1_234_567,
    "at": "2026-01-02T10:00:00Z",
}


def test_what_is_set_aside_is_listed_and_fetched(fake: FakeAdmin) -> None:
    fake.answer("GET", "pictures/unproven", page(ASIDE))
    shown = fake.run("pictures", "list", "--unproven", "--team", "marketing", columns=200).stdout
    assert f"{RUN_ID}-0" in shown and "it ends too early" in shown
    assert fake.came[0].query["team"] == "marketing"
    content = Response(b"\x89PNG cut", media_type="application/octet-stream")
    fake.answer("GET", f"pictures/unproven/{RUN_ID}-0", content)
    fetched = fake.run("pictures", "fetch", f"{RUN_ID}-0")
    assert fetched.exit_code == 0 and fetched.stdout_bytes == b"\x89PNG cut"
    refused = fake.run("pictures", "list", "--unproven", "--query", "x")
    assert refused.exit_code == 2 and "--query" in refused.stderr


def test_a_run_is_tried_again(fake: FakeAdmin) -> None:
    fake.answer("POST", f"runs/{RUN_ID}/retry", {**samples.RUN, "state": "keeping"})
    assert "keeping: it is tried again now" in fake.run("runs", "retry", RUN_ID).stdout
    fake.refuse("POST", f"runs/{RUN_ID}/retry", 409, "This run cannot be tried again.")
    refused = fake.run("runs", "retry", RUN_ID)
    assert refused.exit_code != 0 and "cannot be tried again" in refused.stderr
