"""The models that OpenAI serves: what each takes, what it costs, when it is shut down. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from gateway.sandbox.models import are_legal
from gateway.sandbox.openai.options import OpenAIOptions

STANDARD_SIZES = {
    "1024x1024": (1024, 1024),
    "1024x1536": (1024, 1536),
    "1536x1024": (1536, 1024),
}
_PIXELS = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_LOW_TO_HIGH = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens, which is micro-dollars a token."""

    text_in: Decimal
    image_in: Decimal
    image_out: Decimal
    text_out: Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `edges` is the long edge in tokens of each quality's picture; None: the table of
    the first generation, which also makes the three standard sizes only."""

    name: str
    prices: Prices
    edges: Mapping[str, int] | None
    fidelities: tuple[str, ...] = ()
    has_markup: bool = False
    has_complexity: bool = False
    shutdown_date: str | None = None
    created: int = 1_776_729_600

    @property
    def qualities(self) -> tuple[str, ...]:
        return _LOW_TO_HIGH if self.edges is None else tuple(self.edges)

    @property
    def sizes_text(self) -> str:
        if self.edges is None:
            return f"{', '.join(STANDARD_SIZES)}, and auto"
        return "WIDTHxHEIGHT in multiples of 16 within the limits of the model, and auto"

    def pixels(self, size: str) -> tuple[int, int] | None:
        """The pixels of a size that is written out; None when the model does not make it."""
        if self.edges is None:
            return STANDARD_SIZES.get(size)
        match = _PIXELS.fullmatch(size)
        if match is None:
            return None
        width, height = int(match[1]), int(match[2])
        return (width, height) if are_legal(width, height) else None


def _prices(text_in: str, image_in: str, image_out: str, text_out: str = "0") -> Prices:
    return Prices(Decimal(text_in), Decimal(image_in), Decimal(image_out), Decimal(text_out))


_OF_15 = _prices("5", "8", "32", "10")
_OF_2 = _prices("5", "8", "30")
_FLARE = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
# Nothing is published for sunburst but that its counts may differ; these differ.
_SUNBURST = {"low": 16, "medium": 32, "high": 64, "xhigh": 80, "max": 96}
_FIDELITIES = ("low", "high")
_SOON = "2026-12-01"


def _family(model: Model, *dates: str) -> list[Model]:
    """A model and its dated names."""
    return [model, *(replace(model, name=f"{model.name}-{date}") for date in dates)]


MODELS: Mapping[str, Model] = {
    model.name: model
    for family in (
        _family(Model("gpt-image-1.5", _OF_15, None, _FIDELITIES, shutdown_date=_SOON,
                      created=1_765_843_200), "2025-12-16"),
        _family(Model("chatgpt-image-latest", _OF_15, None, _FIDELITIES, shutdown_date=_SOON,
                      created=1_765_843_200)),
        _family(Model("gpt-image-1-mini", _prices("2", "2.50", "8"), None, ("low",),
                      shutdown_date=_SOON, created=1_759_708_800)),
        _family(Model("gpt-image-2", _OF_2, {"low": 16, "medium": 48, "high": 96}), "2026-04-21"),
        _family(Model("gpt-image-2.5-flare", _OF_2, _FLARE, has_markup=True,
                      created=1_788_825_600), "2026-09-08"),
        _family(Model("gpt-image-2.5-sunburst", _OF_2, _SUNBURST, has_markup=True,
                      created=1_788_825_600), "2026-09-08"),
        _family(Model("gpt-image-2.6-flare", _OF_2, _FLARE, has_markup=True, has_complexity=True,
                      created=1_793_750_400)),
        _family(Model("gpt-image-2.6-sunburst", _OF_2, _SUNBURST, has_markup=True,
                      has_complexity=True, created=1_793_750_400)),
    )
    for model in family
}  # fmt: skip


def served_models(options: OpenAIOptions) -> Mapping[str, Model]:
    """The models by the names under which `options` has them served."""
    if not options.models:
        return MODELS
    like = MODELS["gpt-image-2"]
    return {name: MODELS.get(name, replace(like, name=name)) for name in options.models}
