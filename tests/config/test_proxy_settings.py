"""The settings of the way out: how they are shown, and what is told of them and the environment."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from settings_samples import read

from gateway.cli.check import check_command
from gateway.config import Settings, restart_needed
from gateway.config.notices import notices, proxy_notices

PROXY = "http://me:very-secret@proxy.example:3128"
SHOWN = "http://me:********@proxy.example:3128"
UPSTREAM = "upstreams: {evolink: {base_url: https://api.example, api_key: k, proxy: '${P:-}'}}\n"
SECTIONS = "callbacks: {proxy: '${P:-}'}\nalerts: {proxy: '${P:-}', webhook: 'https://a.example'}\n"
REFERENCES = "references: {proxy: '${P:-}'}\n"


def settings(proxy: str = "") -> Settings:
    return read(UPSTREAM + SECTIONS + REFERENCES, P=proxy)


def test_a_password_is_never_shown() -> None:
    shown = dict(settings(PROXY).shown())
    assert shown["upstreams"]["evolink"]["proxy"] == SHOWN  # type: ignore[index]
    for section in ("callbacks", "alerts", "references"):
        assert shown[section]["proxy"] == SHOWN  # type: ignore[index]
    assert "very-secret" not in json.dumps(shown, default=str) + repr(settings(PROXY))


def test_what_is_not_set_is_left_to_the_environment() -> None:
    one = settings()
    assert proxy_notices(one, {}) == []
    told = proxy_notices(one, {"HTTPS_PROXY": PROXY})
    assert [sentence.partition(":")[0] for sentence in told] == [
        "upstreams.evolink",
        "callbacks",
        "references",
        "alerts",
    ]
    assert all(f"{SHOWN} of the environment" in sentence for sentence in told)
    told = proxy_notices(one, {"HTTPS_PROXY": PROXY, "no_proxy": "api.example"})
    assert "upstreams.evolink" not in "".join(told)


def test_the_settings_go_before_the_environment() -> None:
    told = proxy_notices(settings(PROXY), {"HTTPS_PROXY": "http://other", "NO_PROXY": "*"})
    assert len(told) == 4
    assert all(SHOWN in sentence and "environment" not in sentence for sentence in told)


def test_a_variable_that_is_no_good_is_told() -> None:
    [told] = proxy_notices(settings(), {"ALL_PROXY": "socks5://me:very-secret@a.example"})
    assert told.startswith("ALL_PROXY names a SOCKS proxy") and "very-secret" not in told


def test_the_way_out_changes_without_a_restart() -> None:
    assert settings() != settings(PROXY)
    assert restart_needed(settings(), settings(PROXY)) == []
    inside = read("references: {allow_private_addresses: true}\n")
    assert restart_needed(read(), inside) == []
    assert any(notice.startswith("references:") for notice in notices(inside, date(2026, 11, 29)))


def test_check_tells_where_things_go_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    models = "models: {m: {routes: [{upstream: evolink, model: m, price: 1}]}}\n"
    file = tmp_path / "config.yaml"
    file.write_text(UPSTREAM.replace("${P:-}", "") + models)
    told = CliRunner().invoke(check_command, ["--config", str(file)])
    as_json = CliRunner().invoke(check_command, ["--config", str(file), "--json"])
    assert told.exit_code == 0
    said = f"upstreams.evolink: goes through the proxy {SHOWN} of the environment"
    assert f"notice: {said}\n" in told.stderr
    assert said in json.loads(as_json.stdout)["notices"]
    assert "very-secret" not in told.output + as_json.output
