"""Settings become the core's types; a reload knows what it can take over."""

from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from settings_samples import DIGEST, read

from gateway.adapters.outbound.vendor import Timeouts
from gateway.background.runs import RunBounds
from gateway.config import (
    Settings,
    SettingsError,
    convert,
    restart_needed,
    sandbox_settings,
    with_address,
)
from gateway.config.notices import notices
from gateway.config.sandbox import ADMIN_KEY, TEAM_KEY, digest_of
from gateway.config.sandbox import UPSTREAM as EVOLINK
from gateway.core.catalog import CacheScope, Mode, Pace, PriceRule
from gateway.core.model import Order
from gateway.core.money.accounts import Cap, Measure, Window
from gateway.core.orders.pricing import price_per_picture
from gateway.core.policy import Grant, Policy
from gateway.core.runs.breaker import BreakerPace
from gateway.core.runs.lifecycle import Rules
from gateway.wiring.kinds import KINDS

TEAM = f"""
teams:
  art:
    keys: ["{DIGEST}"]
    budgets: [{{usd: 50, per: day}}, {{usd: 500.5, per: total}}]
    limits: {{images: [{{count: 200, per: week}}], runs_per_minute: 60, concurrent_runs: 20}}
    allow: {{models: [gpt-image-1.5-lite], sizes: [1:1], qualities: [low], max_n: 4}}
    cache: {{scope: organization}}
    mode: shadow
  web: {{}}
"""


def test_teams() -> None:
    teams = convert.teams(read(TEAM))
    art, web = teams["art"], teams["web"]
    assert art.caps == (
        Cap(Measure.USD, Window.DAY, 50_000_000),
        Cap(Measure.USD, Window.TOTAL, 500_500_000),
        Cap(Measure.IMAGES, Window.WEEK, 200),
        Cap(Measure.RUNS, Window.MINUTE, 60),
        Cap(Measure.LIVE, Window.TOTAL, 20),
    )
    assert art.allow.models == {"gpt-image-1.5"}
    assert (art.allow.sizes, art.allow.qualities, art.allow.max_n) == ({"1:1"}, {"low"}, 4)
    assert (art.cache_scope, art.mode) == (CacheScope.ORGANIZATION, Mode.SHADOW)
    assert (web.caps, web.allow.models, web.mode) == ((), None, Mode.ENFORCE)
    assert all(type(cap.window) is Window for cap in art.caps)


def test_a_team_inherits_the_cache_scope() -> None:
    settings = read("cache: {scope: organization}\nteams: {a: {}, b: {cache: {scope: team}}}\n")
    scopes = {name: team.cache_scope for name, team in convert.teams(settings).items()}
    assert scopes == {"a": CacheScope.ORGANIZATION, "b": CacheScope.TEAM}


def test_keys() -> None:
    assert convert.keys(read(TEAM)) == {DIGEST.removeprefix("sha256:"): Grant("art")}


def test_catalog() -> None:
    settings = read("""
upstreams:
  a: {base_url: https://a.example/v1/, api_key: k}
  b: {base_url: https://b.example, api_key: k}
models:
  best:
    aliases: [top]
    limits: {prompt_tokens: 9, max_n: 2, sizes: [1:1], qualities: [low, high]}
    defaults: {quality: low, n: 2}
    deadline: 90s
    routes:
      - upstream: b
        model: best-b
        price: [{quality: low, resolution: 2K, usd: 0.2}, {size: 1:1, usd: 0.1}, {usd: 0.000001}]
      - {upstream: a, model: best-a, price: 0.013}
""")
    catalog = convert.catalog(settings, KINDS)
    model = catalog.find("top")
    assert model is not None
    assert model is catalog.find("best")
    assert [route.name for route in model.routes] == ["b/best-b", "a/best-a"]
    assert model.routes[0].prices == (
        PriceRule(200_000, (("quality", "low"), ("resolution", "2K"))),
        PriceRule(100_000, (("size", "1:1"),)),
        PriceRule(1),
    )
    assert model.routes[1].prices == (PriceRule(13_000),)
    assert model.limits.sizes == {"1:1"}
    assert (model.limits.max_n, model.limits.prompt_tokens) == (2, 9)
    assert model.defaults == (("n", 2), ("quality", "low"))
    assert model.deadline_seconds == 90.0
    assert settings.upstreams["a"].base_url == "https://a.example"


