"""Which orders fit an upstream of this kind, and what they cost besides their pictures."""

from __future__ import annotations

import math
from typing import Any

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.openai_images.kind import KIND, MAX_PIXELS, MIN_PIXELS, wire_size
from gateway.core.kinds import Rates
from gateway.core.model import Order

OLD, MINI, SECOND, NEWER, NEWEST = (
    "gpt-image-1.5",
    "gpt-image-1-mini",
    "gpt-image-2",
    "gpt-image-2.5-flare",
    "gpt-image-2.6-sunburst",
)
OTHER = "our-deployment"
ALL = (OLD, MINI, SECOND, NEWER, NEWEST, OTHER)
LINK = "https://files.test/a.png"


def order(prompt: str = "a red bicycle", **body: Any) -> Order:
    size, quality = body.get("size"), body.get("quality")
    whole = {"prompt": prompt, **body}
    return Order("public", prompt, body.get("n", 1), size, quality, whole)


def test_it_is_the_whole_work() -> None:
    assert KIND.name == "openai" and KIND.is_whole


FITS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (ALL, {}),
    (ALL, {"n": 10, "size": "1:1", "quality": "low"}),
    (ALL, {"size": "2:3", "quality": "high"}),
    (ALL, {"size": "3:2", "quality": "medium"}),
    (ALL, {"size": "1536x1024"}),
    (ALL, {"size": "auto", "quality": "auto"}),
    (ALL, {"background": "transparent", "output_format": "webp"}),
    (ALL, {"output_format": "jpeg", "output_compression": 0}),
    (ALL, {"moderation": "low"}),
    (ALL, {"image_urls": [LINK] * 16}),
    (ALL, {"image_urls": [LINK], "mask_url": LINK}),
    ((SECOND, NEWER, NEWEST), {"size": "2048x1152"}),
    ((SECOND, NEWER, NEWEST), {"size": "3840x2160"}),
    ((SECOND,), {"size": "2880x2880"}),
    ((NEWER, NEWEST), {"quality": "xhigh"}),
    ((NEWER, NEWEST), {"quality": "max"}),
    ((OLD, "chatgpt-image-latest", "gpt-image-1.5-2025-12-16"),
     {"image_urls": [LINK], "input_fidelity": "high"}),
    ((NEWEST,), {"complexity": "low"}),
    (("openai/gpt-image-2", "GPT-image-2-2026-04-21"), {"size": "1280x1280"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "body"), [(model, body) for models, body in FITS for model in models], ids=str
)
def test_what_fits(model: str, body: dict[str, Any]) -> None:
    assert KIND.misfit(order(**body), model) is None


MISFITS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (ALL, "resolution", {"resolution": "1K", "size": "1:1"}),
    (ALL, "resolution", {"resolution": "4K"}),
    (ALL, "size", {"size": "16:9"}),
    (ALL, "size", {"size": "1024"}),
    (ALL, "size", {"size": "1000x1000"}),
    (ALL, "size", {"size": 1024}),
    (ALL, "size", {"size": "0x1024"}),
    (ALL, "size", {"size": "1024x1024x1024"}),
    (ALL, "size", {"size": "٣٢x1024"}),
    (ALL, "size", {"size": f"{'9' * 5000}x16"}),
    ((OLD, MINI, OTHER), "size", {"size": "2048x2048"}),
    ((SECOND, NEWER), "size", {"size": "4096x2048"}),
    ((SECOND,), "size", {"size": "3840x1264"}),
    ((SECOND,), "size", {"size": "3840x2880"}),
    ((SECOND,), "size", {"size": "512x512"}),
    ((OLD, MINI, SECOND, OTHER), "quality", {"quality": "xhigh"}),
    (ALL, "quality", {"quality": "hd"}),
    (ALL, "quality", {"quality": ["low"]}),
    (ALL, "n", {"n": 11}),
    (ALL, "n", {"n": True}),
    (ALL, "prompt", {"prompt": "x" * 32_001}),
    (ALL, "output_format", {"output_format": "gif"}),
    (ALL, "output_format", {"output_format": "svg"}),
    (ALL, "output_compression", {"output_compression": 50}),
    (ALL, "output_compression", {"output_compression": 101, "output_format": "jpeg"}),
    (ALL, "background", {"background": "transparent", "output_format": "jpeg"}),
    (ALL, "background", {"background": "blue"}),
    (ALL, "moderation", {"moderation": "off"}),
    (ALL, "model_params", {"model_params": {}}),
    (ALL, "seed", {"seed": 1}),
    (ALL, "nsfw_check", {"nsfw_check": False}),
    (ALL, "style", {"style": "vivid"}),
    (ALL, "response_format", {"response_format": "url"}),
    (ALL, "stream", {"stream": True}),
    (ALL, "image_urls", {"image_urls": [LINK] * 17}),
    (ALL, "image_urls", {"image_urls": LINK}),
    (ALL, "mask_url", {"mask_url": LINK}),
    ((MINI, SECOND, NEWER, OTHER), "input_fidelity",
     {"image_urls": [LINK], "input_fidelity": "high"}),
    ((OLD,), "input_fidelity", {"input_fidelity": "high"}),
    ((OLD, SECOND, NEWER, OTHER), "complexity", {"complexity": "low"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "field", "body"),
    [(model, field, body) for models, field, body in MISFITS for model in models],
    ids=lambda value: str(value)[:60],
)
def test_what_does_not_fit_is_told_by_its_field(
    model: str, field: str, body: dict[str, Any]
) -> None:
    problem = KIND.misfit(order(**body), model)
    assert problem is not None and problem.startswith(f"{field}: ") and len(problem) < 120


def test_a_ratio_is_sent_as_its_size() -> None:
    assert [wire_size(one) for one in ("1:1", "2:3", "3:2", "2048X1152", "2048×1152")] == [  # noqa: RUF001
        "1024x1024", "1024x1536", "1536x1024", "2048x1152", "2048x1152",
    ]  # fmt: skip


@STEADY
@given(st.integers(0, 300), st.integers(0, 300))
def test_sizes_go_by_the_rule(width: int, height: int) -> None:
    width, height = width * 16, height * 16
    legal = (
        min(width, height) > 0
        and max(width, height) <= 3840
        and max(width, height) <= 3 * min(width, height)
        and MIN_PIXELS <= width * height <= MAX_PIXELS
    )
    fits = KIND.misfit(order(size=f"{width}x{height}"), SECOND) is None
    assert fits == legal


RATES = Rates(text_in=5, image_in=8, image_out=30, reference_tokens=100)


def test_what_an_order_costs_besides() -> None:
    assert KIND.besides(order("x"), None) == 0
    assert KIND.besides(order("x"), RATES) == (1 + 64) * 5
    assert KIND.besides(order("é" * 10), RATES) == (20 + 64) * 5
    two = order("x", image_urls=[LINK], mask_url=LINK)
    assert KIND.besides(two, RATES) == (1 + 64) * 5 + 2 * 100 * 8


@STEADY
@given(st.text(max_size=50), st.integers(0, 16), st.floats(0, 100), st.floats(0, 100))
def test_besides_is_rounded_up_once(prompt: str, links: int, text: float, image: float) -> None:
    rates = Rates(text_in=text, image_in=image, image_out=0, reference_tokens=7)
    exact = (len(prompt.encode()) + 64) * text + links * 7 * image
    found = KIND.besides(order(prompt, image_urls=[LINK] * links), rates)
    assert found == math.ceil(found) and exact - 1e-6 <= found <= exact + 1 + 1e-6
