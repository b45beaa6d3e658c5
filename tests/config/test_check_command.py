"""`check` as people and machines use it, and the reference file that it is first run on."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
import yaml
from click.testing import CliRunner
from settings_samples import (
    DIGEST,
    ENVIRON,
    REFERENCE,
    ROOT,
    SECRET,
    SWITCHED_OFF,
    everything_on,
    read,
)

from gateway.cli import COMMANDS, main
from gateway.cli.check import effective_yaml
from gateway.config import load, parse
from gateway.config.notices import notices
from gateway.config.part import Part, yaml_name
from gateway.config.sandbox import sandbox_settings
from gateway.config.schema import (
    Alerts,
    Cache,
    CallbackSettings,
    ServerSettings,
    Settings,
    Storage,
    WorkerSettings,
)
from gateway.config.words import MAKE_KEY

TODAY = date(2026, 11, 29)
HOW = f"To make one, and the digest that belongs there: {MAKE_KEY}"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CALLBACK_SECRET", raising=False)
    return CliRunner()


def test_the_reference_shows_its_settings(runner: CliRunner) -> None:
    result = runner.invoke(main, ["check", "--config", str(REFERENCE)])
    assert result.exit_code == 0
    assert "api_key: '********'" in result.stdout
    assert yaml.safe_load(result.stdout)["models"]["gpt-image-1.5"]["routes"][0]["price"][0] == {
        "quality": "low",
        "usd": 0.012,
    }
    assert result.stderr.splitlines() == [
        "notice: server.admin_keys: no admin key, so nobody can use the admin API, and no team of "
        f"this file has a key to order with. {HOW}",
        "notice: teams: none here, so only keys made through the admin API open anything",
    ]


def test_the_reference_shows_the_defaults() -> None:
    settings = load(REFERENCE, ENVIRON)
    assert settings.server == ServerSettings()
    assert settings.storage == Storage()
    assert settings.cache == Cache()
    assert settings.callbacks == CallbackSettings()
    assert settings.alerts == Alerts()
    assert settings.worker == WorkerSettings()
    bare = read().upstreams["evolink"]
    shown = settings.upstreams["evolink"]
    assert (shown.poll, shown.timeout, shown.max_connections) == (
        bare.poll,
        bare.timeout,
        bare.max_connections,
    )
    assert settings.teams == {}


def test_the_reference_names_every_setting() -> None:
    settings = parse(everything_on(), ENVIRON)
    assert settings.teams["marketing"].limits.runs_per_minute == 60
    assert settings.upstreams["evolink"].usd_micros_per_credit == 14_706
    text = everything_on()
    missing = [name for name in all_names(Settings) if not re.search(rf"\b{name}:", text)]
    assert missing == []


def all_names(kind: object) -> set[str]:
    if isinstance(kind, type) and issubclass(kind, Part):
        inner = [all_names(field.annotation) for field in kind.model_fields.values()]
        return {yaml_name(name) for name in kind.model_fields}.union(*inner)
    return set().union(*(all_names(part) for part in get_args(kind)))


def test_the_reference_leaves_no_usable_key_and_refuses_its_placeholders() -> None:
    text = REFERENCE.read_text()
    assert not re.search(r"[0-9a-f]{64}", text)
    with pytest.raises(Exception, match="64 hex characters; make one with"):
        parse(SWITCHED_OFF.sub(r"\1", text).replace("  admin_keys: []\n", ""), ENVIRON)


def test_the_effective_settings_are_settings() -> None:
    first = parse(everything_on(), ENVIRON | {"CALLBACK_SECRET": "whsec_eHh4"})
    text = effective_yaml(first)
    digests = iter([*(key.sha256 for key in first.server.admin_keys), *first.server.metrics_keys])
    team_keys = iter(first.teams["marketing"].keys)
    text = re.sub(
        r"sha256:[0-9a-f]{8}\.\.\.",
        lambda _: f"sha256:{next(digests, None) or next(team_keys)}",
        text,
    )
    text = text.replace("********", SECRET, 2).replace("********", "whsec_eHh4")
    text = text.replace("https://hooks.example.org/...", "https://hooks.example.org/services/...")
    assert parse(text, {}) == first


def test_no_secret_is_ever_shown(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = everything_on().replace("${CALLBACK_SECRET:-}", "${EVOLINK_API_KEY}")
    path.write_text(text)
    settings = load(path, ENVIRON)
    shown = [repr(settings), str(settings), repr(settings.upstreams), str(settings.shown())]
    for options in ([], ["--json"]):
        result = runner.invoke(main, ["check", "--config", str(path), *options])
        assert result.exit_code == 0
        shown.append(result.output)
    digests = [
        *(key.sha256 for key in settings.server.admin_keys),
        *settings.teams["marketing"].keys,
    ]
    for words in shown:
        assert SECRET not in words
        assert not any(digest in words for digest in digests)


def test_quiet_prints_nothing_when_all_is_well(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    quietly = ["check", "--config", str(path), "--quiet"]
    noticed = runner.invoke(main, ["check", "--config", str(REFERENCE), "--quiet"])
    assert (noticed.exit_code, noticed.stdout) == (0, "")
    assert [line.partition(":")[0] for line in noticed.stderr.splitlines()] == ["notice"] * 2

    admin = REFERENCE.read_text().replace("admin_keys: []", f'admin_keys: ["{DIGEST}"]')
    path.write_text(admin)
    for options in ([], ["--json"]):
        well = runner.invoke(main, [*quietly, *options])
        assert (well.exit_code, well.output) == (0, "")

    path.write_text("server: {prot: 1}\n")
    problem = runner.invoke(main, quietly)
    assert (problem.exit_code, problem.stdout) == (2, "")
    assert "did you mean 'port'?" in problem.stderr


def test_problems_for_people(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("server: {prot: 1}\nmodels: {}\nupstreams: {}\n")
    result = runner.invoke(main, ["check", "--config", str(path)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "mine.yaml:1:10 server.prot: unknown key; did you mean 'port'?",
        "mine.yaml:2:1 models: at least one model is required",
        "mine.yaml:3:1 upstreams: at least one upstream is required",
        "3 problems",
    ]


def test_problems_for_programs(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("server: [")
    result = runner.invoke(main, ["check", "--config", str(path), "--json"])
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert answer["problems"][0].keys() == {"file", "line", "column", "path", "message"}


def test_settings_for_programs(runner: CliRunner) -> None:
    result = runner.invoke(main, ["check", "--config", str(REFERENCE), "--json"])
    answer = json.loads(result.stdout)
    assert (answer["ok"], len(answer["notices"])) == (True, 2)
    assert answer["settings"]["cache"] == {
        "ttl": "30d",
        "size_limit": "1GB",
        "scope": "team",
        "client_control": "honour",
        "remember_lost": "15m",
    }


def test_a_missing_file_names_the_option(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(main, ["check"])
    assert result.exit_code == 2
    assert result.stderr.startswith("config.yaml: there is no such file; name the settings file")
    assert "--config FILE" in result.stderr


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfe", "not UTF-8"), (b"#" * 2**21, "1 MiB")]
)
def test_what_is_no_settings_file(
    runner: CliRunner, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    result = runner.invoke(main, ["check", "--config", str(path)])
    assert (result.exit_code, words in result.stderr) == (2, True)
    result = runner.invoke(main, ["check", "--config", str(tmp_path)])
    assert "cannot be read: Is a directory" in result.stderr


def test_notices(tmp_path: Path) -> None:
    settings = read(f"""
