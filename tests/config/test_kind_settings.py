"""Upstreams of two kinds: what is filled in, what reaches the core, what is worth a sentence."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
import yaml
from settings_samples import ENVIRON, REFERENCE, SECRET, everything_on, read

from gateway.cli.check import effective_yaml
from gateway.config import Settings, SettingsError, convert, load, parse
from gateway.config.known_costs import output_tokens
from gateway.config.notices import notices
from gateway.config.upstream_entry import OWN, UpstreamEntry, UpstreamKind
from gateway.core.kinds import ANY, Rates
from gateway.wiring.kinds import KINDS

TODAY = date(2026, 11, 29)
UPSTREAMS = """
upstreams:
  evolink: {base_url: https://api.evolink.ai/v1, api_key: k}
  openai: {kind: openai, base_url: https://api.openai.com/v1/, api_key: k, usage_key: sk-admin}
  azure:
    kind: openai
    style: azure
    api_version: preview
    base_url: https://a.example/openai/deployments/pic
    api_key: k
  local: {kind: openai, base_url: https://b.example/v1, api_key: k, usage: absent}
"""


def served(*routes: str, name: str = "gpt-image-2", more: str = "") -> Settings:
    listed = "".join(f"      - {{price: 1, {route}}}\n" for route in routes)
    model = f"    limits: {{sizes: [1:1], qualities: [low]}}\n{more}    routes:\n{listed}"
    return read(f"{UPSTREAMS}models:\n  {name}:\n{model}")


def test_every_kind_of_the_settings_is_one_of_the_table() -> None:
    assert KINDS.keys() == {kind.value for kind in UpstreamKind} == {kind.value for kind in OWN}
    assert all(kind.name == name for name, kind in KINDS.items())
    named = UpstreamEntry.model_fields.keys()
    assert all(own <= named for own in OWN.values())


def test_a_submit_that_is_the_whole_work_may_last_as_long() -> None:
    upstreams = served("upstream: evolink, model: gpt-image-2").upstreams
    assert upstreams["evolink"].timeout.submit_seconds == 25.0
    assert upstreams["openai"].timeout.submit_seconds == 360.0
    assert upstreams["openai"].timeout.connect_seconds == 5.0
    said = read(
        "upstreams:\n  openai: {kind: openai, base_url: https://a.example/v1, api_key: k, "
        "timeout: {submit: 10m, connect: 1s}}\n"
        "models:\n  gpt-image-2:\n    routes: [{upstream: openai, model: gpt-image-2, price: 1}]\n"
    ).upstreams["openai"]
    assert (said.timeout.submit_seconds, said.timeout.connect_seconds) == (600.0, 1.0)


def test_a_base_keeps_the_version_where_the_vendor_has_it_in_there() -> None:
    upstreams = served("upstream: evolink, model: gpt-image-2").upstreams
    assert upstreams["evolink"].base_url == "https://api.evolink.ai"
    assert upstreams["openai"].base_url == "https://api.openai.com/v1"


def test_only_what_an_upstream_has_is_shown_and_no_secret() -> None:
    settings = served("upstream: evolink, model: gpt-image-2")
    text = effective_yaml(settings)
    assert "sk-admin" not in text
    shown: Any = yaml.safe_load(text)["upstreams"]
    assert shown["evolink"]["kind"] == "evolink" and shown["openai"]["kind"] == "openai"
    assert shown["openai"].keys().isdisjoint({"poll", "callbacks", "not_taken"})
    assert shown["evolink"].keys().isdisjoint({"style", "usage", "references"})
    assert shown["openai"]["usage_key"] == "********"
    again = parse(text.replace("********", SECRET), {})
    assert effective_yaml(again) == text


def routes_of(settings: Settings) -> Any:
    [model] = convert.catalog(settings, KINDS).models.values()
    return model.routes


def test_known_models_have_their_rates_and_said_ones_count() -> None:
    rates = "rates: {text_in: 1, image_in: 2.5, image_out: 0, text_out: 4, reference_tokens: 9}"
    dated, said, evolink = routes_of(
        served(
            "upstream: openai, model: gpt-image-2-2026-04-21",
            f"upstream: openai, model: gpt-image-2, {rates}",
            "upstream: evolink, model: gpt-image-2",
            more="    defaults: {size: 1:1, quality: low}\n",
        )
    )
    assert dated.rates == Rates(5, 8, 30, 0, 6_500)
    assert said.rates == Rates(1, 2.5, 0, 4, 9)
    assert evolink.rates is None
    assert [one.kind.name for one in (dated, said, evolink)] == ["openai", "openai", "evolink"]


@pytest.mark.parametrize(
    ("model", "image_out"),
    [
        ("gpt-image-1.5", 32),
        ("chatgpt-image-latest", 32),
        ("gpt-image-1-mini", 8),
        ("gpt-image-2.5-flare-2026-09-08", 30),
        ("gpt-image-2.6-sunburst", 30),
    ],
)
def test_what_is_known_of_models(model: str, image_out: float) -> None:
    [route] = routes_of(served(f"upstream: openai, model: {model}", name=model))
    assert route.rates.image_out == image_out
    assert not route.is_another_model


def test_without_usage_no_rates_are_asked_for() -> None:
    [route] = routes_of(served("upstream: local, model: flux", name="flux"))
    assert route.rates is None


def test_another_model_is_what_the_operator_has_written() -> None:
    same, other, deployment = routes_of(
        served(
            "upstream: openai, model: gpt-image-2",
            "upstream: openai, model: gpt-image-1.5, another_model: true",
            "upstream: azure, model: pic, another_model: false",
        )
    )
    assert [one.is_another_model for one in (same, other, deployment)] == [False, True, False]
    assert deployment.rates == same.rates, "a deployment of the model itself has its rates"
    aliased = "    aliases: [dall-e-3]\n"
    rates = "rates: {text_in: 1, image_in: 1, image_out: 1}"
    [alias] = routes_of(served(f"upstream: openai, model: dall-e-3, {rates}", more=aliased))
    assert not alias.is_another_model


def test_rules_of_an_upstream_are_of_its_kind() -> None:
    settings = served("upstream: openai, model: gpt-image-2")
    policy = convert.policy(settings, port=1, kinds=KINDS)
    assert policy.rules["openai"].kind is KINDS["openai"] and KINDS["openai"].is_whole
    assert policy.rules["evolink"].kind is KINDS["evolink"]
    assert policy.rules_of("gone").kind is KINDS["evolink"]
    assert convert.catalog(settings, convert.NO_KINDS).models["gpt-image-2"].routes[0].kind is ANY


def test_one_choice_is_as_good_as_a_default() -> None:
    assert served("upstream: evolink, model: gpt-image-2", "upstream: openai, model: gpt-image-2")


def told(settings: Settings, today: date = TODAY) -> list[str]:
    return [one for one in notices(settings, today) if one.startswith("models.")]


def test_models_that_go_are_told() -> None:
    settings = served(
        "upstream: openai, model: gpt-image-1.5",
        "upstream: azure, model: gpt-image-1.5",
        "upstream: local, model: gpt-image-1.5",
        name="gpt-image-1.5",
    )
    place = "models.gpt-image-1.5.routes"
    assert told(settings) == [
        f"{place}[0]: gpt-image-1.5 goes at OpenAI on 2026-12-01; see to another route",
        f"{place}[1]: gpt-image-1.5 goes at Azure on 2026-12-16; see to another route",
    ]
    assert told(settings, date(2026, 9, 1)) == []
    assert told(settings, date(2026, 12, 1))[0] == (
        f"{place}[0]: gpt-image-1.5 is gone at OpenAI since 2026-12-01: the route makes nothing"
    )


def test_what_is_left_to_upstream_is_told() -> None:
    route = "routes: [{upstream: openai, model: gpt-image-2, price: 1}]"
    limits = "limits: {sizes: [1:1, 2:3], qualities: [low, high]}"
    rest = "upstream chooses then, and the order is priced at the dearest that it may mean"
    for defaults, said in {"{size: 1:1}": "none", "{size: 1:1, quality: auto}": "auto"}.items():
        model = f"{{{limits}, defaults: {defaults}, {route}}}"
        settings = read(f"{UPSTREAMS}models:\n  gpt-image-2: {model}\n")
        assert told(settings) == [f"models.gpt-image-2.defaults.quality: {said}; {rest}"]


def test_the_reference_has_an_example_of_both_kinds() -> None:
    """What stands there as an explanation is valid as well."""
    text = everything_on()
    begin, end = text.index("      # - upstream: openai"), text.index("\ncache:")
    block = re.sub(r"^      # (?=- |  )", "      ", text[begin:end], flags=re.MULTILINE)
    settings = parse(text[:begin] + block + text[end:], ENVIRON)
    routes = settings.models["gpt-image-2"].routes
    assert [one.another_model for one in routes] == [None, None, True]
    assert settings.upstreams["openai"].kind is UpstreamKind.OPENAI
    assert load(REFERENCE, ENVIRON).upstreams.keys() == {"evolink"}


def test_a_team_that_undoes_a_default_is_told() -> None:
    limits = "limits: {sizes: [1:1], qualities: [low, high]}"
    routes = ", ".join(
        f"{{upstream: {one}, model: gpt-image-2, price: 1}}" for one in ("evolink", "openai")
    )
    model = f"{{{limits}, defaults: {{size: 1:1, quality: low}}, routes: [{routes}]}}"
    settings = read(f"""{UPSTREAMS}
models:
  gpt-image-2: {model}
teams:
  plain: {{}}
  undone: {{defaults: {{quality: auto}}}}
  held: {{allow: {{qualities: [low, high]}}}}
  other: {{allow: {{qualities: [high]}}}}
""")
    said = [one for one in notices(settings, TODAY) if "different pictures" in one]
    rest = "its orders for gpt-image-2 may leave the quality to upstream"
    assert [one.partition(", and")[0] for one in said] == [f"teams.undone: {rest}"]


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-2", "low", "1024x1024", 196),
        ("gpt-image-2-2026-04-21", "medium", "1024x1024", 1_756),
        ("gpt-image-2", "high", "1536x1024", 5_488),
        ("gpt-image-2", "high", "2048x2048", 14_272),
        ("gpt-image-2", "high", "3840x2160", 13_342),
        ("gpt-image-2", "high", "2880x2880", 23_719),
        ("gpt-image-1.5", "high", "1024x1536", 6_240),
        ("gpt-image-1.5", "high", "2048x2048", None),
        ("gpt-image-2.6-flare", "low", "1024x1024", None),
    ],
)
def test_what_a_picture_comes_to(model: str, quality: str, size: str, tokens: int | None) -> None:
    assert output_tokens(model, quality, size) == tokens


def test_a_price_that_does_not_hold_is_told() -> None:
    limits = "limits: {sizes: [1:1, 2:3, 16:9], qualities: [low, high]}"
    defaults = "defaults: {size: 1:1, quality: low}"

    def priced(high: float, upstream: str = "openai") -> list[str]:
        price = f"[{{quality: low, usd: 0.01}}, {{usd: {high}}}]"
        route = f"routes: [{{upstream: {upstream}, model: gpt-image-2, price: {price}}}]"
        return told(read(f"{UPSTREAMS}models:\n  gpt-image-2: {{{limits}, {defaults}, {route}}}\n"))

    assert priced(0.22) == priced(0.21, "evolink") == []
    assert priced(0.21) == [
        "models.gpt-image-2.routes[0].price: 0.21 is held for high 1:1, which comes to 0.21072 by "
        "the vendor's count: a run would cost more than its budget knew"
    ]


def of_upstream(settings: str, server: str = "") -> list[str]:
    """What is told of one upstream of kind openai."""
    text = f"{server}\nupstreams:\n  one: {{kind: openai, api_key: sk-vendor, {settings}}}\n"
    rates = "rates: {text_in: 1, image_in: 1, image_out: 1}, another_model: true"
    model = f"models:\n  m:\n    routes: [{{upstream: one, model: x, price: 1, {rates}}}]\n"
    found = notices(parse(text + model, {}), TODAY, KINDS)
    return [one for one in found if one.startswith("upstreams.one") and "private addr" not in one]


OWN_HOST = "base_url: https://api.openai.com/v1"
ANOTHER = "base_url: https://images.example.org/v1"
PUBLIC = "server: {public_url: https://pictures.example.org}"


def test_links_that_lead_nowhere_are_told() -> None:
    nowhere = "upstreams.one.references: link, and server.public_url leads nowhere from outside"
    for base in ("", "https://10.1.2.3", "http://localhost:8080", "https://gateway.internal"):
        server = f"server: {{public_url: {base}}}" if base else ""
        [told_of] = of_upstream(f"{OWN_HOST}, references: link", server)
        assert told_of.startswith(nowhere)
    assert of_upstream(f"{OWN_HOST}, references: link", PUBLIC) == []
    assert of_upstream(OWN_HOST) == []
    [told_of] = of_upstream(f"{ANOTHER}, references: link", PUBLIC)
    assert "most servers beside OpenAI itself take no links" in told_of
    near = "base_url: http://10.0.0.7/v1, allow_private_addresses: true"
    assert len(of_upstream(f"{near}, references: link")) == 1, "it may reach what is near it"


def test_an_admin_key_is_another_one_and_shown_to_openai_alone() -> None:
    same = of_upstream(f"{OWN_HOST}, usage_key: sk-vendor")
    said = "is the api_key as well; the usage report wants an admin key"
    assert same == [f"upstreams.one.usage_key: {said}"]
    assert of_upstream(f"{OWN_HOST}, usage_key: sk-admin") == []
    region = "base_url: https://eu.api.openai.com/v1"
    assert of_upstream(f"{region}, usage_key: sk-admin") == []
    tried = "base_url: http://127.0.0.1:9/v1, allow_private_addresses: true"
    assert of_upstream(f"{tried}, usage_key: sk-admin") == [], "a simulator"
    with pytest.raises(SettingsError, match=r"would go to images\.example\.org"):
        of_upstream(f"{ANOTHER}, usage_key: sk-admin")


def test_what_throws_money_away_is_told() -> None:
    [cut] = of_upstream(f"{OWN_HOST}, timeout: {{submit: 60s}}")
    assert cut == (
        "upstreams.one.timeout.submit: 1m; calls may take 5m, and one that is cut counts as spent"
    )
    [uncounted] = of_upstream(f"{OWN_HOST}, usage: absent")
    assert uncounted.startswith("upstreams.one.usage: absent; the vendor counts tokens")
    assert of_upstream(f"{ANOTHER}, usage: absent") == []


def test_rates_for_a_token_are_told() -> None:
    rates = "rates: {text_in: 5, image_in: 0, image_out: 0.00003}"
    rest = "far too little; US dollars for a million tokens, of which the vendor's price was"
    place = "models.gpt-image-2.routes[0].rates"
    assert told(served(f"upstream: openai, model: gpt-image-2, {rates}")) == [
        f"{place}.image_in: {rest} 8",
        f"{place}.image_out: {rest} 30",
    ]
    half = "rates: {text_in: 2.5, image_in: 4, image_out: 15}"
    assert told(served(f"upstream: openai, model: gpt-image-2, {half}")) == []
    assert told(served(f"upstream: local, model: gpt-image-2, {rates}")) == [], "its own prices"


def test_a_key_that_two_vendors_see_is_told() -> None:
    settings = read("""
upstreams:
  one: {base_url: https://api.evolink.ai, api_key: sk-vendor}
  near: {base_url: https://api.evolink.ai/v1, api_key: sk-vendor}
  two: {kind: openai, base_url: https://api.openai.com/v1, api_key: sk-vendor}
  three: {kind: openai, base_url: https://images.example.org/v1, api_key: sk-other}
models:
  m: {routes: [{upstream: one, model: m, price: 1}]}
""")
    assert [one for one in notices(settings, TODAY) if one.startswith("upstreams.")] == [
        "upstreams.two.api_key: is that of upstreams.one, which is another host"
    ]


def test_a_key_that_is_no_secret_is_told() -> None:
    def short(key: str) -> list[str]:
        upstream = f"one: {{base_url: https://api.evolink.ai, api_key: '{key}'}}"
        model = "m: {routes: [{upstream: one, model: m, price: 1}]}"
        found = notices(read(f"upstreams:\n  {upstream}\nmodels:\n  {model}\n"), TODAY)
        return [one for one in found if one.startswith("upstreams.")]

    rule = "fewer than 8 characters are no secret; where upstream repeats it, it is shown"
    assert short("none") == short("x234567") == [f"upstreams.one.api_key: {rule}"]
    assert short("x2345678") == []
    assert of_upstream(f"{OWN_HOST}, usage_key: admin") == [f"upstreams.one.usage_key: {rule}"]


def test_a_size_of_thousands_of_digits_is_a_size_like_any() -> None:
    size = f"{'9' * 5_000}x{'9' * 5_000}"
    settings = served("upstream: openai, model: gpt-image-2")
    model = settings.models["gpt-image-2"]
    limits = model.limits.model_copy(update={"sizes": ("1:1", size)})
    changed = model.model_copy(update={"limits": limits})
    assert told(settings.model_copy(update={"models": {"gpt-image-2": changed}}))