def test_sizes_in_the_settings_have_one_spelling() -> None:
    settings = read("""
models:
  m:
    limits: {sizes: [1024\u00d71024, " 1 : 1"], resolutions: [1K, 4K]}
    defaults: {size: 1024 X 1024}
    routes:
      - upstream: evolink
        model: m
        price: [{size: 1024X1024, usd: 0.2}, {resolution: 4K, usd: 0.3}, {usd: 0.1}]
teams:
  art: {allow: {sizes: [1024\u00d71024]}}
""")
    model = convert.catalog(settings, KINDS).models["m"]
    assert model.limits.sizes == {"1024x1024", "1:1"}
    assert model.limits.resolutions == {"1K", "4K"}
    assert model.routes[0].prices[0].match == (("size", "1024x1024"),)
    assert convert.teams(settings)["art"].allow.sizes == {"1024x1024"}


def test_policy_and_rules() -> None:
    settings = read("""
server: {timezone: Asia/Tokyo, body_limit: 2MiB, log: {prompts: true}}
worker: {retry: {first: 2s, max: 9s}}
upstreams:
  evolink: {base_url: https://a.example, api_key: k, poll: {first: 1s}, usd_per_credit: 0.014706}
""")
    policy = convert.policy(settings, port=9999, kinds=KINDS)
    assert policy.zone == ZoneInfo("Asia/Tokyo")
    assert policy.public_url == "http://127.0.0.1:9999"
    assert (policy.body_limit_bytes, policy.log_prompts) == (2_097_152, True)
    rules = policy.rules["evolink"]
    assert rules.pace == Pace(1.0, 4.0, 15.0)
    assert (rules.retry_first_seconds, rules.retry_max_seconds) == (2.0, 9.0)
    assert rules.usd_micros_per_credit == 14_706


def test_an_address_on_the_command_line_keeps_the_rules() -> None:
    assert with_address(read(), port=0).server.port == 0
    with pytest.raises(SettingsError, match=r"server\.public_url: required, because 0\.0\.0\.0"):
        with_address(read(), host="0.0.0.0")
    public = read("server: {public_url: https://images.example/gateway/}")
    moved = with_address(public, host="::", port=1)
    assert moved.server.links_base(1) == "https://images.example/gateway"
    assert with_address(read(), host="::1").server.links_base(80) == "http://[::1]:80"


def test_sandbox_settings(tmp_path: Path) -> None:
    settings = sandbox_settings("http://127.0.0.1:9", tmp_path, port=0)
    keys = convert.keys(settings)
    assert keys == {digest_of(TEAM_KEY).removeprefix("sha256:"): Grant("demo")}
    assert f"sha256:{settings.server.admin_keys[0].sha256}" == digest_of(ADMIN_KEY)
    assert convert.teams(settings)["demo"].caps == (
        Cap(Measure.USD, Window.DAY, 5_000_000),
        Cap(Measure.IMAGES, Window.DAY, 50),
    )
    catalog = convert.catalog(settings, KINDS)
    assert catalog.find("gpt-image-1.5-lite") is catalog.models["gpt-image-1.5"]
    assert set(catalog.models) == {"gpt-image-1.5", "gpt-image-2"}
    with pytest.raises(SettingsError, match=r"public_url"):
        with_address(settings, host="0.0.0.0")


def test_sandbox_settings_with_a_second_vendor(tmp_path: Path) -> None:
    openai = "http://127.0.0.1:8/v1"
    settings = sandbox_settings("http://127.0.0.1:9", tmp_path, port=0, openai_url=openai)
    told = list(notices(settings, date(2026, 11, 29)))
    assert [one for one in told if "private addresses" not in one] == []
    models = convert.catalog(settings, KINDS).models
    assert [route.upstream for route in models["gpt-image-1.5"].routes] == [EVOLINK]
    both = models["gpt-image-2"]
    first, second = both.routes
    assert (first.kind.name, second.kind.name) == ("evolink", "openai")
    assert not second.is_another_model
    for size in ("1:1", "1024x1536", "2048x2048"):
        for quality in ("low", "medium", "high"):
            order = Order(both.name, "", 1, size, quality, {"size": size, "quality": quality})
            cheap, dear = (price_per_picture(route, order, both.limits) for route in both.routes)
            assert cheap is not None and dear is not None and cheap < dear