upstreams:
  t: {{base_url: "http://127.0.0.1:1", api_key: sk-vendor, allow_private_addresses: true}}
models:
  m:
    limits: {{qualities: [low, high]}}
    routes: [{{upstream: t, model: m, price: [{{quality: low, usd: 1}}]}}]
teams:
  art: {{}}
  web: {{keys: ["{DIGEST}"], budgets: [{{usd: 1, per: day}}]}}
""")
    assert notices(settings, TODAY) == [
        f"server.admin_keys: no admin key, so nobody can use the admin API. {HOW}",
        "upstreams.t: may reach private addresses; meant for tests only",
        "models.m.limits.sizes: no list, so upstream judges every size",
        "models.m.routes: no price for quality high; such orders are refused",
        "teams.art.keys: no keys, so nobody can order for this team",
        "teams.art.budgets: no budget and no picture count, so spend has no bound",
    ]


def test_a_value_that_looks_like_a_slip_is_noticed() -> None:
    settings = read("""
models:
  m:
    limits: {sizes: [1:1], qualities: [low, medum, ultra], resolutions: [1K]}
    routes: [{upstream: evolink, model: m, price: 1}]
""")
    assert [one for one in notices(settings, TODAY) if one.startswith("models.")] == [
        "models.m.limits.qualities: 'medum' is not usual; did you mean 'medium'?"
    ]


def test_prices_want_a_list_of_every_field_that_they_look_at() -> None:
    rules = "[{resolution: 4K, usd: 2}, {quality: low, usd: 1}, {usd: 2}]"
    settings = read(f"""
models:
  m:
    limits: {{sizes: [1:1], qualities: [low]}}
    routes: [{{upstream: evolink, model: m, price: {rules}}}]
""")
    [notice] = [one for one in notices(settings, TODAY) if one.startswith("models.")]
    assert notice == (
        "models.m.limits.resolutions: no list, and prices look at resolution: what they do not "
        "name is forwarded at the dearest price that it may mean"
    )


def test_the_settings_of_trials_leave_no_price_open(tmp_path: Path) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    assert settings.models["gpt-image-2"].limits.resolutions == ("1K", "2K", "4K")
    assert not [notice for notice in notices(settings, TODAY) if notice.startswith("models.")]


def test_help_teaches_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['image-gateway', '--help']\n"
        "from gateway.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({n.partition('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert time.perf_counter() - started < 2  # a tenth of it on a quiet machine
    for heavy in ("pydantic", "yaml", "starlette", "httpx2", "rich", "structlog", "PIL"):
        assert f"'{heavy}'" not in done.stderr
    for command in COMMANDS:
        assert f"  {command} " in done.stdout
    assert "image-gateway serve --sandbox" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_is_there(runner: CliRunner, name: str) -> None:
    result = runner.invoke(main, [name, "--help"])
    assert (result.exit_code, result.exception) == (0, None)
    assert result.stdout.startswith(f"Usage: main {name}")


def test_an_unknown_command_lists_the_commands(runner: CliRunner) -> None:
    result = runner.invoke(main, ["chekc"])
    assert result.exit_code == 2
    assert "there is no command 'chekc'; did you mean 'check'?" in result.stderr


def test_version(runner: CliRunner) -> None:
    assert runner.invoke(main, ["--version"]).stdout.startswith("image-gateway 0.")
