"""What no route of a model can make: a default is a mistake, an offer is worth a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from settings_samples import ENVIRON

from gateway.cli import main
from gateway.config import Settings, SettingsError, parse
from gateway.config.notices import notices
from gateway.wiring.kinds import KINDS

TODAY = date(2026, 11, 29)
UPSTREAMS = """
upstreams:
  evolink: {base_url: https://api.evolink.ai, api_key: k}
  openai: {kind: openai, base_url: https://api.openai.com/v1, api_key: k}
  azure:
    kind: openai
    style: azure_v1
    base_url: https://a.openai.azure.com/openai/v1
    api_key: k
"""
OPENAI = "{upstream: openai, model: gpt-image-2, price: 2}"
AZURE = "{upstream: azure, model: gpt-image-2, price: 1}"
EVOLINK = "{upstream: evolink, model: gpt-image-2, price: 9}"
PLAIN = "size: 1:1, quality: low"


def read(
    *routes: str,
    defaults: str = PLAIN,
    limits: str = "sizes: [1:1], qualities: [low]",
    more: str = "",
) -> Settings:
    model = f"limits: {{{limits}}}, defaults: {{{defaults}}}, routes: [{', '.join(routes)}]"
    text = f"{UPSTREAMS}models: {{gpt-image-2: {{{model}}}}}\n{more}"
    return parse(text, ENVIRON, kinds=KINDS)


def problems(*routes: str, defaults: str = PLAIN, more: str = "") -> Sequence[str]:
    with pytest.raises(SettingsError) as caught:
        read(*routes, defaults=defaults, more=more)
    return [f"{one.dotted}: {one.message}" for one in caught.value.problems]


def told(settings: Settings) -> Sequence[str]:
    found = notices(settings, TODAY, KINDS)
    return [one for one in found if "no route" in one or "none makes" in one or "no price" in one]


def test_a_default_that_no_route_makes_is_an_error_with_its_place() -> None:
    with pytest.raises(SettingsError) as caught:
        read(OPENAI, defaults=f"{PLAIN}, output_format: gif")
    [problem] = caught.value.problems
    assert problem.line == 10
    assert problem.dotted == "models.gpt-image-2.defaults.output_format"
    assert problem.message == (
        "'gif' is made by no route: openai/gpt-image-2 does not take output_format: none of jpeg, "
        "png, webp"
    )


@pytest.mark.parametrize(
    ("default", "why"),
    [
        ("resolution: 4K", "its pixels are not known here; order a size"),
        ("seed: 3", "not known to this kind of upstream"),
        ("moderation: none", "none of auto, low"),
        ("output_compression: 300", "not from 0 to 100"),
        ("input_fidelity: high", "not taken by this model"),
    ],
)
def test_any_field_is_looked_at(default: str, why: str) -> None:
    [said] = problems(OPENAI, defaults=f"{PLAIN}, {default}")
    assert said.endswith(f"does not take {default.partition(':')[0]}: {why}")


def test_one_route_that_makes_it_is_enough_however_dear() -> None:
    both = read(OPENAI, EVOLINK, defaults=f"{PLAIN}, output_format: gif, seed: 3")
    assert told(both) == []
    assert read(AZURE, OPENAI, defaults=f"{PLAIN}, output_format: webp")
    assert len(problems(AZURE, defaults=f"{PLAIN}, output_format: webp")) == 1


def test_a_mistake_is_told_once() -> None:
    assert problems(OPENAI, defaults="size: 1:1, quality: vast") == [
        "models.gpt-image-2.defaults.quality: 'vast' is not in the model's limits"
    ]


def test_a_teams_default_has_to_be_made_for_one_of_its_models() -> None:
    other = "other: {limits: {sizes: [1:1], qualities: [low]}, defaults: {size: 1:1, quality: low}"
    more = f"  {other}, routes: [{EVOLINK}]}}\nteams:\n  art: {{defaults: {{seed: 7}}}}\n"
    model = f"  gpt-image-2: {{defaults: {{{PLAIN}}}, routes: [{OPENAI}]}}"
    settings = parse(f"{UPSTREAMS}models:\n{model}\n{more}", ENVIRON, kinds=KINDS)
    assert told(settings) == [], "of the first model it is none"
    assert problems(OPENAI, more="teams: {art: {defaults: {seed: 7}}}") == [
        "teams.art.defaults.seed: 7 is made by no route: openai/gpt-image-2 does not take seed: "
        "not known to this kind of upstream"
    ]


def test_what_is_offered_in_vain_is_told() -> None:
    offered = "sizes: [1:1, 4:3, 16:9, auto], qualities: [low, ultra, auto], resolutions: [1K]"
    place = "models.gpt-image-2.limits"
    assert told(read(OPENAI, limits=offered)) == [
        f"{place}.sizes: no route makes 4:3, 16:9; such orders are refused",
        f"{place}.qualities: no route makes ultra; such orders are refused",
        f"{place}.resolutions: no route makes 1K; such orders are refused",
    ]
    assert told(read(OPENAI, EVOLINK, limits=offered)) == []


def test_values_that_are_made_apart_and_not_together_are_told() -> None:
    old = "{upstream: openai, model: gpt-image-1.5, price: 1, another_model: true}"
    new = "{upstream: openai, model: gpt-image-2.6-flare, price: 1, another_model: true}"
    limits = "sizes: [1:1, 2048x2048], qualities: [low, max]"
    assert told(read(old, new, limits=limits)) == []
    narrow = "{upstream: evolink, model: m, price: [{size: 1:1, usd: 1}]}"
    assert told(read(OPENAI, narrow, limits="sizes: [1:1, 4:3], qualities: [low]")) == [
        "models.gpt-image-2.routes: no price for size 4:3, quality low; such orders are refused"
    ], "the route that has a price for it does not make it"


def test_defaults_that_go_together_nowhere_are_told() -> None:
    for more, why in {
        "output_compression: 40": "output_compression: only of jpeg and webp",
        "output_format: jpeg, background: transparent": "background: a jpeg is never transparent",
    }.items():
        assert told(read(OPENAI, defaults=f"{PLAIN}, {more}")) == [
            "models.gpt-image-2.defaults: an order that says nothing else is made by no route: "
            f"openai/gpt-image-2 does not take {why}"
        ]


def test_check_and_start_tell_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    model = "gpt-image-2: {{limits: {{sizes: [1:1, 4:3]}}, {}, routes: [{}]}}\n"
    path.write_text(f"{UPSTREAMS}models:\n  {model.format('defaults: {size: 1:1}', OPENAI)}")
    checked = CliRunner().invoke(main, ["check", "--quiet", "--config", str(path)])
    assert "limits.sizes: no route makes 4:3; such orders are refused" in checked.stderr
    path.write_text(f"{UPSTREAMS}models:\n  {model.format('defaults: {seed: 1}', OPENAI)}")
    for command in ("check", "serve"):
        refused = CliRunner().invoke(main, [command, "--config", str(path)])
        assert (refused.exit_code, "seed: 1 is made by no route" in refused.stderr) == (2, True)


def test_long_lists_are_looked_through_at_once() -> None:
    sizes = ", ".join(f"{16 * one}x1024" for one in range(50, 200))
    qualities = ", ".join(f"q{one}" for one in range(2_000))
    limits = f"sizes: [{sizes}], qualities: [{qualities}], resolutions: [{qualities}]"
    assert told(read(EVOLINK, limits=limits, defaults="")) == []