UPSTREAM = "upstreams:\n  evolink: {{base_url: https://a.example, api_key: {key}, {rest}}}\n"
RELOADS = [
    TEAM,
    f"server: {{admin_keys: ['{DIGEST}']}}",
    f"server: {{metrics_keys: ['{DIGEST}']}}",
    "server: {timezone: Asia/Tokyo}",
    "server: {public_url: https://images.example}",
    "server: {body_limit: 2MiB}",
    "server: {upload_limit: 5MB}",
    "server: {uploads_per_team: 50MB}",
    "server: {max_waiters: 7}",
    "server: {openai_wait: 1m}",
    "server: {openai_sdk_on_v1: true}",
    "server: {cors_origins: ['https://app.example']}",
    "server: {log: {prompts: true}}",
    "storage: {free_space_floor: 2GB}",
    "storage: {picture_limit: 2MB}",
    "storage: {retention: {jobs: 2d}}",
    "storage: {retention: {idempotency_keys: 2d}}",
    "storage: {retention: {refusals: 2d}}",
    "cache: {ttl: 1d}",
    "cache: {remember_lost: 1m}",
    "callbacks: {allow_private_addresses: true}",
    "callbacks: {retries: [5s]}",
    "worker: {retry: {first: 2s}}",
    "alerts: {webhook: 'https://hooks.example/x'}",
    UPSTREAM.format(key="k", rest="poll: {every: 5s}"),
    UPSTREAM.format(key="k", rest="usd_per_credit: 0.01"),
    "models:\n  a:\n    routes: [{upstream: evolink, model: a, price: 1}]",
]
RESTARTS = {
    "server: {host: localhost, public_url: 'http://127.0.0.1:1'}": ["server.host"],
    "server: {port: 1, shutdown_grace: 1s}": ["server.port", "server.shutdown_grace"],
    "server: {log: {level: debug}}": ["server.log.level"],
    "storage: {data_dir: ./other}": ["storage.data_dir"],
    "cache: {size_limit: 2GB}": ["cache.size_limit"],
    "worker: {concurrency: 2, downloads: 2}": ["worker.concurrency", "worker.downloads"],
}


RECONNECTS = [
    UPSTREAM.format(key="other", rest=""),
    UPSTREAM.format(key="k", rest="timeout: {poll: 9s}"),
    UPSTREAM.format(key="k", rest="") + "  b: {base_url: https://b.example, api_key: k}",
]


def base(text: str) -> Settings:
    return read(text if "upstreams:" in text else text + "\n" + UPSTREAM.format(key="k", rest=""))


@pytest.mark.parametrize("text", RELOADS)
def test_what_a_reload_takes_over_is_in_the_policy(text: str) -> None:
    old, new = base(""), base(text)
    assert restart_needed(old, new) == []
    assert convert.policy(old, port=1, kinds=KINDS) != convert.policy(new, port=1, kinds=KINDS)


@pytest.mark.parametrize("kind", [Policy, Rules, Pace, BreakerPace, RunBounds, Timeouts])
def test_a_default_of_a_setting_stands_in_the_schema_alone(kind: Any) -> None:
    given = {one.name for one in fields(kind) if one.default is not MISSING}
    facts = {"outlook", "kind", "heeds"}  # reckoned for each step, or of an upstream's kind
    assert given <= facts


def test_a_run_of_an_upstream_that_left_the_settings_goes_by_those_of_the_worker() -> None:
    policy = convert.policy(
        base("worker: {retry: {first: 2s, dead_after: 2h}}"), port=1, kinds=KINDS
    )
    rules = policy.rules_of("gone")
    assert (rules.retry_first_seconds, rules.dead_after_seconds) == (2.0, 7200.0)
    assert rules == policy.rules_of("evolink")


@pytest.mark.parametrize("text", RECONNECTS)
def test_upstreams_are_connected_anew_without_a_restart(text: str) -> None:
    assert base("").upstreams != base(text).upstreams
    assert restart_needed(base(""), base(text)) == []


@pytest.mark.parametrize(("text", "paths"), RESTARTS.items())
def test_what_needs_a_restart_is_named(text: str, paths: list[str]) -> None:
    assert restart_needed(base(""), base(text)) == paths
    assert restart_needed(base(text), base(text)) == []
    if "server.host" not in paths:  # the base of links follows the address
        assert convert.policy(base(""), port=1, kinds=KINDS) == convert.policy(
            base(text), port=1, kinds=KINDS
        )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://App.Example.com/", "https://app.example.com"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_what_a_browser_sends(written: str, meant: str) -> None:
    """Compared as it comes: another spelling would be a page that is silently shut out."""
    settings = read(f"server: {{cors_origins: ['{written}']}}\n")
    assert settings.server.cors_origins == (meant,)


@pytest.mark.parametrize("written", ["https://*.example.com", "*", "https://*"])
def test_an_origin_is_one_page_and_no_pattern(written: str) -> None:
    with pytest.raises(SettingsError, match="cors_origins"):
        read(f"server: {{cors_origins: ['{written}']}}\n")
